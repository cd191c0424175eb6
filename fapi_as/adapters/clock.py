"""The only place of the server where the clock is read."""

from __future__ import annotations

import time


class SystemClock:
    """The Clock port on the system's wall clock."""

    __slots__ = ()

    def now(self) -> int:
        """Seconds since the epoch (RFC 7519 NumericDate)."""
        return int(time.time())  # noqa: TID251 - this file is the clock
