"""One process's way to the database: a writer thread, a read-only connection, and a Store per tenant."""

from __future__ import annotations

import sqlite3
from functools import partial
from typing import Final, Self, TypeVar

from fapi_as.adapters.store.effects import Effects
from fapi_as.adapters.store.janitor import Janitor
from fapi_as.adapters.store.location import UnusableDatabase, path_of
from fapi_as.adapters.store.reading import Reader, SqliteReading
from fapi_as.adapters.store.sealed_payload import Seal
from fapi_as.adapters.store.tables import REVISION
from fapi_as.ports import Clock
from fapi_as.protocol.audit_events import Stamp
from fapi_as.protocol.decisions import Decision
from fapi_as.protocol.effects import MarkUsed, Record
from fapi_as.protocol.errors import StorageUnavailable
from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import DECISION_DEADLINE
from rs_kit.adapters.sqlite_writer import BUSY_SECONDS, SqliteWriter, Transaction, Unit, WriterUnavailable, connect

_Result = TypeVar("_Result")
_DEADLINE: Final = seconds(DECISION_DEADLINE)
_REVISION: Final = "SELECT version_num FROM alembic_version"


class SqliteStore:
    """The Store port of one tenant."""

    def __init__(self, tenant: str, writer: SqliteWriter, reader: Reader, seal: Seal, clock: Clock | None) -> None:
        self._writer = writer
        self._clock = clock
        self._effects = Effects(tenant, seal)
        self._reading = SqliteReading(tenant, reader, seal)

    @property
    def reading(self) -> SqliteReading:
        """The reads of this tenant."""
        return self._reading

    async def commit(self, decision: Decision, stamp: Stamp) -> Decision:
        """Apply a decision in one transaction and give the decision that came true.

        A caller that is cancelled leaves the decision to come true or not, whole and without it.

        Raises:
            StorageUnavailable: nothing was changed.
            UndeclaredLoss: an effect lost for which the decision names no refusal; nothing was changed.
        """
        try:
            came_true = await self._writer.submit(partial(self._settle, decision, stamp))
        except WriterUnavailable as error:
            raise StorageUnavailable(f"write: {error.detail}") from error
        for effect in came_true.effects:
            if isinstance(effect, MarkUsed):
                self._reading.forget_client(effect.client_id)
        return came_true

    def _settle(self, decision: Decision, stamp: Stamp, transaction: Transaction) -> Decision:
        # a process that was stopped meanwhile decided on a time that is over, as if nothing had expired since; evidence
        # alone stays true however late it comes, and the counts of a minute come when that is over
        decides = any(not isinstance(effect, Record) for effect in decision.effects)
        if decides and self._clock is not None and self._clock.now() - stamp.at > _DEADLINE:
            raise StorageUnavailable("write: the decision was held too long")
        return self._effects.settle(transaction, decision, stamp)


class Database:
    """One per process; the parent has migrated before."""

    def __init__(
        self, writer: SqliteWriter, sweeper: SqliteWriter, reader: Reader, seal: Seal, clock: Clock | None
    ) -> None:
        self._writer = writer
        self._sweeper = sweeper  # a thread of its own: no decision waits for what a sweep moves out of the log
        self._reader = reader
        self._seal = seal
        self._clock = clock
        self.janitor = Janitor(self._sweep)

    @classmethod
    def open(cls, url: str, *, sealing: Seal, clock: Clock | None = None, busy_seconds: float = BUSY_SECONDS) -> Self:
        """Open a migrated database; the event loop that first commits is the one it serves.

        Args:
            url: the database.url of the settings.
            sealing: seals and opens payloads.
            clock: tells when a decision was held too long to come true (TIM-09); None never says so.
            busy_seconds: how long a commit waits for another process's transaction.

        Raises:
            UnsupportedDatabase: another engine than SQLite in a file.
            UnusableDatabase: missing, unreadable, damaged, or of another schema than this version's.
        """
        path = path_of(url)
        reader = Reader(path)
        try:
            revision = reader.one(_REVISION, ())
            if revision != (REVISION,):
                reader.close()
                found = "none" if revision is None else revision[0]
                raise UnusableDatabase(f"the database {path} has schema {found}, this version needs {REVISION}")
            opened = partial(connect, path, busy_seconds=busy_seconds)
            writer = SqliteWriter(opened, file=path)
            # what a power cut brings back ends again at the next sweep, and its fact was lost with its end
            sweeper = SqliteWriter(partial(opened, durable=False), file=path)
        except (StorageUnavailable, sqlite3.Error, OSError) as error:
            reader.close()
            reason = error.detail if isinstance(error, StorageUnavailable) else error
            raise UnusableDatabase(f"the database {path} cannot be opened: {reason}") from None
        return cls(writer, sweeper, reader, sealing, clock)

    def store(self, tenant: str) -> SqliteStore:
        """The Store of one tenant; ask once, it keeps the tenant's parsed clients."""
        return SqliteStore(tenant, self._writer, self._reader, self._seal, self._clock)

    async def run(self, unit: Unit[_Result]) -> _Result:
        """Run a unit on the writer thread, durably.

        Raises:
            StorageUnavailable: nothing was kept.
        """
        return await _submitted(self._writer, unit)

    async def _sweep(self, unit: Unit[int]) -> int:
        return await _submitted(self._sweeper, unit)

    async def close(self) -> None:
        """Commit what is waiting, then close."""
        self._reader.close()  # first, so that the writer is the last one out and puts its log away
        await self._sweeper.close()
        await self._writer.close()


async def _submitted(writer: SqliteWriter, unit: Unit[_Result]) -> _Result:
    try:
        return await writer.submit(unit)
    except WriterUnavailable as error:
        raise StorageUnavailable(f"write: {error.detail}") from error
