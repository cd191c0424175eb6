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
_AT_ONCE: Final = 100  # in one transaction: whoever signs in first after an outage waits for a few commits only


class Owed:
    """Decisions that were due while the store could not be written, of effects that are never lost."""

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
            due = [self._waiting.popleft() for _ in range(min(len(self._waiting), _AT_ONCE))]
            effects = tuple(effect for decision, _ in due for effect in decision.effects)
            try:
                await store.commit(Issue(effects=effects), replace(due[0][1], at=now))
            except StorageUnavailable:
                self._waiting.extendleft(reversed(due))
                raise

    def __len__(self) -> int:
        return len(self._waiting)
