"""Whether the store can be read and written, asked at most once at a time and once a second, whoever asks."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Final

from fapi_as.ports import Store
from fapi_as.protocol.audit_events import Stamp
from fapi_as.protocol.decisions import Issue
from fapi_as.protocol.effects import Attempt, Forget, HandleKind
from fapi_as.protocol.errors import StorageUnavailable

_NOBODY: Final = hashlib.sha256(b"a check of the store").digest()
# one row in and out again within one transaction: it is written durably like every decision, and it leaves nothing
_NOTHING: Final = Forget(bucket=_NOBODY)
_WRITES: Final = Issue(effects=(_NOTHING, Attempt(bucket=_NOBODY, limit=1, window_seconds=1), _NOTHING))


class SharedCheck:
    """The StoreCheck port: the last check of one tenant's store by this worker, and the one that runs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked_at: int | None = None
        self._outcome: asyncio.Task[str | None] | None = None

    async def require(self, stamp: Stamp) -> None:
        """Whoever asks while a check runs, or in the second of the last one, gets its outcome.

        Raises:
            StorageUnavailable: it cannot be read, or not be written.
        """
        if self._outcome is None or (self._outcome.done() and stamp.at != self._asked_at):
            self._asked_at = stamp.at
            self._outcome = asyncio.get_running_loop().create_task(_problem(self._store, stamp))
        # whoever leaves does not end the check of the others
        problem = await asyncio.shield(self._outcome)
        if problem is not None:
            raise StorageUnavailable(problem)


async def _problem(store: Store, stamp: Stamp) -> str | None:
    try:
        await store.reading.handle(HandleKind.SESSION, _NOBODY)  # handles are never cached
        await store.commit(_WRITES, stamp)
    except StorageUnavailable as error:
        return error.detail
    return None
