"""The agent's clock and randomness: the only file of this package that reads either."""

from __future__ import annotations

import secrets  # noqa: TID251 - this file is the entropy of the agent's side
import time

from cryptography.hazmat.primitives.asymmetric import ec

from rs_kit.protocol.jws import SigningKey

_IDENTIFIER_BYTES = 16  # 128 bits
_SECRET_BYTES = 32  # 256 bits: 43 characters, the least that RFC 7636 §4.1 allows


class SystemClock:
    """The clock of the machine."""

    def now(self) -> int:
        """Seconds since the epoch."""
        return int(time.time())  # noqa: TID251 - this file is the clock of the agent's side


class SystemEntropy:
    """The randomness of the operating system; proof keys live in this process only."""

    def identifier(self) -> str:
        """A fresh URL-safe string with 128 bits."""
        return secrets.token_urlsafe(_IDENTIFIER_BYTES)

    def secret(self) -> str:
        """A fresh URL-safe string with 256 bits."""
        return secrets.token_urlsafe(_SECRET_BYTES)

    def proof_key(self) -> SigningKey:
        """A fresh P-256 key, for ES256."""
        return SigningKey.from_private_key(ec.generate_private_key(ec.SECP256R1()))
