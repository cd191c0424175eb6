"""What has expired goes, in small batches, by one leader."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fapi_as.adapters.keys import Sealing
from fapi_as.adapters.store import Database, migrate
from fapi_as.protocol.decisions import Issue, Refuse
from fapi_as.protocol.effects import Attempt, HandleKind, Keep, Open, TakeOnce
from fapi_as.protocol.errors import InvalidRequest
from tests.support.store_harness import NOW, STAMP

KEEP = Keep(kind=HandleKind.CODE, digest=b"d" * 32, payload=b"", usable_until=NOW + 60, delete_after=NOW + 100)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite:///{tmp_path}/store.db"
    migrate(url)
    database = Database.open(url, sealing=Sealing(b"s" * 32))
    yield database
    await database.close()


async def test_rows_go_when_their_time_and_two_minutes_have_passed_and_not_before(database: Database) -> None:
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
    assert await database.janitor.sweep("worker", NOW + 220) == 0
    assert await store.reading.handle(KEEP.kind, KEEP.digest) is not None
    assert await database.janitor.sweep("worker", NOW + 221) == 4
    assert await store.reading.handle(KEEP.kind, KEEP.digest) is None
    assert await database.janitor.sweep("worker", NOW + 221) == 0


async def test_more_rows_than_a_batch_holds_all_go(database: Database) -> None:
    takes = tuple(TakeOnce(namespace="dpop", digest=number.to_bytes(32), until=NOW) for number in range(1200))
    await database.store("default").commit(Issue(effects=takes), replace(STAMP, at=NOW - 1))
    assert await database.janitor.sweep("worker", NOW + 121) == 1200


async def test_one_worker_leads_until_its_lease_ends(database: Database) -> None:
    janitor = database.janitor
    assert await janitor.sweep("first", NOW, lease_seconds=120) == 0
    assert await janitor.sweep("second", NOW + 120) is None
    assert await janitor.sweep("first", NOW + 60, lease_seconds=120) == 0
    assert await janitor.sweep("second", NOW + 121) is None
    assert await janitor.sweep("second", NOW + 181) == 0
    assert await janitor.sweep("first", NOW + 182) is None


async def test_who_led_while_the_clock_was_an_hour_ahead_and_is_gone_leads_no_longer(database: Database) -> None:
    janitor = database.janitor
    assert await janitor.sweep("gone", NOW + 3600, lease_seconds=120) == 0
    assert await janitor.sweep("second", NOW, lease_seconds=120) == 0
    assert await janitor.sweep("third", NOW + 60, lease_seconds=120) is None  # that lease is one of this time
    assert await janitor.sweep("second", NOW - 120, lease_seconds=120) == 0
    assert await janitor.sweep("third", NOW - 120, lease_seconds=120) is None


async def _takes(database: Database, now: int, until: int) -> bool:
    refusal = Refuse(error=InvalidRequest("replayed"))
    take = TakeOnce(namespace="assertion", digest=b"a" * 32, until=until)
    decision = Issue(effects=(take,), lost={take: refusal})
    return await database.store("default").commit(decision, replace(STAMP, at=now)) is decision


@pytest.mark.attack("TIM-02")
async def test_what_was_used_is_remembered_through_an_hour_that_the_clock_was_ahead(database: Database) -> None:
    until = NOW + 300  # no assertion is good for longer
    await database.janitor.sweep("worker", NOW)
    assert await _takes(database, NOW, until)
    for minute in range(6):
        assert await database.janitor.sweep("worker", NOW + 3600 + 60 * minute) is not None
        assert not await _takes(database, NOW + 60 * minute, until)


async def test_after_a_night_without_a_sweep_the_horizon_catches_up(database: Database) -> None:
    await database.janitor.sweep("worker", NOW)
    await _takes(database, NOW, NOW + 60)
    swept = [await database.janitor.sweep("worker", NOW + 36_000 + 60 * minute) for minute in range(4)]
    assert swept == [0, 0, 1, 0]
