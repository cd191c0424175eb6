"""Reads of SQLite: cached per epoch, bounded, and absent when a row is not valid any more."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fapi_as.adapters.keys import Sealing
from fapi_as.adapters.store import Database, Operators, migrate, reading
from tests.support.store_harness import METADATA, STAMP, members


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    migrate(f"sqlite:///{path}")
    database = Database.open(f"sqlite:///{path}", sealing=Sealing(b"s" * 32))
    yield database
    await database.close()


async def test_a_client_is_parsed_once_per_epoch(path: Path, database: Database) -> None:
    operators = Operators.open(f"sqlite:///{path}", "default")
    operators.add_client(METADATA, "agent", STAMP)
    view = database.store("default").reading
    first = await view.client("agent")
    assert first is not None
    assert await view.client("agent") is first
    operators.add_user("alice", "subject-1", "hash", STAMP)
    assert await view.client("agent") is first  # the epoch is asked once per turn of the loop
    await asyncio.sleep(0)
    again = await view.client("agent")
    assert again == first
    assert again is not first


async def test_the_cache_of_clients_is_bounded(path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_CLIENTS_KEPT", 2)
    operators = Operators.open(f"sqlite:///{path}", "default")
    view = database.store("default").reading
    for number in range(4):
        operators.add_client(METADATA, f"agent-{number}", STAMP)
    for number in range(4):
        assert await view.client(f"agent-{number}") is not None
        assert await view.client(f"nobody-{number}") is None
    assert list(view._clients) == ["agent-2", "agent-3"]


async def test_a_row_that_is_not_valid_any_more_is_absent_and_told(
    path: Path, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    operators = Operators.open(f"sqlite:///{path}", "default")
    operators.add_client(METADATA, "agent", STAMP)
    operators.add_resource(members("https://a.example/mcp"), STAMP)
    operators.add_resource(members("https://b.example/mcp"), STAMP)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE client SET registration = '{}'")
        connection.execute("UPDATE resource SET registration = '[' WHERE resource = 'https://a.example/mcp'")
    view = database.store("default").reading
    assert await view.client("agent") is None
    assert [resource.resource for resource in await view.resources()] == ["https://b.example/mcp"]
    assert caplog.text.count("not valid any more") == 2


async def test_reads_do_not_wait_for_a_writer(path: Path, database: Database) -> None:
    view = database.store("default").reading
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        assert await view.resources() == ()
        assert await view.client("agent") is None


async def test_the_reading_connection_cannot_write(database: Database) -> None:
    with pytest.raises(Exception, match="readonly"):
        database._reader.all("INSERT INTO epoch VALUES ('default', 1)", ())
