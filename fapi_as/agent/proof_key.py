"""A DPoP key that a store can write down beside the tokens that are bound to it."""

from __future__ import annotations

from typing import Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from rs_kit.protocol.jws import SigningKey


class ProofKey(SigningKey):
    """A P-256 key that can leave this process; every other `SigningKey` stays where it is, in hardware perhaps."""

    __slots__ = ("_private_key",)

    _private_key: EllipticCurvePrivateKey

    @classmethod
    def generate(cls) -> Self:
        """A fresh key, for ES256."""
        return cls._of(generate_private_key(SECP256R1()))

    @classmethod
    def from_pem(cls, pem: str) -> Self:
        """The key that `pem` gave.

        Raises:
            ValueError: it is no P-256 private key in PKCS #8.
        """
        try:
            private_key = load_pem_private_key(pem.encode("ascii"), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ValueError("no private key in PKCS #8") from None
        if not isinstance(private_key, EllipticCurvePrivateKey) or private_key.curve.name != SECP256R1.name:
            raise ValueError("no P-256 key")
        return cls._of(private_key)

    @classmethod
    def _of(cls, private_key: EllipticCurvePrivateKey) -> Self:
        key = cls.from_private_key(private_key)
        key._private_key = private_key  # noqa: SLF001 - a constructor of this class
        return key

    def pem(self) -> str:
        """The private key in PKCS #8, not encrypted: for a file that only its owner can read."""
        return self._private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
