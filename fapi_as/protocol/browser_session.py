"""What a signed-in browser session says, and how long it is good for (LOG-12, LOG-14)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Self

from fapi_as.protocol.handles import KeptHandle
from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import CLOCK_STEP_LEEWAY
from fapi_as.protocol.user import RegisteredUser
from rs_kit.protocol.strict_json import parse_object


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who signed in, when and how; `browser` is what interactions are bound to and outlives a change of session id."""

    subject: str
    user_version: int
    auth_time: int
    acr: str
    browser: str
    ends_at: int

    def to_bytes(self) -> bytes:
        """The payload that the store seals."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, payload: bytes) -> Self:
        """Read back what `to_bytes` wrote; the seal has already proved that it is ours."""
        return cls(**parse_object(payload))

    def usable_until(self, now: int, idle: timedelta) -> int:
        """When it ends without further activity; never later than its absolute end (LOG-14)."""
        return min(now + seconds(idle), self.ends_at)

    def is_live(self, handle: KeptHandle, user: RegisteredUser | None, now: int) -> bool:
        """Whether it still speaks for the user: not ended, not idle for too long, the account as it was (SES-14)."""
        if handle.spent or now >= handle.usable_until or now >= self.ends_at:
            return False
        if self.auth_time - now > seconds(CLOCK_STEP_LEEWAY):  # TIM-02: signed in by a clock that was set back since
            return False
        return user is not None and not user.disabled and user.version == self.user_version
