"""How long one request waits for documents of others, however many it needs one after another.

A client's document, the keys of whoever vouches for it and its own keys can each take all the time that one fetch has.
Who waits gives up; what is being fetched goes on, because others may wait for it, too.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Final, TypeVar

from rs_kit.adapters.clock import monotonic_seconds

SECONDS: Final = 5.5  # a little more than one fetch has, so that its own reason is told

_until: ContextVar[float | None] = ContextVar("patience", default=None)
_T = TypeVar("_T")


def begin() -> None:
    """A request begins: from now on it has its patience."""
    _until.set(monotonic_seconds() + SECONDS)


async def patiently(running: asyncio.Future[_T]) -> _T:
    """Wait for a fetch that goes on by itself, for as long as the request of this context still has patience.

    Raises:
        TimeoutError: it has none left.
    """
    until = _until.get()
    async with asyncio.timeout(SECONDS if until is None else max(0.0, until - monotonic_seconds())):
        return await asyncio.shield(running)
