"""Reads of SQLite: cached per epoch, bounded, and absent when a row is not valid any more."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fapi_as.adapters.keys import Sealing
from fapi_as.adapters.store import Approvals, Database, Operators, migrate, reading
from fapi_as.protocol.decisions import Issue
from fapi_as.protocol.effects import MarkUsed
from tests.support.store_harness import AUTHORITY, METADATA, NOW, POLICY, REGISTER, STAMP, authority_file, members


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


async def test_where_a_software_may_have_many_clients_only_the_transaction_looks(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = database.store("default")
    await store.commit(Issue(effects=(replace(REGISTER, software_limit=1),)), STAMP)
    another = replace(REGISTER, client_id="another", software_limit=1, unfinished_before=0)
    assert not await store.reading.has_room(another, NOW)
    monkeypatch.setattr(reading, "_CLIENTS_LOOKED_AT", 0)
    assert await store.reading.has_room(another, NOW)


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


async def test_an_approver_is_parsed_once_per_epoch_and_its_policy_counts_in_the_next_turn(
    path: Path, database: Database
) -> None:
    approvals = Approvals.open(f"sqlite:///{path}", "default")
    approvals.add_authority(authority_file(), STAMP)
    store = database.store("default")
    await store.commit(Issue(effects=(REGISTER,)), STAMP)
    authority = await store.reading.authority(AUTHORITY)
    assert authority is not None
    assert await store.reading.authority(AUTHORITY) is authority
    assert await store.reading.client("agent") is not None
    approvals.add_authority(authority_file(scope=["payments:write"]), STAMP, replace=True)
    await asyncio.sleep(0)
    assert await store.reading.client("agent") is None
    assert await store.reading.authority("https://nobody.example") is None
    assert list(store.reading._approvers) == [AUTHORITY]  # strangers choose the other names


async def test_an_approver_whose_row_is_not_valid_any_more_approves_nobody_and_is_told(
    path: Path, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    approvals = Approvals.open(f"sqlite:///{path}", "default")
    approvals.add_authority(authority_file(), STAMP)
    approvals.add_initial_token("one", b"t" * 32, {"policy": POLICY}, STAMP, uses=1, expires_at=NOW + 60)
    store = database.store("default")
    await store.commit(Issue(effects=(REGISTER,)), STAMP)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("""UPDATE approver SET registration = '{"policy": {"unknown": 1}}'""")
    assert await store.reading.client("agent") is None
    assert await store.reading.registration("agent") is None
    assert await store.reading.authority(AUTHORITY) is None
    assert await store.reading.initial_access_token(b"t" * 32) is None
    assert caplog.text.count("a stored approver is not valid any more") == 2  # each once per epoch


async def test_a_client_that_was_used_is_read_anew_by_the_worker_that_saw_it(path: Path, database: Database) -> None:
    Approvals.open(f"sqlite:///{path}", "default").add_authority(authority_file(), STAMP)
    store = database.store("default")
    await store.commit(Issue(effects=(REGISTER,)), STAMP)
    first = await store.reading.client("agent")
    await store.commit(Issue(effects=(MarkUsed(client_id="agent", expires_at=NOW + 60),)), STAMP)
    again = await store.reading.client("agent")
    assert first is not None
    assert again is not None
    assert (first.last_used_at, again.last_used_at) == (None, NOW)


@pytest.mark.parametrize("name", ["\ud800", "", "token:one", "x" * 100_000], ids=ascii)
async def test_names_that_strangers_choose_find_nobody(path: Path, database: Database, name: str) -> None:
    approvals = Approvals.open(f"sqlite:///{path}", "default")
    approvals.add_initial_token("one", b"t" * 32, {"policy": POLICY}, STAMP, uses=1, expires_at=NOW + 60)
    view = database.store("default").reading
    assert await view.authority(name) is None
    assert await view.client(name) is None
    assert await view.registration(name) is None
    assert not await view.is_withdrawn(name, name, name)


async def test_reads_do_not_wait_for_a_writer(path: Path, database: Database) -> None:
    view = database.store("default").reading
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        assert await view.resources() == ()
        assert await view.client("agent") is None


async def test_the_reading_connection_cannot_write(database: Database) -> None:
    with pytest.raises(Exception, match="readonly"):
        database._reader.all("INSERT INTO epoch VALUES ('default', 1)", ())
