"""The UsedOnce port in the memory of one process: bounded, expiring, closed when full."""

from __future__ import annotations

import os
from typing import Final

from rs_kit.protocol.errors import Unavailable

_LIMIT: Final = 500_000  # an hour's attack costs at most some 100 MB; 90 s of proofs at 5,500 calls per second fit


class MemoryUsedOnce:
    """Remembers what was used until it may be forgotten; for one process, since workers do not share it.

    Args:
        limit: how many entries fit. A full store refuses (DPR-25): evicting one would let its proof in again.
    """

    __slots__ = ("_by_end", "_forgotten_until", "_limit", "_next_end", "_process", "_taken")

    def __init__(self, *, limit: int = _LIMIT) -> None:
        self._limit = limit
        self._process = os.getpid()
        self._taken: set[tuple[str, bytes]] = set()
        self._by_end: dict[int, list[tuple[str, bytes]]] = {}
        self._next_end = 0
        self._forgotten_until = -1

    def __len__(self) -> int:
        return len(self._taken)

    async def take(self, namespace: str, digest: bytes, *, until: int, now: int) -> bool:
        """Whether this is the first use; the answer is True at most once.

        Raises:
            Unavailable: the store is full, or this is a copy of it in a process that was forked.
        """
        if os.getpid() != self._process:
            raise Unavailable("replay store: made before the process was forked")  # each copy would say yes once
        if self._next_end < now and self._by_end:
            self._forget(now)
        # A clock that stepped back (R13) must not let in again what was already forgotten.
        if until <= self._forgotten_until:
            return False
        entry = (namespace, digest)
        if entry in self._taken:
            return False
        if len(self._taken) >= self._limit:
            raise Unavailable("replay store is full")
        self._taken.add(entry)
        same_end = self._by_end.get(until)
        if same_end is None:
            self._by_end[until] = [entry]
            self._next_end = min(self._by_end)
        else:
            same_end.append(entry)
        return True

    def _forget(self, now: int) -> None:
        """Drop every entry that ended before `now`; an entry counts until its last second is over."""
        for end in [end for end in self._by_end if end < now]:
            self._taken.difference_update(self._by_end.pop(end))
            self._forgotten_until = max(self._forgotten_until, end)
        self._next_end = min(self._by_end, default=0)
