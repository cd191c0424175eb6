"""Compact JWS bent in every way the catalogue knows (JOS), for whoever reads tokens, assertions or proofs."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.peer_keys import PeerKey, as_json, b64, compact, unb64

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
