"""The UsedOnce port in the memory of one process: bounded, expiring, closed when full."""

from __future__ import annotations

import os
from typing import Final

from rs_kit.protocol.errors import Unavailable

_LIMIT: Final = 500_000  # at most some 200 bytes each; 90 s of proofs at 5,500 calls per second fit
_SLOT_SECONDS: Final = 8
_FORGOTTEN_KEPT: Final = 2048  # slots: more than four hours of traffic, and of a clock that was wrong


class MemoryUsedOnce:
    """Remembers what was used until it may be forgotten; for one process, since workers do not share it.

    Uses that end within the same eight seconds are kept together and forgotten together, at once and with their room.

    Args:
        limit: how many entries fit. A full store refuses (DPR-25): evicting one would let its proof in again.
    """

    __slots__ = ("_count", "_floor", "_forgotten", "_limit", "_next_end", "_process", "_slots")

    def __init__(self, *, limit: int = _LIMIT) -> None:
        self._limit = limit
        self._process = os.getpid()
        self._slots: dict[int, set[bytes]] = {}  # by the last second that they count in
        self._count = 0
        self._next_end = 0
        self._forgotten: set[int] = set()  # slots that were: nothing is let into them any more
        self._floor = -1

    def __len__(self) -> int:
        return self._count

    async def take(self, namespace: str, digest: bytes, *, until: int, now: int) -> bool:
        """Whether this is the first use; the answer is True at most once.

        Raises:
            Unavailable: the store is full, or this is a copy of it in a process that was forked.
        """
        if os.getpid() != self._process:
            raise Unavailable("replay store: made before the process was forked")  # each copy would say yes once
        if self._next_end < now and self._slots:
            self._forget(now)
        end = until // _SLOT_SECONDS * _SLOT_SECONDS + _SLOT_SECONDS - 1
        # A clock that stepped back (R13) must not let in again what was already forgotten, nor keep all others out.
        if end in self._forgotten or end <= self._floor:
            return False
        entry = b"%b\0%b" % (namespace.encode(), digest)  # no URL has a NUL in it
        for slot in self._slots.values():
            if entry in slot:
                return False
        if self._count >= self._limit:
            raise Unavailable("replay store is full")
        slot = self._slots.setdefault(end, set())
        slot.add(entry)
        self._count += 1
        if len(slot) == 1:
            self._next_end = min(self._slots)
        return True

    def _forget(self, now: int) -> None:
        """Drop every slot that ended before `now`; an entry counts until its last second is over, and a little on."""
        for end in [end for end in self._slots if end < now]:
            self._count -= len(self._slots.pop(end))
            self._forgotten.add(end)
        while len(self._forgotten) > _FORGOTTEN_KEPT:
            oldest = min(self._forgotten)
            self._forgotten.remove(oldest)
            self._floor = max(self._floor, oldest)
        self._next_end = min(self._slots, default=0)
