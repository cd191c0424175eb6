"""Stateless DPoP nonces: a MAC over the time window and the key that they are for (RFC 9449 §8, DPOP-13)."""

from __future__ import annotations

import hmac
from functools import lru_cache
from typing import Final

from rs_kit.protocol import base64url

_SEALED_BYTES: Final = 24  # 192 bits: 32 characters of the NQCHAR alphabet (RFC 9449 §8.1)
_LENGTH: Final = 32


def issue(key: bytes, *, now: int, jkt: str | None, window_seconds: int) -> str:
    """The nonce of the current window, for one proof key or, where that is not known yet, for any."""
    return _sealed(key, now // window_seconds, window_seconds, jkt)


def check(key: bytes, nonce: str, *, now: int, jkt: str | None, window_seconds: int) -> bool:
    """Whether this nonce is ours, of the current or the previous window, and for this key or for any."""
    if len(nonce) != _LENGTH or not nonce.isascii():
        return False
    current = now // window_seconds
    for holder in (jkt, None):
        for window in (current, current - 1):
            if hmac.compare_digest(nonce, _sealed(key, window, window_seconds, holder)):
                return True
    return False


@lru_cache(maxsize=8192)
def _sealed(key: bytes, window: int, window_seconds: int, jkt: str | None) -> str:
    message = f"dpop-nonce\n{window_seconds}\n{window}\n{jkt or ''}".encode()
    return base64url.encode(hmac.digest(key, message, "sha256")[:_SEALED_BYTES])
