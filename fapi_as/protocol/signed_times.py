"""When something that others have signed for us holds: software statements and signed registrations alike."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import CLOCK_AHEAD, EXPIRY_LEEWAY
from rs_kit.protocol import jws

_AHEAD: Final = seconds(CLOCK_AHEAD)
_LEEWAY: Final = seconds(EXPIRY_LEEWAY)


def times_refusal(claims: Mapping[str, object], now: int, *, ceiling: timedelta) -> str | None:
    """The private reason why the claims do not hold now, or None; `ceiling` is what may lie between iat and exp."""
    issued_at, expires_at = jws.numeric_date(claims.get("iat")), jws.numeric_date(claims.get("exp"))
    if issued_at is None or expires_at is None:
        return "iat or exp is missing or no NumericDate"
    if issued_at > now + _AHEAD:
        return "iat is ahead of the clock"
    if expires_at + _LEEWAY <= now:
        return "expired"
    if not 0 < expires_at - issued_at <= seconds(ceiling):
        return "exp is too far from iat"
    not_before = jws.numeric_date(claims.get("nbf", 0))
    if not_before is None or not_before > now + _AHEAD:
        return "nbf is no NumericDate or ahead of the clock"
    return None
