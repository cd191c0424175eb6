"""The check behind /readyz: it writes like a decision, leaves nothing, and notices what cannot be done."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fapi_as.adapters.keys import Sealing
from fapi_as.adapters.store import Database, SharedCheck, migrate
from fapi_as.protocol.errors import StorageUnavailable
from tests.support.store_harness import STAMP, Harness


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    migrate(f"sqlite:///{path}")
    database = Database.open(f"sqlite:///{path}", sealing=Sealing(b"s" * 32), busy_seconds=0.05)
    try:
        yield database
    finally:
        await database.close()


async def check(database: Database) -> None:
    await SharedCheck(database.store("default")).require(STAMP)


async def test_a_store_that_works_is_found_to_work(harness: Harness) -> None:
    for _ in range(3):
        await SharedCheck(harness.store()).require(STAMP)


async def test_the_check_is_a_durable_write_that_leaves_no_row(path: Path, database: Database) -> None:
    log = path.with_name(path.name + "-wal")
    before = log.read_bytes()
    await check(database)
    assert log.read_bytes() != before
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for table in ("tried", "audit", "handle", "once"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


@pytest.mark.parametrize("what", ["locked", "full", "unreadable"])
async def test_what_cannot_be_done_is_noticed_and_over_when_it_is_over(
    path: Path, database: Database, what: str
) -> None:
    trouble, end = {
        "locked": ("BEGIN IMMEDIATE", "ROLLBACK"),
        "full": (
            "CREATE TRIGGER full BEFORE INSERT ON tried BEGIN SELECT RAISE(ABORT, 'disk full'); END",
            "DROP TRIGGER full",
        ),
        "unreadable": ("ALTER TABLE handle RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO handle"),
    }[what]
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(trouble)
        with pytest.raises(StorageUnavailable):
            await check(database)
        connection.execute(end)
    await check(database)
