"""Client assertions: who speaks, for whom, until when and once; every claim that lies is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.protocol import client_assertion
from fapi_as.protocol.errors import InvalidClient
from rs_kit.protocol import dpop
from rs_kit.protocol.errors import InvalidDpopProof
from tests.support.assertion_judge import AGENT, CLIENT, KEY, OTHER_KEY, accepted, judged, peer, refused
from tests.support.fakes import ISSUER, NOW
from tests.support.fapi_messages import ENDPOINTS
from tests.support.peer_keys import b64, unb64

N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # the order of P-256
NO_DATES = [True, False, None, "1800000060", "", [NOW], {"a": 1}, -1, -0.5, NOW + 0.5, 1e300, 2**33, 2**53 - 1]


# --- who speaks


@pytest.mark.requirement("PKJ-3", proves="holds")
@pytest.mark.requirement("PKJ-9", proves="holds")
def test_an_honest_assertion_is_its_client() -> None:
    found = accepted()
    assert found.registered is CLIENT
    assert found.assertion_once.namespace == "client_assertion"


@pytest.mark.requirement("PKJ-3", proves="refused")
@pytest.mark.attack("CLA-05")
@pytest.mark.parametrize(
    "lies",
    [{"iss": "other"}, {"iss": ...}, {"iss": None}, {"iss": [AGENT]}, {"sub": ...}, {"sub": "other"}, {"sub": ""},
     {"sub": 1}, {"sub": [AGENT]}, {"sub": "Agent"}, {"iss": "other", "sub": "other"}, {"iss": AGENT + "\u200b"}],
)  # fmt: skip
def test_iss_and_sub_are_both_the_client(lies: dict[str, Any]) -> None:
    assert refused(**lies)


@pytest.mark.requirement("FAPI2-AS-20", proves="holds")
def test_iss_sub_aud_exp_and_jti_are_enough() -> None:
    assert accepted(assertion_iat=..., assertion_header={"typ": ...}).registered is CLIENT


@pytest.mark.requirement("FAPI2-AS-20", proves="refused")
@pytest.mark.parametrize(
    "lies",
    [{name: ...} for name in ("iss", "sub", "aud", "exp", "assertion_jti")]
    + [{"assertion_header": {"typ": "oauth-authz-req+jwt"}}, {"sub": "other"}],
    ids=lambda lies: next(iter(lies)),
)
def test_without_one_of_them_or_as_a_request_object_it_is_none(lies: dict[str, Any]) -> None:
    assert refused(**lies)


@pytest.mark.requirement("PKJ-2", proves="holds")
@pytest.mark.parametrize("client_id", [None, AGENT])
def test_a_client_id_beside_the_assertion_is_optional(client_id: str | None) -> None:
    assert judged(peer().assertion(), client_id=client_id).registered is CLIENT


@pytest.mark.requirement("PKJ-2", proves="refused")
@pytest.mark.parametrize("client_id", ["other", "AGENT", "agent ", "", "agent\x00"])
def test_another_client_id_beside_the_assertion_is_refused(client_id: str) -> None:
    with pytest.raises(InvalidClient) as raised:
        client_assertion.present(peer().assertion(), client_id=client_id)
    assert raised.value.detail == "client_id differs from the assertion"


@pytest.mark.requirement("FAPI2-AS-23", proves="holds")
def test_form_and_assertion_may_name_one_client() -> None:
    assert client_assertion.present(peer().assertion(), client_id=AGENT).client_id == AGENT


@pytest.mark.requirement("FAPI2-AS-23", proves="refused")
@pytest.mark.parametrize(("in_form", "in_assertion"), [("second", AGENT), (AGENT, "second")])
def test_form_and_assertion_never_name_two_clients(in_form: str, in_assertion: str) -> None:
    with peer().lying(iss=in_assertion, sub=in_assertion) as lying, pytest.raises(InvalidClient):
        client_assertion.present(lying.assertion(), client_id=in_form)


@pytest.mark.attack("CLA-12")
def test_the_key_of_one_client_does_not_speak_for_another() -> None:
    assert refused(assertion_key=OTHER_KEY) == "assertion: signature"


def test_an_unknown_client_a_wrong_key_and_another_method_are_told_alike() -> None:
    certificates_only = replace(CLIENT, token_endpoint_auth_method="tls_client_auth")
    details = {refused(client=None), refused(assertion_key=OTHER_KEY), refused(client=certificates_only)}
    assert len(details) == 3


@pytest.mark.requirement("FAPI2-AS-7", proves="refused")
@pytest.mark.parametrize("method", ["tls_client_auth", "self_signed_tls_client_auth", "none"])
def test_a_good_assertion_is_not_the_method_of_a_client_that_registered_another(method: str) -> None:
    assert (
        refused(client=replace(CLIENT, token_endpoint_auth_method=method)) == "not the registered authentication method"
    )


# --- for whom


@pytest.mark.requirement("FAPI2-AS-9", proves="holds")
def test_the_audience_is_the_issuer_as_a_string() -> None:
    assert accepted(aud=ISSUER).registered is CLIENT


@pytest.mark.requirement("FAPI2-AS-9", proves="refused")
@pytest.mark.attack("CLA-04")
@pytest.mark.parametrize(
    "aud",
    [f"{ISSUER}/", "https://AS.example", "HTTPS://as.example", f"{ISSUER}:443", f"{ISSUER}/tenant", "https://as.exampl",
     f"{ISSUER}.evil.example", f"{ISSUER} ", f" {ISSUER}", f"{ISSUER}?", f"{ISSUER}#", "http://as.example",
     "as.example", "https://as。example", ""],
)  # fmt: skip
def test_what_only_resembles_the_issuer_is_another_audience(aud: str) -> None:
    assert refused(aud=aud) == "assertion: aud must be the issuer as a string"


@pytest.mark.requirement("PKJ-4", proves="holds")
def test_the_issuer_is_the_sole_audience() -> None:
    assert accepted().registered is CLIENT


@pytest.mark.requirement("PKJ-4", proves="refused")
@pytest.mark.attack("CLA-03")
@pytest.mark.parametrize(
    "aud",
    [[ISSUER], [ISSUER, "https://other.example"], ["https://other.example", ISSUER], [ISSUER, ISSUER], [[ISSUER]]],
)
def test_a_list_of_audiences_is_refused_whatever_it_holds(aud: list[Any]) -> None:
    assert refused(aud=aud) == "assertion: aud must be the issuer as a string"


@pytest.mark.requirement("PKJ-10", proves="holds")
def test_for_every_endpoint_the_audience_is_the_same_issuer() -> None:
    assert [accepted(aud=ISSUER).registered for _ in ENDPOINTS] == [CLIENT] * len(ENDPOINTS)


@pytest.mark.requirement("PKJ-10", proves="refused")
@pytest.mark.attack("CLA-01")
@pytest.mark.attack("CLA-02")
@pytest.mark.attack("XPA-04")
@pytest.mark.parametrize("path", [*ENDPOINTS.values(), "/revoke", "/introspect", "/bc-authorize"])
def test_no_endpoint_is_an_audience(path: str) -> None:
    assert refused(aud=ISSUER + path) == "assertion: aud must be the issuer as a string"
    assert refused(aud=[ISSUER + path]) == "assertion: aud must be the issuer as a string"


# --- until when


@pytest.mark.requirement("PKJ-5", proves="holds")
@pytest.mark.parametrize("exp", [NOW + 1, NOW + 60, NOW + 300, float(NOW + 60)])
def test_an_assertion_lives_for_up_to_five_minutes(exp: float) -> None:
    assert accepted(exp=exp).registered is CLIENT


@pytest.mark.requirement("PKJ-5", proves="refused")
@pytest.mark.parametrize(
    ("exp", "detail"),
    [
        (..., "exp is missing or no NumericDate"),
        (NOW - 300, "expired"),
        (NOW - 10, "expired"),
        (0, "expired"),
        (NOW + 331, "exp is too far ahead"),
        (NOW + 86_400, "exp is too far ahead"),
        (NOW + 365 * 86_400, "exp is too far ahead"),
        (2**33 - 1, "exp is too far ahead"),
    ],
)
def test_an_assertion_without_an_end_past_its_end_or_far_from_it_is_refused(exp: Any, detail: str) -> None:
    assert refused(exp=exp) == f"assertion: {detail}"


def test_five_minutes_are_counted_by_a_clock_that_may_be_half_a_minute_ahead() -> None:
    assert accepted(exp=NOW + 330).registered is CLIENT


@pytest.mark.requirement("FAPI2-AS-17", proves="holds")
@pytest.mark.parametrize("late", [0, 1, 5, 9])
def test_an_assertion_may_have_ended_just_now(late: int) -> None:
    assert accepted(exp=NOW - late).registered is CLIENT
    assert accepted(exp=NOW + 60, now=NOW + 60 + late).registered is CLIENT


@pytest.mark.requirement("FAPI2-AS-17", proves="refused")
@pytest.mark.parametrize("late", [10, 11, 60, 300])
def test_ten_seconds_after_its_end_it_has_ended(late: int) -> None:
    assert refused(exp=NOW - late) == "assertion: expired"
    assert refused(exp=NOW + 60, now=NOW + 60 + late) == "assertion: expired"


def proof_is_accepted(ahead: int) -> bool:
    """The other kind of JWT that clients send us, made and judged at the same moment."""
    expect = dpop.ProofExpectation("POST", f"{ISSUER}/token", NOW, 60, 30, None)
    with peer().lying(iat=NOW + ahead) as lying:
        proof = lying.proof("POST", f"{ISSUER}/token")
    try:
        return bool(dpop.verify_proof(proof, expect=expect, keys=dpop.ProofKeys()).jkt)
    except InvalidDpopProof:
        return False


@pytest.mark.requirement("FAPI2-AS-15", proves="holds")
@pytest.mark.attack("CLA-07")
@pytest.mark.parametrize("ahead", [0, 1, 8, 10])
def test_the_clock_of_a_client_may_be_ten_seconds_ahead(ahead: int) -> None:
    assert accepted(assertion_iat=NOW + ahead).registered is CLIENT
    assert accepted(assertion_claims={"nbf": NOW + ahead}).registered is CLIENT
    assert proof_is_accepted(ahead)


@pytest.mark.requirement("FAPI2-AS-16", proves="holds")
@pytest.mark.parametrize("ahead", [11, 29, 30])
def test_up_to_thirty_seconds_ahead_is_our_choice(ahead: int) -> None:
    assert accepted(assertion_iat=NOW + ahead).registered is CLIENT
    assert accepted(assertion_claims={"nbf": NOW + ahead}).registered is CLIENT
    assert proof_is_accepted(ahead)


@pytest.mark.requirement("FAPI2-AS-16", proves="refused")
@pytest.mark.attack("CLA-08")
@pytest.mark.parametrize("ahead", [31, 61, 90, 300])
def test_further_ahead_is_refused(ahead: int) -> None:
    assert refused(assertion_iat=NOW + ahead) == "assertion: iat is ahead of the clock"
    assert refused(assertion_claims={"nbf": NOW + ahead}) == "assertion: nbf is ahead of the clock"
    assert not proof_is_accepted(ahead)


@pytest.mark.attack("CLA-21")
@pytest.mark.parametrize("value", NO_DATES, ids=repr)
@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
def test_a_date_is_a_whole_number_of_seconds(claim: str, value: Any) -> None:
    assert refused(assertion_claims={claim: value}).endswith("no NumericDate")


@pytest.mark.attack("JOS-14")
@pytest.mark.parametrize(
    "number", ["1e400", "Infinity", "-Infinity", "NaN", "9" * 4_000, "1" * 5_000, "-9" * 9, "1e999999"]
)
@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
def test_a_number_that_parsers_read_differently_is_refused(claim: str, number: str) -> None:
    claims = {"iss": AGENT, "sub": AGENT, "aud": ISSUER, "iat": NOW, "exp": NOW + 60, "jti": "j"}
    text = json.dumps({name: value for name, value in claims.items() if name != claim})
    assert refused(assertion=KEY.sign({"kid": "client-key"}, f'{text[:-1]},"{claim}":{number}}}'))


@pytest.mark.attack("CLA-21")
@pytest.mark.parametrize("aud", [..., None, 1, True, {}, {ISSUER: 1}, []], ids=repr)
def test_an_audience_of_another_type_is_none(aud: Any) -> None:
    assert refused(aud=aud) == "assertion: aud must be the issuer as a string"


# --- once


@pytest.mark.attack("CLA-10")
@pytest.mark.parametrize(
    "jti", [..., None, "", 1, True, ["j"], {"j": 1}, "j" * 1_025, "j" * 5_000], ids=lambda jti: f"{jti!r:.20}"
)
def test_a_jti_is_a_string_of_some_length(jti: Any) -> None:
    assert refused(assertion_jti=jti) == "assertion: jti is missing or too long"


@pytest.mark.attack("CLA-10")
def test_a_jti_that_is_used_again_after_its_end_comes_with_a_dead_assertion() -> None:
    once = accepted(assertion_jti="j").assertion_once
    assert refused(assertion_jti="j", now=once.until - 1) == "assertion: expired"


@pytest.mark.parametrize("jti", ["j", " ", "j" * 1_024, "ü", "😀"], ids=len)
def test_an_assertion_is_remembered_for_as_long_as_it_would_be_accepted(jti: str) -> None:
    once = accepted(assertion_jti=jti, exp=NOW + 60).assertion_once
    assert (len(once.digest), once.until) == (32, NOW + 71)
    assert accepted(assertion_jti=jti, exp=NOW + 60, now=NOW + 69).assertion_once == once
    assert refused(assertion_jti=jti, exp=NOW + 60, now=once.until - 1) == "assertion: expired"


def test_one_jti_is_one_digest_per_client_however_the_names_are_cut() -> None:
    def digest(client_id: str, jti: str) -> bytes:
        with peer().lying(iss=client_id, sub=client_id, assertion_jti=jti) as lying:
            return judged(lying.assertion(), replace(CLIENT, client_id=client_id)).assertion_once.digest

    assert digest(AGENT, "j") == digest(AGENT, "j")
    assert len({digest(*pair) for pair in [("ab", "c"), ("a", "bc"), ("a", "b"), ("b", "bc"), ("1:a", "bc")]}) == 5


@pytest.mark.attack("CLA-22")
def test_the_malleated_copy_of_an_assertion_is_the_same_assertion() -> None:
    assertion = peer().assertion()
    message, _, signature = assertion.rpartition(".")
    octets = unb64(signature)
    s = N - int.from_bytes(octets[32:], "big")
    copy = f"{message}.{b64(octets[:32] + s.to_bytes(32, 'big'))}"
    assert copy != assertion
    assert KEY.verifies(copy)
    assert judged(copy).assertion_once == judged(assertion).assertion_once


@pytest.mark.attack("CLA-23")
def test_claims_that_nobody_asked_for_change_nothing() -> None:
    more = {"cnf": {"jkt": "x"}, "act": {"sub": "admin"}, "scope": "admin", "groups": ["root"], "client_id": "other"}
    assert accepted(assertion_jti="j", assertion_claims=more) == accepted(assertion_jti="j")


# --- properties


@given(st.integers(min_value=-400, max_value=400), st.integers(min_value=-400, max_value=400))
def test_the_windows_of_exp_and_iat_are_closed_at_exact_seconds(exp: int, iat: int) -> None:
    good = -10 < exp <= 330 and iat <= 30
    with peer().lying(exp=NOW + exp, assertion_iat=NOW + iat) as lying:
        assertion = lying.assertion()
    try:
        judged(assertion)
    except InvalidClient:
        assert not good
    else:
        assert good
