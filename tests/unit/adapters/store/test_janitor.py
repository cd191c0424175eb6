"""What has expired goes, in small batches, by one leader."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fapi_as.adapters.keys import Sealing
from fapi_as.adapters.store import Database, migrate
from fapi_as.protocol.decisions import Issue
from fapi_as.protocol.effects import Attempt, HandleKind, Keep, Open, TakeOnce
from tests.support.store_harness import NOW, STAMP

KEEP = Keep(kind=HandleKind.CODE, digest=b"d" * 32, payload=b"", usable_until=NOW + 60, delete_after=NOW + 100)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite:///{tmp_path}/store.db"
    migrate(url)
    database = Database.open(url, sealing=Sealing(b"s" * 32))
    yield database
    await database.close()


async def test_rows_go_when_their_time_and_a_minute_have_passed_and_not_before(database: Database) -> None:
    store = database.store("default")
    effects = (
        KEEP,
        TakeOnce(namespace="dpop", digest=b"j" * 32, until=NOW + 100),
        Attempt(bucket=b"alice", limit=5, window_seconds=100),
        Open(
            authorization_id="family", client_id="agent", subject="alice", resources=(), scope=(), expires_at=NOW + 100
        ),
    )
    await store.commit(Issue(effects=effects), STAMP)
    assert await database.janitor.sweep("worker", NOW + 160) == 0
    assert await store.reading.handle(KEEP.kind, KEEP.digest) is not None
    assert await database.janitor.sweep("worker", NOW + 161) == 4
    assert await store.reading.handle(KEEP.kind, KEEP.digest) is None
    assert await database.janitor.sweep("worker", NOW + 161) == 0


async def test_more_rows_than_a_batch_holds_all_go(database: Database) -> None:
    takes = tuple(TakeOnce(namespace="dpop", digest=number.to_bytes(32), until=NOW) for number in range(1200))
    await database.store("default").commit(Issue(effects=takes), replace(STAMP, at=NOW - 1))
    assert await database.janitor.sweep("worker", NOW + 61) == 1200


async def test_one_worker_leads_until_its_lease_ends(database: Database) -> None:
    janitor = database.janitor
    assert await janitor.sweep("first", NOW, lease_seconds=120) == 0
    assert await janitor.sweep("second", NOW + 120) is None
    assert await janitor.sweep("first", NOW + 60, lease_seconds=120) == 0
    assert await janitor.sweep("second", NOW + 121) is None
    assert await janitor.sweep("second", NOW + 181) == 0
    assert await janitor.sweep("first", NOW + 182) is None
