"""What a software statement must be before anything that it says counts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.protocol import software_statement
from fapi_as.protocol.errors import InvalidSoftwareStatement, UnapprovedSoftwareStatement
from tests.support.certificates import Authority
from tests.support.fakes import ISSUER, NOW
from tests.support.peer_keys import PeerKey, b64, compact
from tests.support.registration_scene import SoftwareAuthority
from tests.support.statement_scene import CLAIMS, SIGNER, claims, statement, told, trusted, verified

DAY = 86_400


@pytest.mark.requirement("SSA-1", proves="holds")
@pytest.mark.parametrize("key", [PeerKey.es256(), PeerKey.ed25519(), PeerKey.ps256()], ids=lambda key: key.alg)
@pytest.mark.parametrize("changes", [{}, {"aud": ISSUER}, {"aud": [ISSUER, "https://other.example"]}, {"nbf": NOW}])
def test_a_statement_of_a_trusted_authority_for_us_and_for_now_is_believed(
    key: PeerKey, changes: dict[str, Any]
) -> None:
    signer = SoftwareAuthority(key=key)
    authority = trusted(jwks={"keys": [key.jwk(kid=signer.kid)]})
    found = verified(signer.signed(claims(**changes)), authority=authority)
    assert (found.issuer, found.jti, found.software_id) == (SIGNER.issuer, "statement-1", "software-1")
    assert found.expires_at == NOW + 3600
    assert dict(found.claims) == {name: CLAIMS[name] for name in ("redirect_uris", "client_name", "scope")}


def test_a_statement_that_was_only_read_tells_where_to_look_for_its_keys() -> None:
    presented = software_statement.present(statement())
    assert (presented.issuer, presented.kid) == (SIGNER.issuer, SIGNER.kid)
    assert software_statement.present(statement(header={"kid": ...})).kid is None


def test_the_statement_is_kept_byte_for_byte() -> None:
    sent = statement()
    assert verified(sent).compact == sent


@pytest.mark.parametrize("typ", [..., "JWT", "jwt", "application/jwt", "software-statement+jwt"])
def test_no_type_is_registered_so_it_may_have_none_or_that_of_any_jwt(typ: object) -> None:
    assert verified(statement(header={"typ": typ})).software_id == "software-1"


@pytest.mark.requirement("SSA-1", proves="refused")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": ...}, "iss is missing"),
        ({"iss": "https://other.example"}, "iss is another authority"),
        ({"iss": SIGNER.issuer + "/"}, "iss is another authority"),
        ({"iss": [SIGNER.issuer]}, "iss is missing"),
        ({"exp": ...}, "iat or exp"),
        ({"iat": ...}, "iat or exp"),
        ({"exp": "2030-01-01"}, "iat or exp"),
        ({"exp": NOW - 10}, "expired"),
        ({"iat": NOW - DAY, "exp": NOW - 3600}, "expired"),
        ({"iat": NOW + 31}, "iat is ahead"),
        ({"exp": NOW + 367 * DAY}, "exp is too far"),
        ({"exp": NOW + 3650 * DAY}, "exp is too far"),
        ({"iat": NOW + 10, "exp": NOW + 10}, "exp is too far"),
        ({"nbf": NOW + 31}, "nbf"),
        ({"nbf": "soon"}, "nbf"),
        ({"jti": ...}, "jti"),
        ({"jti": ""}, "jti"),
        ({"jti": 7}, "jti"),
        ({"jti": "x" * 256}, "jti"),
        ({"jti": "a\u202eb"}, "jti"),
        ({"software_id": ...}, "software_id"),
        ({"software_id": " "}, "software_id"),
        ({"software_id": ["software-1"]}, "software_id"),
        ({"software_version": 1}, "software_version"),
        ({"aud": "https://other.example"}, "aud"),
        ({"aud": ISSUER + "/"}, "aud"),
        ({"aud": []}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": ["https://other.example"]}, "aud"),
        ({"aud": [ISSUER, 1]}, "aud"),
        ({"redirect_uris": "https://agent.example/callback"}, "redirect_uris must be a list of strings"),
        ({"dpop_bound_access_tokens": "true"}, "dpop_bound_access_tokens must be true or false"),
    ],
)
def test_a_statement_that_is_not_complete_not_for_us_or_not_for_now_is_refused(
    changes: dict[str, Any], reason: str
) -> None:
    assert reason in told(statement(**changes))


def test_a_statement_lives_for_a_year_and_ten_seconds_at_most() -> None:
    assert verified(statement(exp=NOW + 366 * DAY)).expires_at == NOW + 366 * DAY
    assert verified(statement(iat=NOW - 100, exp=NOW - 9)).expires_at == NOW - 9
    assert verified(statement(iat=NOW + 30)).jti == "statement-1"


@pytest.mark.parametrize(
    "forge",
    [
        lambda: statement(key=PeerKey.es256()),
        lambda: statement(header={"kid": "another"}),
        lambda: statement(header={"alg": "PS256"}),
        lambda: statement(key=PeerKey.ps256(), header={"alg": "RS256"}),
        lambda: statement(header={"jku": "https://authority.example/jwks"}),
        lambda: statement(header={"x5u": "https://authority.example/chain"}),
        lambda: statement(header={"jwk": PeerKey.es256().jwk()}, key=PeerKey.es256()),
        lambda: statement(header={"crit": ["exp"]}),
        lambda: statement(header={"typ": "at+jwt"}),
        lambda: statement(header={"typ": "dpop+jwt"}),
        lambda: compact({"alg": "none"}, claims(), b""),
        lambda: compact({"alg": "none"}, claims(), b"x"),
        lambda: statement()[:-4] + "AAAA",
        lambda: statement() + ".",
        lambda: " " + statement(),
        lambda: statement(padding="x" * 16_384),
        lambda: SIGNER.key.sign({"kid": SIGNER.kid}, b'{"iss":"https://authority.example","iss":"x"}'),
        lambda: SIGNER.key.sign({"kid": SIGNER.kid}, "[]"),
        lambda: "",
        lambda: None,
        lambda: {"iss": SIGNER.issuer},
        lambda: [statement()],
        lambda: b64(b"statement"),
    ],
)
def test_a_statement_that_the_authority_did_not_sign_as_we_read_it_is_refused(forge: Any) -> None:
    assert told(forge()).startswith("statement: ")


def test_a_symmetric_signature_over_the_public_key_is_refused() -> None:
    forged = compact({"alg": "HS256", "kid": SIGNER.kid}, claims(), b"x" * 32)
    assert told(forged) == "statement: alg"


@pytest.mark.requirement("SSA-2", proves="holds")
def test_an_authority_asserts_what_it_may() -> None:
    authority = trusted(may_assert=["client_name", "redirect_uris", "scope"])
    found = verified(statement(), authority=authority)
    assert found.claims.keys() == {"client_name", "redirect_uris", "scope"}
    named = verified(statement(**{"client_name#fr": "Agent du grand livre"}), authority=authority)
    assert named.claims["client_name#fr"] == "Agent du grand livre"


@pytest.mark.requirement("SSA-2", proves="refused")
@pytest.mark.parametrize(
    "more", [{}, {"jwks_uri": "https://agent.example/jwks"}, {"client_name": ..., "client_name#fr": "Agent"}]
)
def test_what_an_authority_may_not_assert_is_not_approved(more: dict[str, Any]) -> None:
    authority = trusted(may_assert=["redirect_uris", "scope"])
    assert "may not assert" in told(statement(**more), UnapprovedSoftwareStatement, authority=authority)
    assert UnapprovedSoftwareStatement.error == "unapproved_software_statement" != InvalidSoftwareStatement.error


def test_what_is_no_client_metadata_says_nothing() -> None:
    found = verified(statement(org_id="org-1", is_admin=True, client_id="somebody", tenant="other", logo_uri=None))
    assert not {"org_id", "is_admin", "client_id", "tenant", "logo_uri"} & found.claims.keys()


def test_claims_that_were_found_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        verified(statement()).claims["scope"] = "admin"  # type: ignore[index]


def test_a_statement_for_a_key_is_for_whoever_proves_it() -> None:
    sent = statement(cnf={"jkt": b64(b"k" * 32)})
    assert verified(sent, jkt=b64(b"k" * 32)).bound
    assert not verified(statement()).bound
    assert told(sent) == "statement: cnf.jkt: another key"
    assert told(sent, jkt=b64(b"x" * 32)) == "statement: cnf.jkt: another key"


def test_a_statement_for_a_certificate_is_for_whoever_shows_it() -> None:
    ours, others = Authority().issue(), Authority().issue()
    sent = statement(cnf={"x5t#S256": ours.x5t})
    assert verified(sent, certificate=ours.der).bound
    assert told(sent) == "statement: cnf.x5t#S256: another certificate"
    assert told(sent, certificate=others.der) == "statement: cnf.x5t#S256: another certificate"


@pytest.mark.parametrize("cnf", [None, {}, [], "x", {"jwk": {}}, {"jkt": "short"}, {"jkt": 1}, {"kid": "a"}])
def test_a_confirmation_that_is_not_understood_confirms_nobody(cnf: object) -> None:
    assert told(statement(cnf=cnf)).startswith("statement: cnf")


def test_a_statement_with_both_confirmations_needs_both() -> None:
    ours = Authority().issue()
    sent = statement(cnf={"x5t#S256": ours.x5t, "jkt": b64(b"k" * 32)})
    assert verified(sent, certificate=ours.der, jkt=b64(b"k" * 32)).bound
    assert "cnf.x5t#S256" in told(sent, jkt=b64(b"k" * 32))
    assert "cnf.jkt" in told(sent, certificate=ours.der)


def test_whoever_shows_a_certificate_of_another_subject_than_the_asserted_one_is_refused() -> None:
    shown = Authority().issue("CN=agent,O=Bank,C=GB")
    right, wrong = "CN=agent,O=Bank,C=GB", "CN=agent,O=Other,C=GB"
    assert verified(statement(tls_client_auth_subject_dn=right), certificate=shown.der).jti == "statement-1"
    sent = statement(tls_client_auth_subject_dn=wrong)
    assert told(sent, certificate=shown.der) == "statement: the certificate is not for the asserted subject"
    assert verified(sent).jti == "statement-1"  # nothing was shown, so nothing contradicts it


@given(
    st.dictionaries(
        st.sampled_from([*CLAIMS, "aud", "nbf", "cnf", "jwks", "contacts", "software_version"]),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=6),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
            max_leaves=4,
        ),
        max_size=4,
    )
)
def test_any_claims_are_a_statement_or_one_of_its_two_errors(changes: dict[str, Any]) -> None:
    try:
        found = software_statement.present(statement(**changes))
        verified(found.compact)
    except (InvalidSoftwareStatement, UnapprovedSoftwareStatement):
        return
