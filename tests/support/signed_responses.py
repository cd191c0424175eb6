"""JARM as a client reads it, on bare `cryptography`: nothing inside counts before everything around it is right."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from tests.support.browser import Callback
from tests.support.peer_keys import unb64

ALGORITHMS: Final = {"EC": {"ES256"}, "RSA": {"PS256"}, "OKP": {"Ed25519", "EdDSA"}}
LONGEST_SECONDS: Final = 600  # JARM §2.1


@dataclass(slots=True)
class SignedCallback(Callback):
    """A redirect whose parameters are the claims of its one parameter."""

    header: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, str]:
        return {name: value for name, value in self.claims.items() if name not in {"aud", "exp"}}


def response_of(place: Callback) -> str:
    """The one parameter that a signed response is (JARM §2.3.1)."""
    pairs = [pair for pair in parse_qsl(urlsplit(place.location).query, strict_parsing=True) if pair[0] != "registered"]
    assert [name for name, _ in pairs] == ["response"], place.location
    assert "#" not in place.location
    return pairs[0][1]


def opened(place: Callback, *, jwks: dict[str, Any], issuer: str, client_id: str, now: int) -> SignedCallback:
    """Read a redirect (JARM §2.4).

    Raises:
        AssertionError, InvalidSignature: not a response of this issuer to this client, now.
    """
    header, claims = read(response_of(place), jwks)
    assert claims["iss"] == issuer, claims
    assert claims["aud"] == client_id, claims
    assert now < claims["exp"] <= now + LONGEST_SECONDS, claims
    assert ("code" in claims) is not ("error" in claims), claims
    return SignedCallback(
        location=place.location, status=place.status, response=place.response, header=header, claims=claims
    )


def read(token: str, jwks: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a compact JWS that exactly one published key signed."""
    message, _, signature = token.rpartition(".")
    header, claims = (json.loads(unb64(part)) for part in message.split("."))
    (jwk,) = [key for key in jwks["keys"] if key["kid"] == header["kid"]]
    assert header["alg"] in ALGORITHMS[jwk["kty"]], header
    _verify(jwk, message.encode(), unb64(signature))
    return header, claims


def _verify(jwk: dict[str, Any], message: bytes, signature: bytes) -> None:
    numbers = {name: int.from_bytes(unb64(jwk[name])) for name in ("x", "y", "n", "e") if name in jwk}
    if jwk["kty"] == "EC":
        point = ec.EllipticCurvePublicNumbers(numbers["x"], numbers["y"], ec.SECP256R1()).public_key()
        der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
        point.verify(der, message, ec.ECDSA(SHA256()))
    elif jwk["kty"] == "RSA":
        public = rsa.RSAPublicNumbers(numbers["e"], numbers["n"]).public_key()
        public.verify(signature, message, padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=32), SHA256())
    else:
        ed25519.Ed25519PublicKey.from_public_bytes(unb64(jwk["x"])).verify(signature, message)
