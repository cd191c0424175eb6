"""Group commit for SQLite: units that wait at the same time share one transaction on one writer thread.

Each unit runs in a savepoint of its own and its caller is answered after the commit, so durability costs little per
unit, and a caller that goes away can neither undo what others wrote nor leave a transaction open.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from urllib.parse import quote

from rs_kit.adapters.clock import monotonic_seconds

Result = TypeVar("Result")

BUSY_SECONDS: Final = 5.0  # STO-04: a locked database is an answer within 6 s
_WAL_LIMIT: Final = 64 * 1024 * 1024  # bytes that the write-ahead log may keep after a checkpoint
_WAL_PAGES: Final = 256  # 1 MiB: a log that is let grow fills a small disk, and then nothing can be moved out of it
_LOOK_MILLISECONDS: Final = 1  # between two looks whether another process has let go of the database
_PRIMARY: Final = 0xFF  # of SQLite's extended result codes


class WriterUnavailable(Exception):
    """The database cannot be written now; nothing of this unit was kept."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def connect(
    path: Path, *, mode: Literal["rw", "rwc"] = "rw", busy_seconds: float = BUSY_SECONDS, durable: bool = True
) -> sqlite3.Connection:
    """Open a database for writing: write-ahead log, FULL durability, no implicit transactions.

    Args:
        path: the database file.
        mode: SQLite's own words; `rwc` creates a file that is missing, `rw` never makes a silent new one (STO-07).
        busy_seconds: how long a writer waits for another process's transaction.
        durable: False where nobody is told of a commit: it reaches the disk with the next one that is durable.

    Raises:
        sqlite3.Error: the file cannot be opened or is no database.
    """
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={mode}",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,  # opened by the caller, so that it sees the failure; used by the writer thread only
        cached_statements=256,
    )
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")  # NORMAL lost acknowledged commits at a power cut (STO-06)
        if not durable:
            connection.execute("PRAGMA synchronous=NORMAL")  # it loses the last commits, and never their order
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute(f"PRAGMA journal_size_limit={_WAL_LIMIT}")
        connection.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


class Transaction:
    """What a unit may do: execute statements, and undo what it has done so far."""

    __slots__ = ("execute",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.execute = connection.execute

    def start_over(self) -> None:
        """Undo everything that this unit did, and nothing of other units."""
        self.execute("ROLLBACK TO unit")


Unit = Callable[[Transaction], Result]
_Waiting = tuple[Callable[[Transaction], Any], "asyncio.Future[Any]"]
_Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]


class SqliteWriter:
    """One writer thread with one connection; made for one event loop.

    Args:
        open_connection: opens the database; called at once, and again after a failure.
        file: nothing is written while this is not the file that was there at first: what goes into a file that was
            moved or replaced is acknowledged and lost, and what others write into the new one is not seen.
        queue_limit: how many units may wait; one more is refused.
        batch_limit: how many units share one commit at most.

    Raises:
        sqlite3.Error: the database cannot be opened.
    """

    def __init__(
        self,
        open_connection: Callable[[], sqlite3.Connection],
        *,
        file: Path | None = None,
        queue_limit: int = 1024,
        batch_limit: int = 64,
    ) -> None:
        self._open_connection = open_connection
        self._file = file
        self._queue_limit = queue_limit
        self._batch_limit = batch_limit
        self._queue: queue.SimpleQueue[list[_Waiting] | None] = queue.SimpleQueue()
        self._arriving: list[_Waiting] = []  # of this turn of the event loop
        self._unanswered = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._is_open = True  # this and the next three: the writer thread's own
        self._waiting: list[_Waiting] = []
        self._patience = 0.0
        self._connection: sqlite3.Connection | None = self._opened()
        self._first_file = self._present_file()
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, unit: Unit[Result]) -> asyncio.Future[Result]:
        """Queue a unit; the future is done once it is durable. Cancelling the future does not stop the unit.

        The future fails with WriterUnavailable when nothing was kept, or with what the unit itself raised.

        Raises:
            WriterUnavailable: closed, or too many units are waiting.
        """
        if self._closed:
            raise WriterUnavailable("the writer is closed")
        if self._unanswered >= self._queue_limit:
            raise WriterUnavailable("too many units are waiting")
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = self._loop.create_future()
        if not self._arriving:
            # one hand-over for everybody who arrives in this turn of the loop
            self._loop.call_soon(self._hand_over)
        self._arriving.append((unit, future))
        self._unanswered += 1
        return future

    def _hand_over(self) -> None:
        if self._arriving:
            self._queue.put(self._arriving)
            self._arriving = []

    def _settle(self, outcomes: list[_Outcome]) -> None:
        self._unanswered -= len(outcomes)
        for future, result, error in outcomes:
            if future.done():  # its caller went away
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    async def close(self) -> None:
        """Commit what is waiting, then end the thread and close the connection."""
        if not self._closed:
            self._closed = True
            self._hand_over()
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    # --- below this line: the writer thread

    def _run(self) -> None:
        while self._is_open or self._waiting:
            self._receive(block=not self._waiting)
            batch = self._waiting[: self._batch_limit]
            del self._waiting[: self._batch_limit]
            if batch:
                self._answer(self._outcomes(batch))
        self._disconnect()

    def _receive(self, *, block: bool) -> None:
        """Take over what has been handed over; with `block`, wait for it."""
        with contextlib.suppress(queue.Empty):
            while self._is_open:
                arrived = self._queue.get(block=block)
                self._is_open = arrived is not None
                self._waiting.extend(arrived or ())
                block = False

    def _present_file(self) -> tuple[int, int] | None:
        if self._file is None:
            return None
        status = self._file.stat()
        return status.st_dev, status.st_ino

    def _opened(self) -> sqlite3.Connection:
        """A fresh connection, whose own patience is taken over from it.

        SQLite would look again after ever longer sleeps, up to a tenth of a second: beside a process that writes many
        units, who writes one would sleep through every moment in which the database is free.
        """
        connection = self._open_connection()
        try:
            (milliseconds,) = connection.execute("PRAGMA busy_timeout").fetchone()
            connection.execute(f"PRAGMA busy_timeout={_LOOK_MILLISECONDS}")
        except sqlite3.Error:
            connection.close()
            raise
        self._patience = milliseconds / 1000
        return connection

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Have the database for oneself; a plain BEGIN would have no patience when it starts to write.

        It is SQLite that sleeps between two looks: Python's own sleep ends at a time of the clock, and whoever steps
        the clocks of a process (libfaketime does) makes that a long one.

        Raises:
            sqlite3.Error: another process kept it for longer than we are patient, or it cannot be had at all.
        """
        until = monotonic_seconds() + self._patience
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & _PRIMARY != sqlite3.SQLITE_BUSY or monotonic_seconds() >= until:
                    raise
            else:
                return

    def _outcomes(self, batch: list[_Waiting]) -> list[_Outcome]:
        try:
            if self._present_file() != self._first_file:
                raise FileNotFoundError("another file stands in the place of the database")
            connection = self._connection = self._connection or self._opened()
            self._begin(connection)
        except Exception as error:  # noqa: BLE001 - whatever it is, callers must be answered and the thread must live
            # whoever queued behind a locked database has waited, too: one time-out answers all of them
            self._receive(block=False)
            lost = [*batch, *self._waiting]
            self._waiting.clear()
            return self._lost(lost, error)
        try:
            outcomes = [_run_unit(connection, unit, future) for unit, future in batch]
            connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - as above
            return self._lost(batch, error)
        return outcomes

    def _lost(self, batch: list[_Waiting], error: BaseException) -> list[_Outcome]:
        """Nothing of this batch was kept; the next one starts with a fresh connection, which rolls back the old."""
        self._disconnect()
        detail = f"{type(error).__name__}: {error}"
        return [(future, None, WriterUnavailable(detail)) for _, future in batch]

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _answer(self, outcomes: list[_Outcome]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._settle, outcomes)


def _run_unit(
    connection: sqlite3.Connection, unit: Callable[[Transaction], Any], future: asyncio.Future[Any]
) -> _Outcome:
    connection.execute("SAVEPOINT unit")
    try:
        result = unit(Transaction(connection))
    except Exception as error:
        if not connection.in_transaction:
            raise  # SQLite ended the whole transaction (disk full, I/O error): nobody's unit was kept
        connection.execute("ROLLBACK TO unit")
        connection.execute("RELEASE unit")
        if isinstance(error, sqlite3.Error):
            return future, None, WriterUnavailable(f"{type(error).__name__}: {error}")
        return future, None, error
    connection.execute("RELEASE unit")
    return future, result, None
