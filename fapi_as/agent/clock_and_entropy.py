"""The agent's clock and randomness: the only file of this package that reads either."""

from __future__ import annotations

import secrets  # noqa: TID251 - this file is the entropy of the agent's side
import time

from fapi_as.agent.proof_key import ProofKey

_IDENTIFIER_BYTES = 16  # 128 bits
_SECRET_BYTES = 32  # 256 bits: 43 characters, the least that RFC 7636 §4.1 allows


class SystemClock:
    """The clock of the machine."""

    def now(self) -> int:
        """Seconds since the epoch."""
        return int(time.time())  # noqa: TID251 - this file is the clock of the agent's side


class SystemEntropy:
    """The randomness of the operating system; proof keys leave this process only into a token store of their owner."""

    def identifier(self) -> str:
        """A fresh URL-safe string with 128 bits."""
        return secrets.token_urlsafe(_IDENTIFIER_BYTES)

    def secret(self) -> str:
        """A fresh URL-safe string with 256 bits."""
        return secrets.token_urlsafe(_SECRET_BYTES)

    def proof_key(self) -> ProofKey:
        """A fresh P-256 key, for ES256."""
        return ProofKey.generate()
