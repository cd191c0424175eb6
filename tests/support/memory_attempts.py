"""Attempts in a dict: the times of those that were counted, by bucket."""

from __future__ import annotations

from fapi_as.protocol.effects import Attempt

Attempts = dict[bytes, tuple[int, ...]]


def has_room(attempts: Attempts, effect: Attempt, now: int) -> bool:
    """Whether the attempt that lies `limit` before the next one is out of the window."""
    earlier = attempts.get(effect.bucket, ())[-effect.limit :]
    return len(earlier) < effect.limit or not -effect.window_seconds < earlier[0] - now <= effect.window_seconds


def counted(attempts: Attempts, effect: Attempt, now: int) -> bool:
    """Count one more, if there is room."""
    if not has_room(attempts, effect, now):
        return False
    attempts[effect.bucket] = (*attempts.get(effect.bucket, ()), now)
    return True
