"""An opened authorization request on its way through our pages, bound to the browser that opened it (LOG-20)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from fapi_as.protocol.handles import KeptHandle, is_from_the_future
from rs_kit.protocol.strict_json import parse_object


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """Which pushed request was opened, in which browser, and who was signed in there at that time.

    `session` is the digest of that session: a sign-in that the request itself brought about has another one (OIDC-6).
    """

    request_digest: bytes
    browser: str
    session: bytes | None = None

    def to_bytes(self) -> bytes:
        """The payload that the store seals."""
        members = {"request": self.request_digest.hex(), "browser": self.browser}
        if self.session is not None:
            members["session"] = self.session.hex()
        return json.dumps(members, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, payload: bytes) -> Self:
        """Read back what `to_bytes` wrote; the seal has already proved that it is ours."""
        members = parse_object(payload)
        session = members.get("session")
        return cls(
            request_digest=bytes.fromhex(members["request"]),
            browser=members["browser"],
            session=None if session is None else bytes.fromhex(session),
        )

    def refusal(self, handle: KeptHandle, browser: str | None, now: int, lifetime: timedelta) -> str | None:
        """The private reason why this browser may not go on with it, or None."""
        if browser != self.browser:  # SES-06, CON-08: a captured URL is worth nothing elsewhere
            return "interaction of another browser"
        if handle.spent:
            return "interaction is finished"
        if now >= handle.usable_until:
            return "interaction expired"
        if is_from_the_future(handle, now, lifetime):
            return "the clock was set back since the request was opened"
        return None
