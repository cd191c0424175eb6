"""Where each signing key is in its life, by time alone and for each algorithm apart: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from fapi_as.adapters.store.signing_keys import StoredSigningKey
from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import JWKS_MAX_AGE, SIGNING_KEY_KEPT_AFTER_USE, SIGNING_KEY_PUBLISHED_BEFORE_USE


class KeyState(StrEnum):
    """Where a signing key is in its life (JOSE-34)."""

    NEXT = "next"
    ACTIVE = "active"
    RETIRING = "retiring"


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationTimes:
    """In seconds: how long peers may keep the set, and how long a key is in it before and after it signs."""

    jwks_max_age: int = seconds(JWKS_MAX_AGE)
    published_before_use: int = seconds(SIGNING_KEY_PUBLISHED_BEFORE_USE)
    kept_after_use: int = seconds(SIGNING_KEY_KEPT_AFTER_USE)


def active_key(keys: Iterable[StoredSigningKey], alg: str, now: int) -> StoredSigningKey | None:
    """The last key whose time has come; when the clock was set back before the first, that first one (TIM-02)."""
    live = [key for key in keys if key.alg == alg and (key.gone_from is None or now < key.gone_from)]
    begun = [key for key in live if key.active_from <= now]
    return max(begun, key=_first_use) if begun else min(live, key=_first_use, default=None)


def state_of(key: StoredSigningKey, keys: Iterable[StoredSigningKey], now: int) -> KeyState | None:
    """The state of a key; None when it is gone and no token of it can be valid any more."""
    if key.gone_from is not None and now >= key.gone_from:
        return None
    if key is active_key(keys, key.alg, now):
        return KeyState.ACTIVE
    return KeyState.NEXT if key.active_from > now else KeyState.RETIRING


def waiting_key(keys: Iterable[StoredSigningKey], alg: str, now: int) -> StoredSigningKey | None:
    """The key that is published and does not sign yet."""
    keys = tuple(keys)
    return next((key for key in keys if key.alg == alg and state_of(key, keys, now) is KeyState.NEXT), None)


def turning_points(keys: Iterable[StoredSigningKey]) -> Iterator[int]:
    """The times at which a key changes its state."""
    for key in keys:
        yield key.active_from
        if key.gone_from is not None:
            yield key.gone_from


def _first_use(key: StoredSigningKey) -> tuple[int, bool, str]:
    return key.active_from, key.gone_from is None, key.kid  # of two in one second the one that nothing follows
