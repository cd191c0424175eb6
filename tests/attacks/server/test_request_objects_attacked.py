"""Request objects from the attack catalogue: forms that are none, encryption that costs, keys that come along."""

from __future__ import annotations

import json
import time
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.support.house import House
from tests.support.peer_keys import PeerKey, as_json, b64
from tests.support.signing_client import SigningClient, signing_client
from tests.support.standing_still import ready, refused_push

OBJECT: Final = (400, "invalid_request_object")
EVIL: Final = PeerKey.es256(seed=666)
REFUSED_WITHIN: Final = 0.05  # seconds, JAR-16
GROWTH: Final = 5 * 1024 * 1024  # octets, JAR-16


@pytest.fixture
async def house() -> House:
    return House()


@pytest.fixture
async def signer(house: House) -> SigningClient:
    signer = signing_client(house)
    await ready(house, signer)
    return signer


async def refused(house: House, signer: SigningClient, **said: Any) -> tuple[int, str]:
    with signer.saying(**said):
        return await refused_push(house, client=signer)


def honest(signer: SigningClient) -> dict[str, Any]:
    """The claims of an object that would be pushed."""
    now = signer.now()
    about = {"iss": signer.client_id, "client_id": signer.client_id, "aud": signer.issuer, "nbf": now, "exp": now + 300}
    asked = {"response_type": "code", "redirect_uri": signer.redirect_uri, "scope": "accounts:read"}
    return about | asked | {"code_challenge": "c" * 43, "code_challenge_method": "S256", "resource": signer.resource}


@pytest.mark.attack("JAR-02")
@pytest.mark.parametrize("alg", ["none", "nOnE", "NONE", ""])
@pytest.mark.parametrize("signature", ["", "AA"])
async def test_an_object_without_a_signature(house: House, signer: SigningClient, alg: str, signature: str) -> None:
    bare = f"{b64(as_json({'alg': alg}))}.{b64(as_json(honest(signer)))}.{signature}"
    assert await refused(house, signer, object=bare) == OBJECT


@pytest.mark.attack("JAR-02")
async def test_a_signed_object_whose_signature_is_cut_off(house: House, signer: SigningClient) -> None:
    whole = signer.client_key.sign({"kid": signer.kid}, honest(signer))
    assert await refused(house, signer, object=whole.rpartition(".")[0] + ".") == OBJECT
    assert await refused(house, signer, object=whole[:-4]) == OBJECT


def _parts(header: dict[str, Any], *rest: bytes) -> str:
    return ".".join([b64(as_json(header)), *map(b64, rest)])


BOMB: Final = zlib.compress(b"\x00" * 40_000_000, 9)
ENCRYPTED: Final[dict[str, str]] = {
    "RSA1_5": _parts({"alg": "RSA1_5", "enc": "A128CBC-HS256"}, b"k" * 256, b"i" * 16, b"c" * 64, b"t" * 16),
    "PBES2 for ever": _parts(
        {"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2s": "AAAAAAAAAAA", "p2c": 2**31 - 1},
        *(b"k" * 24, b"i" * 12, b"c" * 64, b"t" * 16),
    ),
    "a bomb": _parts({"alg": "dir", "enc": "A128GCM", "zip": "DEF"}, b"", b"i" * 12, BOMB[:16_000], b"t" * 16),
    "an inflated payload": _parts({"alg": "ES256", "kid": "client-key", "zip": "DEF"}, BOMB[:16_000], b"s" * 64),
}


@pytest.mark.attack("JAR-16")
@pytest.mark.parametrize("kind", ENCRYPTED)
async def test_an_encrypted_object_costs_nothing(house: House, signer: SigningClient, kind: str) -> None:
    await refused(house, signer, object=ENCRYPTED[kind])  # what is imported once is not counted
    tracemalloc.start()
    try:
        started = time.process_time()
        assert await refused(house, signer, object=ENCRYPTED[kind]) == OBJECT
        took = time.process_time() - started
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert took < REFUSED_WITHIN * 4  # tracemalloc slows everything down by that much
    assert peak < GROWTH


def _serialised(signer: SigningClient, *, flat: bool) -> str:
    protected, payload, signature = signer.client_key.sign({"kid": signer.kid}, honest(signer)).split(".")
    members = {"protected": protected, "signature": signature}
    return json.dumps({"payload": payload, **members} if flat else {"payload": payload, "signatures": [members]})


def _nested(signer: SigningClient) -> str:
    inner = signer.client_key.sign({"kid": signer.kid}, honest(signer))
    return signer.client_key.sign({"kid": signer.kid, "cty": "JWT"}, inner)


def _detached(signer: SigningClient) -> str:
    header, _, signature = signer.client_key.sign({"kid": signer.kid}, honest(signer)).split(".")
    return f"{header}..{signature}"


def _unencoded(signer: SigningClient) -> str:
    header = b64(as_json({"alg": "ES256", "kid": signer.kid, "b64": False, "crit": ["b64"]}))
    payload = as_json(honest(signer)).decode().replace(".", "")
    return f"{header}.{payload}.{b64(signer.client_key.signature(f'{header}.{payload}'.encode()))}"


def _five_parts(signer: SigningClient) -> str:
    return signer.client_key.sign({"kid": signer.kid}, honest(signer)) + ".AA.AA"


OTHER_FORMS: Final[dict[str, Callable[[SigningClient], str]]] = {
    "JSON, general": lambda signer: _serialised(signer, flat=False),
    "JSON, flattened": lambda signer: _serialised(signer, flat=True),
    "a JWS within a JWS": _nested,
    "a JWS within a JWS that does not say so": lambda signer: signer.client_key.sign(
        {"kid": signer.kid}, signer.client_key.sign({"kid": signer.kid}, honest(signer))
    ),
    "detached": _detached,
    "unencoded": _unencoded,
    "five parts": _five_parts,
    "white space around it": lambda signer: f" {signer.client_key.sign({'kid': signer.kid}, honest(signer))} ",
    "padding": lambda signer: signer.client_key.sign({"kid": signer.kid}, honest(signer)) + "==",
}


@pytest.mark.attack("JAR-17")
@pytest.mark.parametrize("form", OTHER_FORMS)
async def test_another_form_than_one_compact_jws(house: House, signer: SigningClient, form: str) -> None:
    assert await refused(house, signer, object=OTHER_FORMS[form](signer)) == OBJECT


PAYLOADS: Final[dict[str, Callable[[SigningClient], Any]]] = {
    "an array": lambda signer: [honest(signer)],
    "a string": lambda signer: json.dumps(json.dumps(honest(signer))),
    "a number": lambda _: "17",
    "null": lambda _: "null",
    "an empty object": lambda _: {},
    "scope twice": lambda signer: as_json(honest(signer))[:-1] + b',"scope":"transfers:write"}',
    "aud twice": lambda signer: b'{"aud":"https://other.example",' + as_json(honest(signer))[1:],
    "a byte order mark": lambda signer: b"\xef\xbb\xbf" + as_json(honest(signer)),
    "UTF-16": lambda signer: json.dumps(honest(signer)).encode("utf-16"),
    "something after it": lambda signer: as_json(honest(signer)) + b"{}",
    "a depth of 2000": lambda signer: as_json(honest(signer))[:-1] + b',"x":' + b"[" * 2000 + b"]" * 2000 + b"}",
    "a NUL": lambda signer: {**honest(signer), "state": "s\x00t"},
}


@pytest.mark.attack("JAR-18")
@pytest.mark.parametrize("payload", PAYLOADS)
async def test_another_payload_than_one_object(house: House, signer: SigningClient, payload: str) -> None:
    whole = signer.client_key.sign({"kid": signer.kid}, PAYLOADS[payload](signer))
    assert await refused(house, signer, object=whole) == OBJECT


@pytest.mark.attack("JAR-22")
@pytest.mark.parametrize(
    "header",
    [
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/certificate"},
        {"jwk": EVIL.jwk()},
        {"x5c": ["MIIB"]},
        {"jku": "https://evil.example/keys", "kid": "client-key"},
        {"jwk": EVIL.jwk(kid="client-key"), "kid": "client-key"},
    ],
)
@pytest.mark.parametrize("whose", ["the attacker's", "the client's"])
async def test_a_key_that_comes_along(house: House, signer: SigningClient, header: dict[str, Any], whose: str) -> None:
    key = EVIL if whose == "the attacker's" else signer.client_key
    requests = len(house.log)
    assert await refused(house, signer, header=header, key=key) == OBJECT
    assert len(house.log) == requests + 1  # the house's transport would have seen, and refused, any other address


async def test_the_object_that_all_of_these_began_with_is_accepted(signer: SigningClient) -> None:
    with signer.saying(object=signer.client_key.sign({"kid": signer.kid}, honest(signer))):
        assert (await signer.push()).response.status_code == 201
