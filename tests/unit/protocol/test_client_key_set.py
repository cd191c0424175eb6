"""The key set behind a client's jwks_uri."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fapi_as.protocol.client_key_set import InvalidKeySet, parse_key_set
from fapi_as.protocol.metadata_members import InvalidClientMetadata, fetched_uri
from tests.support import weak_keys
from tests.support.peer_keys import PeerKey, b64

GOOD = PeerKey.es256(seed=41)
OTHER = PeerKey.ed25519(seed=42)
P384 = PeerKey(ec.derive_private_key(7, ec.SECP384R1()), "ES384")


def document(*entries: Any) -> bytes:
    return json.dumps({"keys": entries}).encode()


def test_every_usable_key_and_its_certificate_is_found() -> None:
    der = base64.b64decode(weak_keys.certificate(GOOD.private.public_key()))
    found = parse_key_set(document(GOOD.jwk(kid="a", x5c=[base64.b64encode(der).decode()]), OTHER.jwk(kid="b")))
    assert [(key.kid, key.algorithm) for key in found.keys] == [("a", "ES256"), ("b", "Ed25519")]
    assert found.certificates == (der,)


@pytest.mark.parametrize(
    "foreign",
    [
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"},
        {"kty": "unknown"},
        {"kty": 5},
        {},
        GOOD.jwk(kid="enc", use="enc"),
        GOOD.jwk(kid="ops", key_ops=["sign"]),
        GOOD.jwk(kid="alg", alg="ES384"),
        GOOD.jwk(kid=""),
        GOOD.jwk(kid="x5c", x5c=["AAAA"]),
        P384.jwk(kid="p384"),
        PeerKey.ps256(1024).jwk(kid="weak"),
        GOOD.jwk(kid="off", y=b64(b"\x01" * 32)),
    ],
)
def test_an_entry_that_is_none_of_ours_is_passed_over_and_the_others_work(foreign: dict[str, Any]) -> None:
    found = parse_key_set(document(foreign, OTHER.jwk(kid="b")))
    assert [key.kid for key in found.keys] == ["b"]
    assert found.certificates == ()


def test_a_set_may_hold_nothing_that_verifies() -> None:
    assert parse_key_set(document()).keys == ()


@pytest.mark.parametrize(
    "shown", [GOOD.private_jwk(kid="a"), GOOD.private_jwk(kid="a", use="enc"), {"kty": "oct", "k": "AAAA"}]
)
def test_a_set_that_shows_a_private_key_is_refused_whole(shown: dict[str, Any]) -> None:
    with pytest.raises(InvalidKeySet, match="private"):
        parse_key_set(document(OTHER.jwk(kid="b"), shown))


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":null}', b'{"keys":["a"]}', b"<html>", b"\xef\xbb\xbf{}"),
        *(b'{"keys":[],"keys":[]}', b'{"keys":' + b"[" * 40 + b"]" * 40 + b"}"),
        b"\xff\xfe{\x00}\x00",
        document(*[OTHER.jwk(kid=str(number)) for number in range(33)]),
    ],
)
def test_what_is_no_key_set_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidKeySet) as raised:
        parse_key_set(body)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "uri",
    [
        *("http://client.example/jwks", "https://127.0.0.1/jwks", "https://[::1]/jwks", "https://2130706433/jwks"),
        *("https://client.example:22/jwks", "https://client.example./jwks", "https://u@client.example/jwks", 5, ""),
    ],
)
def test_a_jwks_uri_is_registered_in_its_one_spelling_and_to_a_public_place(uri: object) -> None:
    assert fetched_uri({}, "jwks_uri") is None
    assert fetched_uri({"jwks_uri": "https://client.example/jwks"}, "jwks_uri") == "https://client.example/jwks"
    with pytest.raises(InvalidClientMetadata, match="jwks_uri"):
        fetched_uri({"jwks_uri": uri}, "jwks_uri")
