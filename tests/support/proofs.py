"""DPoP proofs that are right until a test changes them, and our reader with its usual options."""

from __future__ import annotations

from typing import Any

import pytest

from rs_kit.protocol.dpop import (
    ProofExpectation,
    ProofKeys,
    VerifiedProof,
    verify_proof,
)
from rs_kit.protocol.errors import InvalidDpopProof
from tests.support.peer_keys import PeerKey

NOW = 1_790_000_000
URL = "https://rs.example/mcp"
NONCE_KEY = b"n" * 32
TOKEN = "eyJ.access.token"
EC, RSA, ED = PeerKey.es256(seed=41), PeerKey.ps256(), PeerKey.ed25519(seed=42)
PEERS = [EC, RSA, ED]


def proof(key: PeerKey = EC, header: dict[str, Any] | None = None, /, **changes: Any) -> str:
    """A proof that is right until a test changes it; `...` takes a member away."""
    head = {"typ": "dpop+jwt", "alg": key.alg, "jwk": key.jwk()} | (header or {})
    claims = {"jti": "proof-1", "htm": "POST", "htu": URL, "iat": NOW} | changes
    return key.sign(
        {name: value for name, value in head.items() if value is not ...},
        {name: value for name, value in claims.items() if value is not ...},
    )


def verify(token: str, *, keys: ProofKeys | None = None, **changes: Any) -> VerifiedProof:
    expected: dict[str, Any] = {
        "method": "POST",
        "htu": URL,
        "now": NOW,
        "max_age_seconds": 60,
        "max_future_seconds": 30,
        "nonce_key": None,
    }
    return verify_proof(
        token,
        expect=ProofExpectation(**expected | changes),
        keys=ProofKeys() if keys is None else keys,
    )


def refused(token: str, **changes: Any) -> InvalidDpopProof:
    with pytest.raises(InvalidDpopProof) as caught:
        verify(token, **changes)
    assert caught.value.error == "invalid_dpop_proof"
    return caught.value
