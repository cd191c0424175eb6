"""Group commit: shared transactions, separate fates, answers after the commit, and recovery without help."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from rs_kit.adapters.sqlite_writer import SqliteWriter, Transaction, WriterUnavailable, connect


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "writer.db"
    with contextlib.closing(connect(path, mode="rwc")) as connection:
        connection.execute("CREATE TABLE number (value INTEGER PRIMARY KEY) STRICT")
    return path


@pytest.fixture
def other(path: Path) -> Iterator[sqlite3.Connection]:
    """Another process, as far as SQLite can tell."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


@pytest.fixture
async def writer(path: Path) -> AsyncIterator[SqliteWriter]:
    writer = SqliteWriter(partial(connect, path, busy_seconds=0.05), queue_limit=100)
    yield writer
    await writer.close()


def insert(value: int, transaction: Transaction) -> int:
    transaction.execute("INSERT INTO number VALUES (?)", (value,))
    return value


def numbers(connection: sqlite3.Connection) -> list[int]:
    return [value for (value,) in connection.execute("SELECT value FROM number ORDER BY value")]


async def test_a_unit_is_durable_when_its_caller_is_answered(writer: SqliteWriter, other: sqlite3.Connection) -> None:
    assert await writer.submit(partial(insert, 1)) == 1
    assert numbers(other) == [1]
    assert not other.in_transaction


async def test_units_that_wait_at_the_same_time_share_one_commit(path: Path, other: sqlite3.Connection) -> None:
    commits = 0

    def count(statement: str) -> None:
        nonlocal commits
        commits += statement == "COMMIT"

    def connect_traced() -> sqlite3.Connection:
        connection = connect(path)
        connection.set_trace_callback(count)
        return connection

    writer = SqliteWriter(connect_traced, batch_limit=16)
    await asyncio.gather(*(writer.submit(partial(insert, value)) for value in range(32)))
    await writer.close()
    assert numbers(other) == list(range(32))
    assert commits == 2


async def test_nobody_else_can_write_between_what_a_unit_reads_and_what_it_writes(
    path: Path, writer: SqliteWriter
) -> None:
    def read_and_write(transaction: Transaction) -> str:
        transaction.execute("SELECT count(*) FROM number").fetchone()
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
            try:
                other.execute("INSERT INTO number VALUES (2)")
            except sqlite3.OperationalError as error:
                insert(1, transaction)
                return str(error)
        return "somebody wrote"

    assert await writer.submit(read_and_write) == "database is locked"


async def test_the_writer_waits_for_the_disk_at_every_commit(writer: SqliteWriter) -> None:
    level = await writer.submit(lambda transaction: transaction.execute("PRAGMA synchronous").fetchone()[0])
    mode = await writer.submit(lambda transaction: transaction.execute("PRAGMA journal_mode").fetchone()[0])
    assert (level, mode) == (2, "wal")  # FULL: an acknowledged commit survives a power cut


async def test_a_unit_that_raises_takes_no_other_with_it(writer: SqliteWriter, other: sqlite3.Connection) -> None:
    def insert_and_raise(transaction: Transaction) -> None:
        insert(2, transaction)
        raise LookupError("defect")

    outcomes = await asyncio.gather(
        writer.submit(partial(insert, 1)),
        writer.submit(insert_and_raise),
        writer.submit(partial(insert, 1)),
        writer.submit(partial(insert, 3)),
        return_exceptions=True,
    )
    assert outcomes[0] == 1
    assert isinstance(outcomes[1], LookupError)
    assert isinstance(outcomes[2], WriterUnavailable)
    assert outcomes[3] == 3
    assert numbers(other) == [1, 3]


async def test_a_unit_that_starts_over_undoes_itself_only(writer: SqliteWriter, other: sqlite3.Connection) -> None:
    def change_mind(transaction: Transaction) -> None:
        insert(2, transaction)
        transaction.start_over()
        insert(3, transaction)

    await asyncio.gather(writer.submit(partial(insert, 1)), writer.submit(change_mind))
    assert numbers(other) == [1, 3]


async def test_a_caller_that_goes_away_stops_neither_its_unit_nor_the_next(
    writer: SqliteWriter, other: sqlite3.Connection
) -> None:
    abandoned = asyncio.ensure_future(writer.submit(partial(insert, 1)))
    abandoned.cancel()
    async with asyncio.timeout(1):
        assert await writer.submit(partial(insert, 2)) == 2
    assert numbers(other) == [1, 2]


async def test_a_locked_database_fails_everybody_who_waits_and_recovers_by_itself(
    writer: SqliteWriter, other: sqlite3.Connection
) -> None:
    other.execute("BEGIN EXCLUSIVE")
    first = [writer.submit(partial(insert, value)) for value in range(3)]
    await asyncio.sleep(0)  # handed over: what comes now queues behind the lock
    outcomes = await asyncio.gather(*first, writer.submit(partial(insert, 3)), return_exceptions=True)
    assert all(isinstance(outcome, WriterUnavailable) for outcome in outcomes)
    assert "locked" in str(outcomes[0])
    other.execute("ROLLBACK")
    assert await writer.submit(partial(insert, 4)) == 4
    assert numbers(other) == [4]


async def test_a_database_that_another_process_lets_go_of_is_had_at_once(path: Path, other: sqlite3.Connection) -> None:
    """SQLite itself would sleep for a tenth of a second at a time by then, and miss every moment in between."""
    writer = SqliteWriter(partial(connect, path))
    other.execute("BEGIN IMMEDIATE")
    waiting = writer.submit(partial(insert, 1))
    await asyncio.sleep(0.4)  # SQLite's own sleeps grow to their full length within a third of a second
    assert not waiting.done()
    moments = 0
    while not waiting.done() and moments < 20:
        moments += 1
        other.execute("ROLLBACK")
        await asyncio.sleep(0.02)
        other.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(0.02)
    assert waiting.done()
    assert moments <= 3  # the first, or a later one on a machine that had no time for the writer
    await writer.close()


async def test_a_locked_database_is_waited_for_as_long_as_its_connection_says(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        taken = {}
        for seconds in (0.0, 0.3):
            writer, begun = SqliteWriter(partial(connect, path, busy_seconds=seconds)), time.monotonic()
            with pytest.raises(WriterUnavailable, match="locked"):
                await writer.submit(partial(insert, 1))
            taken[seconds] = time.monotonic() - begun
            await writer.close()
    assert taken[0.0] < taken[0.3]
    assert 0.3 <= taken[0.3] < 3.0


def test_a_connection_that_cannot_be_asked_for_its_patience_is_closed(path: Path) -> None:
    class Broken(sqlite3.Connection):
        """One whose file went bad after it was opened."""

        is_closed = False

        def execute(self, *arguments: object) -> sqlite3.Cursor:
            raise sqlite3.DatabaseError("malformed")

        def close(self) -> None:
            self.is_closed = True
            super().close()

    connection = Broken(path)
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        SqliteWriter(lambda: connection)
    assert connection.is_closed


async def test_a_full_disk_keeps_nothing_and_recovers_when_there_is_room(path: Path, other: sqlite3.Connection) -> None:
    pages = other.execute("PRAGMA page_count").fetchone()[0]

    def fill(transaction: Transaction) -> None:
        insert(1, transaction)
        transaction.execute("CREATE TABLE large AS SELECT randomblob(100000)")

    writer = SqliteWriter(partial(connect, path))
    await writer.submit(lambda transaction: transaction.execute(f"PRAGMA max_page_count = {pages}").fetchone())
    with pytest.raises(WriterUnavailable, match="full"):
        await writer.submit(fill)
    assert numbers(other) == []
    await writer.submit(lambda transaction: transaction.execute("PRAGMA max_page_count = 1000").fetchone())
    await writer.submit(fill)
    await writer.close()
    assert numbers(other) == [1]


async def test_a_commit_that_fails_fails_every_caller_of_its_batch(path: Path, other: sqlite3.Connection) -> None:
    other.execute("CREATE TABLE child (parent REFERENCES number DEFERRABLE INITIALLY DEFERRED) ")

    def connect_with_foreign_keys() -> sqlite3.Connection:
        connection = connect(path)
        connection.execute("PRAGMA foreign_keys=ON")
        return connection

    def orphan(transaction: Transaction) -> None:
        transaction.execute("INSERT INTO child VALUES (99)")  # SQLite notices at COMMIT

    writer = SqliteWriter(connect_with_foreign_keys)
    outcomes = await asyncio.gather(writer.submit(partial(insert, 1)), writer.submit(orphan), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [WriterUnavailable, WriterUnavailable]
    assert await writer.submit(partial(insert, 2)) == 2
    await writer.close()
    assert numbers(other) == [2]


class Catastrophe(BaseException):
    """What no unit should raise."""


async def test_the_writer_outlives_whatever_a_unit_raises(writer: SqliteWriter, other: sqlite3.Connection) -> None:
    def end_the_world(transaction: Transaction) -> None:
        raise Catastrophe

    outcomes = await asyncio.gather(
        writer.submit(partial(insert, 1)), writer.submit(end_the_world), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [WriterUnavailable, WriterUnavailable]
    assert await writer.submit(partial(insert, 2)) == 2
    assert numbers(other) == [2]


async def test_a_database_that_disappeared_is_never_made_anew(path: Path, writer: SqliteWriter) -> None:
    def lose_the_file(transaction: Transaction) -> None:
        path.rename(path.with_suffix(".away"))
        raise Catastrophe  # so that the writer opens the file again

    def is_there(transaction: Transaction) -> bool:
        return path.exists()

    with pytest.raises(WriterUnavailable):
        await writer.submit(lose_the_file)
    with pytest.raises(WriterUnavailable, match="unable to open"):
        await writer.submit(is_there)
    await asyncio.to_thread(path.with_suffix(".away").rename, path)
    assert await writer.submit(partial(insert, 1)) == 1


async def test_more_units_than_the_queue_holds_are_refused_at_once(path: Path) -> None:
    release = threading.Event()

    def wait(transaction: Transaction) -> None:
        release.wait(10)

    writer = SqliteWriter(partial(connect, path), queue_limit=3)
    accepted = [writer.submit(unit) for unit in (wait, partial(insert, 1), partial(insert, 2))]
    with pytest.raises(WriterUnavailable, match="too many"):
        writer.submit(partial(insert, 3))
    release.set()
    await asyncio.gather(*accepted)
    assert await writer.submit(partial(insert, 3)) == 3
    await writer.close()


async def test_closing_keeps_what_waits_and_refuses_what_comes_later(path: Path, other: sqlite3.Connection) -> None:
    writer = SqliteWriter(partial(connect, path), batch_limit=2)
    waiting = [writer.submit(partial(insert, value)) for value in range(5)]
    await writer.close()
    await writer.close()
    assert await asyncio.gather(*waiting) == [0, 1, 2, 3, 4]
    assert numbers(other) == [0, 1, 2, 3, 4]
    with pytest.raises(WriterUnavailable, match="closed"):
        writer.submit(partial(insert, 5))


def test_what_is_no_database_is_not_opened(tmp_path: Path) -> None:
    for opening in (
        lambda: connect(tmp_path / "missing.db"),
        lambda: connect(tmp_path / "missing" / "writer.db", mode="rwc"),
    ):
        with pytest.raises(sqlite3.Error):
            opening()
    (tmp_path / "text.db").write_text("not a database, but a rather long sentence " * 10, encoding="utf-8")
    with pytest.raises(sqlite3.DatabaseError):
        connect(tmp_path / "text.db")
