"""What the store is still to be told once it works again: kept in memory by each worker, bounded."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Final

from fapi_as.ports import Store
from fapi_as.protocol.audit_events import Stamp
from fapi_as.protocol.decisions import Issue
from fapi_as.protocol.errors import StorageUnavailable

_KEPT: Final = 1_000  # the oldest goes


class Owed:
    """Decisions that were due while the store could not be written."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Issue, Stamp]] = deque(maxlen=_KEPT)

    def add(self, decision: Issue, stamp: Stamp) -> None:
        """Remember one more."""
        self._waiting.append((decision, stamp))

    async def pay(self, store: Store, now: int) -> None:
        """Commit what waits, each once.

        Raises:
            StorageUnavailable: what was not committed waits on.
        """
        while self._waiting:
            decision, stamp = self._waiting.popleft()
            try:
                await store.commit(decision, replace(stamp, at=now))
            except StorageUnavailable:
                self._waiting.appendleft((decision, stamp))
                raise

    def __len__(self) -> int:
        return len(self._waiting)
