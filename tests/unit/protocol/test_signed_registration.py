"""A registration that is signed as a whole: what it must say, and what is read of it (SSA-7)."""

from __future__ import annotations

from typing import Any, Final

import pytest

from fapi_as.protocol.metadata_members import InvalidClientMetadata
from fapi_as.protocol.signed_registration import present, verify
from rs_kit.protocol.jwk import parse_public
from tests.support.fakes import ISSUER, NOW
from tests.support.peer_keys import PeerKey, compact

KEY: Final = PeerKey.es256(seed=5)
KEYS: Final = (parse_public(KEY.jwk(kid="one")),)
HEADER: Final = {"typ": "JWT", "alg": "ES256", "kid": "one"}
CLAIMS: Final = {"iss": "software", "aud": ISSUER, "iat": NOW, "exp": NOW + 60, "jti": "j", "client_name": "Agent"}


def signed(header: dict[str, Any] | None = None, **claims: Any) -> bytes:
    said = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not ...}
    return KEY.sign(HEADER if header is None else header, said).encode()


def refused(body: bytes, *, software_id: str | None = "software", now: int = NOW) -> str:
    with pytest.raises(InvalidClientMetadata) as raised:
        verify(present(body), KEYS, software_id=software_id, audience=ISSUER, now=now)
    assert raised.value.description == "the signed registration request is not valid"
    return raised.value.detail.removeprefix("signed registration: ")


def test_what_it_asks_for_is_all_but_what_it_says_of_itself() -> None:
    found = present(signed(software_statement="a.b.c"))
    assert found.members == {"client_name": "Agent", "software_statement": "a.b.c"}
    assert found.kid == "one"


def test_it_is_taken_once_for_as_long_as_it_holds() -> None:
    once = verify(present(signed()), KEYS, software_id="software", audience=ISSUER, now=NOW)
    assert once.until > NOW + 60
    other = verify(present(signed(jti="k")), KEYS, software_id="software", audience=ISSUER, now=NOW)
    again = verify(present(signed(exp=NOW + 70)), KEYS, software_id="software", audience=ISSUER, now=NOW)
    assert (other.digest == once.digest, again.digest == once.digest) == (False, True)


@pytest.mark.parametrize("typ", ["JWT", "jwt", "application/jwt", "JOSE", ...])
def test_no_type_is_registered_so_the_usual_ones_are_taken(typ: Any) -> None:
    header = {name: value for name, value in {**HEADER, "typ": typ}.items() if value is not ...}
    assert verify(present(signed(header)), KEYS, software_id="software", audience=ISSUER, now=NOW)


@pytest.mark.parametrize(
    "typ",
    [
        *("at+jwt", "dpop+jwt", "client-authentication+jwt", "oauth-authz-req+jwt"),
        *("software-statement+jwt", "logout+jwt", "entity-statement+jwt", 1, None),
    ],
)
def test_what_is_of_another_type_is_none(typ: Any) -> None:
    assert refused(signed({**HEADER, "typ": typ})) == "typ"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "parts"),
        (b"{}", "parts"),
        (b"a.b", "parts"),
        (b"a.b.c.d.e", "parts"),
        (b"a" * (64 * 1024 + 1), "length"),
        ("é.é.é".encode(), "base64url"),
        (compact({**HEADER, "alg": "none"}, CLAIMS, b"s").encode(), "alg"),
        (compact({**HEADER, "alg": "HS256"}, CLAIMS, b"s").encode(), "alg"),
        (compact({**HEADER, "alg": "RS256"}, CLAIMS, b"s").encode(), "alg"),
        (compact({**HEADER, "jwk": KEY.jwk()}, CLAIMS, b"s").encode(), "jwk in the header"),
        (compact({**HEADER, "jku": "https://evil.example"}, CLAIMS, b"s").encode(), "a header parameter is refused"),
        (compact(HEADER, '{"iss":"software","iss":"other"}', b"s").encode(), "JSON"),
    ],
)
def test_what_is_no_jws_of_ours_is_refused_before_any_key(body: bytes, reason: str) -> None:
    assert reason in refused(body)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": ...}, "iss is not the software_id"),
        ({"iss": ["software"]}, "iss is not the software_id"),
        ({"aud": [ISSUER]}, "aud is not the issuer"),
        ({"aud": f"{ISSUER}/"}, "aud is not the issuer"),
        ({"iat": ...}, "iat or exp is missing or no NumericDate"),
        ({"exp": str(NOW + 60)}, "iat or exp is missing or no NumericDate"),
        ({"exp": True}, "iat or exp is missing or no NumericDate"),
        ({"iat": NOW + 31, "exp": NOW + 90}, "iat is ahead of the clock"),
        ({"iat": NOW - 100, "exp": NOW - 10}, "expired"),
        ({"exp": NOW + 301}, "exp is too far from iat"),
        ({"iat": NOW + 20, "exp": NOW + 20}, "exp is too far from iat"),
        ({"nbf": NOW + 31}, "nbf is no NumericDate or ahead of the clock"),
        ({"nbf": "now"}, "nbf is no NumericDate or ahead of the clock"),
        ({"jti": ...}, "jti is missing or too long"),
        ({"jti": ""}, "jti is missing or too long"),
        ({"jti": "j" * 1025}, "jti is missing or too long"),
        ({"jti": 7}, "jti is missing or too long"),
        ({"sub": "software"}, "sub"),
        ({"sub": None}, "sub"),
    ],
)
def test_what_does_not_hold_is_refused(claims: dict[str, Any], reason: str) -> None:
    assert refused(signed(**claims)) == reason


def test_at_its_edges_it_holds() -> None:
    for claims in ({"exp": NOW + 300}, {"iat": NOW + 30, "exp": NOW + 31}, {"iat": NOW - 60, "exp": NOW - 9}):
        assert verify(present(signed(**claims)), KEYS, software_id="software", audience=ISSUER, now=NOW)


def test_without_a_software_id_nobody_has_signed_it() -> None:
    assert refused(signed(), software_id=None) == "iss is not the software_id"
    assert refused(signed(iss=...), software_id=None) == "iss is not the software_id"


def test_another_key_is_no_key_of_this_software() -> None:
    other = PeerKey.es256(seed=6).sign(HEADER, CLAIMS).encode()
    assert refused(other) == "signature"
    assert refused(signed({**HEADER, "kid": "two"})) == "no key with this kid and alg"
