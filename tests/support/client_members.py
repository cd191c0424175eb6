"""The metadata of a client, right in everything until a test changes one member."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from rs_kit.protocol.errors import ProtocolError


def b64(number: int, size: int) -> str:
    """base64url of a big-endian number."""
    return base64.urlsafe_b64encode(number.to_bytes(size, "big")).rstrip(b"=").decode()


def ec_jwk(**more: object) -> dict[str, object]:
    numbers = ec.derive_private_key(0x1234567, ec.SECP256R1()).public_key().public_numbers()
    return {"kty": "EC", "crv": "P-256", "x": b64(numbers.x, 32), "y": b64(numbers.y, 32), **more}


def ed_jwk(**more: object) -> dict[str, object]:
    raw = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().public_bytes_raw()
    return {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode(), **more}


def rsa_jwk(bits: int) -> dict[str, object]:
    numbers = rsa.generate_private_key(public_exponent=65537, key_size=bits).public_key().public_numbers()
    return {"kty": "RSA", "n": b64(numbers.n, bits // 8), "e": "AQAB"}


def client_members(**changes: object) -> dict[str, object]:
    members: dict[str, object] = {
        "client_name": "Ledger agent",
        "token_endpoint_auth_method": "private_key_jwt",
        "redirect_uris": ["https://agent.example/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "scope": "accounts:read transfers:write",
        "jwks": {"keys": [ec_jwk(kid="one")]},
    }
    members.update(changes)
    return {name: value for name, value in members.items() if value is not ...}


def refused(error: type[ProtocolError] = InvalidClientMetadata, **changes: object) -> str:
    with pytest.raises(error) as caught:
        parse_client(client_members(**changes), client_id="c", version=1)
    description = caught.value.description
    assert description.isascii()
    assert not set(description) & {'"', "\\"}
    return description
