"""RFC 9068 tokens: what the issuer must have said, and to whom."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs_kit.protocol.access_token import VerifiedAccessToken, present, verify_access_token
from rs_kit.protocol.confirmation import Confirmation
from rs_kit.protocol.errors import InvalidToken
from rs_kit.protocol.jwk import parse_public
from tests.support.peer_keys import PeerKey, as_json, compact

NOW = 1_790_000_000
ISSUER, RESOURCE = "https://localhost:8443", "https://localhost:8445/mcp"
KEY = PeerKey.es256(seed=31)
JKT = PeerKey.es256(seed=32).thumbprint
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "sub": "alice",
    "aud": RESOURCE,
    "client_id": "agent",
    "scope": "accounts:read transfers:write",
    "iat": NOW,
    "exp": NOW + 300,
    "jti": "token-1",
    "cnf": {"jkt": JKT},
    "authorization_id": "grant-1",
}


def mint(header: dict[str, Any] | None = None, /, *, key: PeerKey = KEY, **changes: Any) -> str:
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not ...}
    return key.sign({"typ": "at+jwt", "kid": "k"} | (header or {}), claims)


def verify(token: str, **changes: Any) -> VerifiedAccessToken:
    arguments: dict[str, Any] = {"issuer": ISSUER, "audience": RESOURCE, "now": NOW, "leeway_seconds": 10} | changes
    keys = [parse_public(KEY.jwk(kid="k")), parse_public(PeerKey.ed25519(seed=33).jwk(kid="old"))]
    return verify_access_token(token, keys=keys, **arguments)


def test_a_good_token_becomes_what_it_says() -> None:
    assert verify(mint()) == VerifiedAccessToken(
        issuer=ISSUER,
        subject="alice",
        client_id="agent",
        audience=(RESOURCE,),
        scope=frozenset({"accounts:read", "transfers:write"}),
        expires_at=NOW + 300,
        issued_at=NOW,
        jti="token-1",
        confirmation=Confirmation(jkt=JKT),
        authorization_id="grant-1",
        claims=CLAIMS,
    )


def test_a_token_that_was_read_before_is_not_read_again() -> None:
    presented = present(mint())
    assert presented.kid == "k"
    keys = [parse_public(KEY.jwk(kid="k"))]
    options = {"issuer": ISSUER, "audience": RESOURCE, "now": NOW, "leeway_seconds": 10}
    assert verify_access_token(presented, keys=keys, **options).subject == "alice"


@pytest.mark.parametrize("typ", ["at+jwt", "application/at+jwt", "AT+JWT"])
@pytest.mark.requirement("AT-8", proves="holds")
def test_the_type_of_an_access_token_is_accepted(typ: str) -> None:
    assert verify(mint({"typ": typ})).jti == "token-1"


@pytest.mark.parametrize(
    "typ",
    [
        "JWT",
        "",
        None,
        "dpop+jwt",
        "client-authentication+jwt",
        "secevent+jwt",
        "logout+jwt",
        "oauth-id-jag+jwt",
        "token-introspection+jwt",
        "txntoken+jwt",
        "oauth-authz-req+jwt",
    ],
)
@pytest.mark.requirement("RSV-5", proves="refused")
def test_a_jwt_of_another_kind_is_no_access_token(typ: str | None) -> None:
    with pytest.raises(InvalidToken):
        verify(mint({"typ": typ}))


@pytest.mark.requirement("AT-8", proves="refused")
def test_a_token_without_a_type_is_refused() -> None:
    with pytest.raises(InvalidToken):
        verify(KEY.sign({"kid": "k"}, CLAIMS))


@pytest.mark.parametrize("changes", [{"alg": "RS256"}, {"alg": "none"}, {"alg": "HS256"}], ids=str)
def test_a_token_of_another_algorithm_is_refused(changes: dict[str, str]) -> None:
    header = {"typ": "at+jwt", "kid": "k", **changes}
    for signature in (b"", bytes(32), bytes(256)):
        with pytest.raises(InvalidToken):
            verify(compact(header, CLAIMS, signature))


@pytest.mark.requirement("AT-9", proves="refused")
def test_an_encrypted_token_is_refused() -> None:
    with pytest.raises(InvalidToken):
        verify(compact({"alg": "ECDH-ES", "enc": "A256GCM", "typ": "at+jwt"}, CLAIMS, b"x") + ".AAAA.AAAA")


@pytest.mark.requirement("AT-10", proves="holds")
def test_the_key_of_the_issuer_verifies() -> None:
    assert verify(mint(), issuer=ISSUER).issuer == ISSUER


@pytest.mark.parametrize(
    "token",
    [
        mint(iss="https://localhost:8443/"),
        mint(iss="https://evil.example"),
        mint(iss=...),
        mint(iss=[ISSUER]),
        mint({"kid": "other"}),
        mint(key=PeerKey.es256(seed=99)),
        mint({"kid": "old"}),
    ],
    ids=["slash", "other issuer", "no iss", "list", "other kid", "same kid, other key", "kid of another algorithm"],
)
@pytest.mark.requirement("AT-10", proves="refused")
def test_a_token_of_another_issuer_or_key_is_refused(token: str) -> None:
    with pytest.raises(InvalidToken):
        verify(token)


@pytest.mark.parametrize("aud", [RESOURCE, [RESOURCE], ["https://other.example", RESOURCE]], ids=str)
@pytest.mark.requirement("AT-11", proves="holds")
def test_an_audience_that_contains_this_resource_is_accepted(aud: object) -> None:
    assert RESOURCE in verify(mint(aud=aud)).audience


@pytest.mark.parametrize(
    "aud",
    [
        ...,
        None,
        "",
        [],
        "https://localhost:8445",
        RESOURCE + "/",
        RESOURCE + "/tools",
        RESOURCE.upper(),
        "HTTPS://localhost:8445/mcp",
        ["https://other.example"],
        [RESOURCE, 1],
        {"a": RESOURCE},
        1,
    ],
    ids=str,
)
@pytest.mark.requirement("AT-11", proves="refused")
def test_a_token_for_another_resource_is_refused(aud: object) -> None:
    with pytest.raises(InvalidToken):
        verify(mint(aud=aud))


@pytest.mark.parametrize(
    "changes",
    [{"exp": NOW - 5}, {"exp": NOW + 1}, {"exp": float(NOW + 1)}, {"iat": NOW + 30}, {"nbf": NOW + 30}, {"nbf": 0}],
    ids=str,
)
@pytest.mark.requirement("AT-12", proves="holds")
def test_a_clock_may_be_a_little_off(changes: dict[str, Any]) -> None:
    assert verify(mint(**changes)).subject == "alice"


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": NOW - 10},
        {"exp": NOW - 120},
        {"exp": ...},
        {"exp": str(NOW + 300)},
        {"exp": True},
        {"exp": None},
        {"exp": 2**33},
        {"exp": NOW + 0.5},
        {"iat": NOW + 31},
        {"iat": NOW + 61},
        {"iat": ...},
        {"iat": -1},
        {"nbf": NOW + 31},
        {"nbf": "0"},
        {"nbf": None},
    ],
    ids=str,
)
@pytest.mark.requirement("AT-12", proves="refused")
def test_a_token_outside_its_time_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        verify(mint(**changes))


@pytest.mark.parametrize("name", ["sub", "client_id", "jti"])
@pytest.mark.parametrize("value", [..., None, "", 1, ["a"], {}], ids=str)
def test_a_token_without_a_claim_that_it_must_have_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidToken):
        verify(mint(**{name: value}))


@pytest.mark.parametrize(
    "changes",
    [{"scope": ["a"]}, {"scope": None}, {"authorization_id": ""}, {"authorization_id": 1}],
    ids=str,
)
def test_a_claim_of_another_type_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        verify(mint(**changes))


def test_scope_and_authorization_id_may_be_absent() -> None:
    verified = verify(mint(scope=..., authorization_id=...))
    assert verified.scope == frozenset()
    assert verified.authorization_id is None


def test_a_token_that_is_bound_to_nobody_says_so() -> None:
    assert verify(mint(cnf=...)).confirmation is None


@pytest.mark.parametrize("cnf", [None, {}, {"foo": 1}, {"jkt": None}, "x"], ids=str)
def test_a_binding_that_cannot_be_checked_is_no_absent_binding(cnf: object) -> None:
    with pytest.raises(InvalidToken):
        verify(mint(cnf=cnf))


def test_every_refusal_says_the_same_sentence() -> None:
    sentences = set()
    for token in ("x", mint(exp=NOW - 120), mint(aud="x"), mint(key=PeerKey.es256(seed=99)), mint(cnf={})):
        with pytest.raises(InvalidToken) as caught:
            verify(token)
        sentences.add((caught.value.error, caught.value.description))
    assert len(sentences) == 1


def test_the_claims_are_not_shown_by_repr() -> None:
    assert "grant-1" not in repr(verify(mint(scope="a"))).replace("authorization_id='grant-1'", "")


VALUE = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just([RESOURCE]) | st.just({"jkt": JKT})


@given(st.dictionaries(st.sampled_from(sorted(CLAIMS)), VALUE, max_size=4), st.binary(max_size=8))
def test_any_claims_give_a_token_or_the_one_error(changes: dict[str, Any], tail: bytes) -> None:
    for token in (mint(**changes), KEY.sign({"typ": "at+jwt", "kid": "k"}, as_json(CLAIMS) + tail)):
        try:
            verified = verify(token)
        except InvalidToken:
            continue
        assert RESOURCE in verified.audience
