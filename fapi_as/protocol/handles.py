"""The strings we hand out: how they look on the wire, how they are stored, what a stored one says."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import CLOCK_STEP_LEEWAY

REQUEST_URI_PREFIX = "urn:ietf:params:oauth:request_uri:"  # RFC 9126 §2.2


def digest_of(handle: str) -> bytes:
    """SHA-256 of a handle, the only form that is stored (FAPI2-CR-6, OA-RT-5)."""
    return hashlib.sha256(handle.encode("utf-8", "surrogatepass")).digest()


def digest_of_jti(owner: str, jti: str) -> bytes:
    """SHA-256 of a jti under the name of whoever chose it, so that nobody can use up another one's (PKJ-6)."""
    return digest_of(f"{len(owner)}:{owner}{jti}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptHandle:
    """A stored handle as `peek` shows it; looking does not spend it.

    `revoked` tells that its authorization has ended; `usable_until` is for rules, not for the store.
    """

    kind: HandleKind
    digest: bytes
    payload: bytes
    client_id: str | None
    subject: str | None
    authorization_id: str | None
    usable_until: int
    spent: bool
    revoked: bool


def is_from_the_future(handle: KeptHandle, now: int, lifetime: timedelta) -> bool:
    """Whether a handle would be good for longer than its kind ever is: the clock was set back since (TIM-02).

    One that was kept by a clock an hour ahead would else be usable for an hour and its lifetime.
    """
    return handle.usable_until - now > seconds(lifetime) + seconds(CLOCK_STEP_LEEWAY)
