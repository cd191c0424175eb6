"""Attempts in SQLite: exactly as many as the limit, over processes and over sweeps."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fapi_as.adapters.keys import Sealing
from fapi_as.adapters.store import Database, migrate
from fapi_as.protocol.decisions import Issue, Refuse
from fapi_as.protocol.effects import Attempt
from fapi_as.protocol.errors import TooManyRequests
from tests.support.store_harness import NOW, STAMP
from tests.support.store_processes import SEALING_KEY, SPAWN, race_for_room

CALLERS = 25


@pytest.fixture
def path(tmp_path: Path) -> Path:
    migrate(f"sqlite:///{tmp_path}/store.db")
    return tmp_path / "store.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    database = Database.open(f"sqlite:///{path}", sealing=Sealing(SEALING_KEY))
    yield database
    await database.close()


async def _won(database: Database, attempt: Attempt, at: int) -> bool:
    decision = Issue(effects=(attempt,), lost={attempt: Refuse(error=TooManyRequests("full"))})
    return await database.store("default").commit(decision, replace(STAMP, at=at)) is decision


@pytest.mark.parametrize("limit", [5, 5000])
async def test_fifty_attempts_of_two_processes_at_once_find_exactly_the_room_that_is_left(
    path: Path, database: Database, limit: int
) -> None:
    attempt = Attempt(bucket=b"alice", limit=limit, window_seconds=900)
    await database.store("default").commit(Issue(effects=(attempt,) * (limit - 1)), STAMP)
    barrier, pipes = SPAWN.Barrier(2), [SPAWN.Pipe(duplex=False) for _ in range(2)]
    arguments = (f"sqlite:///{path}", attempt, CALLERS, barrier)
    processes = [SPAWN.Process(target=race_for_room, args=(*arguments, sender), daemon=True) for _, sender in pipes]
    for process in processes:
        process.start()
    won = 0
    for process, (receiver, sender) in zip(processes, pipes, strict=True):
        assert await asyncio.to_thread(receiver.poll, 30)
        won += receiver.recv()
        process.join(30)
        assert process.exitcode == 0
        process.close()
        receiver.close()
        sender.close()
    assert won == 1
    assert len(_numbers(path)) == limit


async def test_what_is_swept_meanwhile_neither_makes_nor_takes_room(path: Path, database: Database) -> None:
    attempt = Attempt(bucket=b"alice", limit=3, window_seconds=100)
    assert all([await _won(database, attempt, NOW + seconds) for seconds in (0, 200, 201, 202)])
    assert await database.janitor.sweep("worker", NOW + 250) == 1
    assert _numbers(path) == [2, 3, 4]
    assert [await _won(database, attempt, NOW + seconds) for seconds in (299, 300, 300)] == [False, True, False]
    for minute in range(10):
        await database.janitor.sweep("worker", NOW + 600 + 60 * minute)
    assert _numbers(path) == []
    assert [await _won(database, attempt, NOW + 1200) for _ in range(4)] == [True, True, True, False]


def _numbers(path: Path) -> list[int]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM tried ORDER BY number")]
