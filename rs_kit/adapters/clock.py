"""The one place of the kit where the clock and randomness are read."""

from __future__ import annotations

import os
import time


class SystemClock:
    """The Clock port on the system's wall clock."""

    __slots__ = ()

    def now(self) -> int:
        """Seconds since the epoch (RFC 7519 NumericDate)."""
        return int(time.time())  # noqa: TID251 - this file is the clock


def monotonic_seconds() -> float:
    """Seconds that never step back, for the ages of caches and for time-outs (RSV-8)."""
    return time.monotonic()


def ephemeral_nonce_key() -> bytes:
    """A nonce key that lives and dies with this process: for development and tests; workers must share one."""
    return os.urandom(32)  # noqa: TID251 - this file is the source of randomness
