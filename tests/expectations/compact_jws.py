"""Reading what the server signed, and small words of forms, on bare `cryptography`."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from tests.support.peer_keys import unb64

Claims = dict[str, Any]


def verify(token: str, jwk: Mapping[str, Any]) -> None:
    """Check a signature with bare `cryptography`; raises when it is not of this key."""
    message, _, signature = token.rpartition(".")
    octets, signed = unb64(signature), message.encode()
    if jwk["kty"] == "EC":
        x, y = (int.from_bytes(unb64(jwk[name]), "big") for name in "xy")
        der = encode_dss_signature(int.from_bytes(octets[:32], "big"), int.from_bytes(octets[32:], "big"))
        ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key().verify(der, signed, ec.ECDSA(SHA256()))
    elif jwk["kty"] == "RSA":
        n, e = (int.from_bytes(unb64(jwk[name]), "big") for name in "ne")
        pss = padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=32)
        rsa.RSAPublicNumbers(e, n).public_key().verify(octets, signed, pss, SHA256())
    else:
        ed25519.Ed25519PublicKey.from_public_bytes(unb64(jwk["x"])).verify(octets, signed)


def decoded(token: str) -> tuple[Claims, Claims]:
    """Header and claims, unverified."""
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "===")) for part in token.split(".")[:2])
    return header, claims


def without(members: Claims) -> Claims:
    return {name: value for name, value in members.items() if value is not ...}


def pairs(form: Claims) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in form.items() if value is not ...]


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
