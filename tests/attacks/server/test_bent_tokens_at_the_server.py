"""Assertions and proofs that are bent in every way the catalogue knows (JOS): one answer per entry point, no cost."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.fakes import ISSUER
from tests.support.fapi_client import FapiClient
from tests.support.house import House
from tests.support.peer_keys import PeerKey, as_json, b64, compact, unb64
from tests.support.token_scene import keyed, refused, warm

ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256
L: Final = 2**252 + 27742317777372353535851937790883648493  # of Ed25519
Bend = Callable[[PeerKey, dict[str, Any], dict[str, Any]], str]


def signed(key: PeerKey, header: Any, claims: Any) -> str:
    return key.sign(header, claims)


def raw(key: PeerKey, header: bytes, payload: bytes) -> str:
    message = f"{b64(header)}.{b64(payload)}".encode()
    return f"{message.decode()}.{b64(key.signature(message))}"


def parts(key: PeerKey, header: Any, claims: Any) -> tuple[str, str, bytes]:
    first, second, signature = key.sign(header, claims).split(".")
    return first, second, unb64(signature)


def with_signature(change: Callable[[bytes], bytes]) -> Bend:
    def bend(key: PeerKey, header: dict[str, Any], claims: dict[str, Any]) -> str:
        first, second, signature = parts(key, header, claims)
        return f"{first}.{second}.{b64(change(signature))}"

    return bend


def with_header(**more: Any) -> Bend:
    return lambda key, header, claims: signed(key, header | more, claims)


def with_claims(**more: Any) -> Bend:
    return lambda key, header, claims: signed(key, header, claims | more)


def by_mac(secret: Callable[[PeerKey], bytes], alg: str = "HS256") -> Bend:
    def bend(key: PeerKey, header: dict[str, Any], claims: dict[str, Any]) -> str:
        message = f"{b64(as_json(header | {'alg': alg}))}.{b64(as_json(claims))}"
        digest = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}[alg]
        return f"{message}.{b64(hmac.digest(secret(key), message.encode(), digest))}"

    return bend


def as_text(change: Callable[[str], str]) -> Bend:
    return lambda key, header, claims: change(signed(key, header, claims))


def with_bytes(change_header: Callable[[bytes], bytes], change_claims: Callable[[bytes], bytes]) -> Bend:
    def bend(key: PeerKey, header: dict[str, Any], claims: dict[str, Any]) -> str:
        return raw(key, change_header(as_json({"alg": key.alg, **header})), change_claims(as_json(claims)))

    return bend


def same(data: bytes) -> bytes:
    return data


def twice(name: str) -> Callable[[bytes], bytes]:
    """The member once more, at the end, with another value."""
    return lambda data: data[:-1] + f',"{name}":"other"}}'.encode()


def pem(key: PeerKey) -> bytes:
    return bytes(key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def der(key: PeerKey) -> bytes:
    return bytes(key.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


def unsigned(header: dict[str, Any]) -> Bend:
    return lambda key, own, claims: compact({**own, **header}, claims, b"")


def json_form(general: bool) -> Bend:
    def bend(key: PeerKey, header: dict[str, Any], claims: dict[str, Any]) -> str:
        protected, payload, signature = signed(key, header, claims).split(".")
        one = {"protected": protected, "signature": signature}
        return json.dumps({"payload": payload, "signatures": [one, one]} if general else {"payload": payload, **one})

    return bend


def jwe(alg: str) -> Bend:
    header = {"alg": alg, "enc": "A256GCM", "p2c": 2**31, "p2s": "AAAA"}
    return lambda key, own, claims: ".".join([b64(as_json(own | header)), "AAAA", "AAAA", b64(b"x" * 64), "AAAA"])


def other_spelling(token: str) -> str:
    """The last character of the signature with unused bits set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) | 1]


BENDS: Final[dict[str, tuple[str, Bend]]] = {
    "none": ("JOS-01", unsigned({"alg": "none"})),
    "nOnE": ("JOS-01", unsigned({"alg": "nOnE"})),
    "none with a signature": ("JOS-01", with_header(alg="none")),
    "alg twice": ("JOS-01", with_bytes(twice("alg"), same)),
    "mac with PEM": ("JOS-02", by_mac(pem)),
    "mac with DER": ("JOS-02", by_mac(der, "HS384")),
    "mac with JWK": ("JOS-02", by_mac(lambda key: as_json(key.jwk()), "HS512")),
    "mac with kid": ("JOS-02", by_mac(lambda key: b"client-key")),
    "mac with nothing": ("JOS-02", by_mac(lambda key: b"")),
    "signature cut": ("JOS-03", with_signature(lambda octets: octets[:-1])),
    "signature longer": ("JOS-03", with_signature(lambda octets: octets + b"\x00")),
    "signature of zeros": ("JOS-03", with_signature(lambda octets: bytes(64))),
    "r is n": ("JOS-03", with_signature(lambda octets: ORDER.to_bytes(32, "big") + octets[32:])),
    "s is n": ("JOS-03", with_signature(lambda octets: octets[:32] + ORDER.to_bytes(32, "big"))),
    "signature in DER": (
        "JOS-03",
        with_signature(
            lambda octets: encode_dss_signature(int.from_bytes(octets[:32], "big"), int.from_bytes(octets[32:], "big"))
        ),
    ),
    "crit unknown": ("JOS-05", with_header(crit=["x"], x=1)),
    "crit empty": ("JOS-05", with_header(crit=[])),
    "crit twice": ("JOS-05", with_header(crit=["x", "x"], x=1)),
    "crit text": ("JOS-05", with_header(crit="exp")),
    "crit registered": ("JOS-05", with_header(crit=["alg"])),
    "crit absent": ("JOS-05", with_header(crit=["nothing"])),
    "b64 false": ("JOS-06", with_header(b64=False)),
    "b64 false in crit": ("JOS-06", with_header(b64=False, crit=["b64"])),
    "detached": ("JOS-06", as_text(lambda token: f"{token.split('.')[0]}..{token.split('.')[2]}")),
    "jku": ("JOS-07", with_header(jku="https://evil.example/jwks")),
    "x5u": ("JOS-07", with_header(x5u="https://evil.example/chain")),
    "x5c": ("JOS-07", with_header(x5c=["AAAA"])),
    "member twice in the claims": ("JOS-13", with_bytes(same, twice("jti"))),
    "member twice in the header": ("JOS-13", with_bytes(twice("typ"), same)),
    "byte order mark": ("JOS-15", with_bytes(same, lambda data: b"\xef\xbb\xbf" + data)),
    "UTF-16": ("JOS-15", with_bytes(same, lambda data: data.decode().encode("utf-16-le"))),
    "UTF-32 header": ("JOS-15", with_bytes(lambda data: data.decode().encode("utf-32"), same)),
    "overlong": ("JOS-16", with_bytes(same, lambda data: data[:-1] + b',"x":"\xc0\xaf"}')),
    "lone surrogate": ("JOS-16", with_bytes(same, lambda data: data[:-1] + b',"x":"\\ud800"}')),
    "NUL": ("JOS-16", with_bytes(same, lambda data: data[:-1] + b',"x":"\\u0000"}')),
    "deep": ("JOS-17", with_bytes(same, lambda data: data[:-1] + f',"x":{deep(100)}}}'.encode())),
    "very deep": ("JOS-17", with_bytes(same, lambda data: (b"[" * 5000) + b"]" * 5000)),
    "padding": ("JOS-18", as_text(lambda token: token + "=")),
    "standard alphabet": ("JOS-18", as_text(lambda token: token[:-4] + "+/+/")),
    "space": ("JOS-18", as_text(lambda token: token.replace(".", ". ", 1))),
    "two parts": ("JOS-18", as_text(lambda token: token.rpartition(".")[0])),
    "four parts": ("JOS-18", as_text(lambda token: token + ".AAAA")),
    "another spelling": ("JOS-18", as_text(other_spelling)),
    "JWE dir": ("JOS-19", jwe("dir")),
    "JWE PBES2": ("JOS-19", jwe("PBES2-HS256+A128KW")),
    "zip": ("JOS-20", with_header(zip="DEF")),
    "flattened": ("JOS-22", json_form(general=False)),
    "general": ("JOS-22", json_form(general=True)),
    "another algorithm": ("JOS-23", with_header(alg="PS256")),
    "ES384": ("JOS-23", with_header(alg="ES384")),
    "large header": ("JOS-24", with_header(x="x" * 4096)),
    "large payload": ("JOS-24", with_claims(x="x" * 33 * 1024)),
    "large signature": ("JOS-24", with_signature(lambda octets: octets * 32)),
    "typ is a list": ("JOS-25", with_header(typ=["JWT"])),
    "typ of another kind": ("JOS-25", with_header(typ="at+jwt")),
}
CASES = [pytest.param(bend, id=name, marks=pytest.mark.attack(case)) for name, (case, bend) in BENDS.items()]


@pytest.fixture
def house() -> House:
    return House()


def honest(client: FapiClient, kind: str) -> tuple[PeerKey, dict[str, Any], dict[str, Any]]:
    """Key, header and claims of what this client would send now."""
    if kind == "assertion":
        key, token = client.client_key, client.assertion()
    else:
        key, token = client.dpop_key, client.proof("POST", f"{ISSUER}/token")
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "===")) for part in token.split(".")[:2])
    return key, header, claims


ANSWERS: Final = {"assertion": (401, "invalid_client"), "proof": (400, "invalid_dpop_proof")}


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("bend", CASES)
async def test_a_bent_token_is_refused_where_it_is_shown(house: House, kind: str, bend: Bend) -> None:
    await warm(house.agent)
    token = bend(*honest(house.agent, kind))
    with house.agent.lying(**{kind: token}):
        answer = await refused(house, house.agent.client_credentials, *ANSWERS[kind])
    assert token[-20:] not in answer.text  # JOS-26


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.attack("JOS-04")
async def test_the_other_root_of_an_ecdsa_signature_makes_no_second_request(house: House, kind: str) -> None:
    agent = house.agent
    await warm(agent)
    key, header, claims = honest(agent, kind)
    first, second, octets = parts(key, header, claims)
    bent = ORDER - int.from_bytes(octets[32:], "big")
    tokens = [f"{first}.{second}.{b64(value)}" for value in (octets, octets[:32] + bent.to_bytes(32, "big"))]
    with agent.lying(**{kind: tokens[0]}):
        assert (await agent.client_credentials()).access_token
    with agent.lying(**{kind: tokens[1]}):
        await refused(house, agent.client_credentials, *ANSWERS[kind], unsent=1)


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.attack("JOS-04")
async def test_an_ed25519_signature_beyond_the_order_is_refused(house: House, kind: str) -> None:
    client = keyed(house, "Ed25519")
    await warm(client)
    first, second, octets = parts(*honest(client, kind))
    beyond = int.from_bytes(octets[32:], "little") + L
    token = f"{first}.{second}.{b64(octets[:32] + beyond.to_bytes(32, 'little'))}"
    with client.lying(**{kind: token}):
        await refused(house, client.client_credentials, *ANSWERS[kind])


@pytest.mark.attack("JOS-08")
@pytest.mark.parametrize(
    "kid",
    ["../../../../dev/null", "' OR 1=1--", "| id", "%00", "https://evil.example", "k" * 257, 7, None, [], ""],
    ids=lambda kid: str(kid)[:9],
)
async def test_a_strange_kid_names_no_key(house: House, kid: Any) -> None:
    await warm(house.agent)
    key, header, claims = honest(house.agent, "assertion")
    with house.agent.lying(assertion=signed(key, header | {"kid": kid}, claims)):
        await refused(house, house.agent.client_credentials, 401, "invalid_client")
    assert not [fact for fact in house.store.facts if "dev/null" in str(fact)]


@pytest.mark.attack("JOS-14")
@pytest.mark.parametrize(
    "number", ["1e400", "Infinity", "NaN", "-1", "-0.5", "true", '"123"', "null", "[1]", "{}", "9" * 4000, "9" * 5000]
)
@pytest.mark.parametrize(("kind", "name"), [("assertion", "exp"), ("proof", "iat")])
async def test_a_number_that_is_no_date_is_refused(house: House, kind: str, name: str, number: str) -> None:
    await warm(house.agent)
    key, header, claims = honest(house.agent, kind)
    payload = as_json(claims | {name: "HERE"}).replace(b'"HERE"', number.encode())
    token = raw(key, as_json({"alg": key.alg, **header}), payload)
    with house.agent.lying(**{kind: token}):
        await refused(house, house.agent.client_credentials, *ANSWERS[kind])
