"""The closed set of signature algorithms and what key each needs (FAPI2 §5.4.1, RFC 9864)."""

from __future__ import annotations

from typing import Final

SIGNING_ALGORITHMS: Final = ("PS256", "ES256", "Ed25519")

# JOSE-3: the polymorphic name is read as the algorithm that it means here, and listed for peers that know no other
ADVERTISED_ALGORITHMS: Final = ("PS256", "ES256", "EdDSA", "Ed25519")
_ALIASES: Final = {"EdDSA": "Ed25519"}

ALGORITHM_OF_KEY_TYPE: Final = {"EC": "ES256", "RSA": "PS256", "OKP": "Ed25519"}  # JOSE-5: one key, one algorithm


def canonical(algorithm: str) -> str:
    """The RFC 9864 name of an algorithm; case matters (JOSE-2)."""
    return _ALIASES.get(algorithm, algorithm)
