"""The replay store of one host: bounded, swept little by little, closed when it fails, and itself again afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from multiprocessing import get_context
from pathlib import Path

import pytest

from rs_kit.adapters import sqlite_writer
from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.adapters.used_once_sqlite import SqliteUsedOnce
from rs_kit.ports import UsedOnce
from rs_kit.protocol.errors import Unavailable

NOW = 1_790_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "used-once.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteUsedOnce]:
    async with contextlib.aclosing(SqliteUsedOnce(path)) as store:
        yield store


def rows(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM used_once").fetchone()[0])


def size(path: Path) -> int:
    return path.stat().st_size


def make_empty(path: Path) -> None:
    path.touch()


def exists(path: Path) -> bool:
    return path.exists()


def move(path: Path, target: Path) -> None:
    path.rename(target)


async def take(store: UsedOnce, *proofs: bytes, until: int = NOW + 60, now: int = NOW) -> list[bool]:
    return await asyncio.gather(*(store.take("rs", proof, until=until, now=now) for proof in proofs))


def numbered(count: int, name: bytes = b"proof") -> list[bytes]:
    return [b"%b %d" % (name, number) for number in range(count)]


async def test_the_file_is_for_its_owner_alone(path: Path, store: SqliteUsedOnce) -> None:
    await take(store, b"a")
    for suffix in ("", "-wal", "-shm"):
        assert stat.S_IMODE(path.with_name(path.name + suffix).stat().st_mode) == 0o600


async def test_what_was_taken_outlives_the_process(path: Path) -> None:
    async with contextlib.aclosing(SqliteUsedOnce(path)) as store:
        assert await take(store, b"a") == [True]
    async with contextlib.aclosing(SqliteUsedOnce(str(path))) as store:
        assert await take(store, b"a", b"b") == [False, True]


async def test_what_ended_goes_a_little_at_a_time_and_what_counts_stays(path: Path, store: SqliteUsedOnce) -> None:
    assert all(await take(store, *numbered(900)))
    assert await take(store, *numbered(10, b"long"), until=NOW + 300) == [True] * 10
    assert all(await take(store, *numbered(64, b"later"), until=NOW + 121, now=NOW + 60))
    assert rows(path) == 974  # the last second of the first 900 is not over
    left = 974
    for number in range(8):
        assert all(await take(store, *numbered(32, b"then %d" % number), until=NOW + 125, now=NOW + 64))
        assert left - 128 <= rows(path) - 32
        left = rows(path)
    assert left == 74 + 8 * 32
    assert await take(store, *numbered(10, b"long"), until=NOW + 300, now=NOW + 64) == [False] * 10


async def fill(store: SqliteUsedOnce, taken: list[bytes]) -> None:
    for number in range(1000):
        proofs = numbered(50, b"%d" % number)
        assert all(await take(store, *proofs))
        taken += proofs


@pytest.mark.attack("DPR-25")
async def test_a_full_store_refuses_keeps_what_it_holds_and_serves_on_once_something_ended(path: Path) -> None:
    async with contextlib.aclosing(SqliteUsedOnce(path, limit_bytes=256 * 1024)) as store:
        taken: list[bytes] = []
        with pytest.raises(Unavailable, match="full"):
            await fill(store, taken)
        assert len(taken) > 1000
        assert size(path) <= 256 * 1024
        for _ in range(3):
            with pytest.raises(Unavailable, match="full"):
                await take(store, *numbered(50, b"one more"))
        known = [await store.take("rs", proof, until=NOW + 60, now=NOW) for proof in taken[:20]]
        assert known == [False] * 20
        answers: list[bool] = []
        for number in range(1000):
            with contextlib.suppress(Unavailable):
                answers += await take(store, *numbered(50, b"after %d" % number), until=NOW + 125, now=NOW + 64)
            if len(answers) > len(taken) * 0.9:
                break
        assert len(answers) > len(taken) * 0.9
        assert all(answers)
        assert size(path) <= 256 * 1024


async def test_after_a_failure_room_is_made_before_anything_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a transaction of its own: what finds no room undoes the transaction that it stands in."""
    impatient = {**sqlite_writer.connect.__kwdefaults__, "busy_seconds": 0.05}
    monkeypatch.setattr(sqlite_writer.connect, "__kwdefaults__", impatient)
    async with contextlib.aclosing(SqliteUsedOnce(path)) as store:
        await take(store, *numbered(10))
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable):
                await take(store, b"a")
            other.execute("ROLLBACK")
        assert await take(store, b"later", until=NOW + 125, now=NOW + 64) == [True]
        assert rows(path) == 1
        assert await take(store, b"and later", until=NOW + 200, now=NOW + 139) == [True]
        assert rows(path) == 2


async def test_more_than_can_be_served_are_told_so_and_nothing_is_wrong_afterwards(store: SqliteUsedOnce) -> None:
    uses = [store.take("rs", proof, until=NOW + 60, now=NOW) for proof in numbered(3000)]
    answers = await asyncio.gather(*uses, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Unavailable)]
    assert 0 < len(refused) < 3000 - 900
    assert all(answer is True for answer in answers if not isinstance(answer, Unavailable))
    assert {error.detail for error in refused} == {"replay store: too many units are waiting"}
    assert await take(store, b"one more") == [True]


async def test_a_store_that_another_process_locks_is_unavailable_and_then_itself_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = {**sqlite_writer.connect.__kwdefaults__, "busy_seconds": 0.05}
    monkeypatch.setattr(sqlite_writer.connect, "__kwdefaults__", impatient)
    async with contextlib.aclosing(SqliteUsedOnce(path)) as store:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="locked"):
                await take(store, b"a")
            other.execute("ROLLBACK")
        assert await take(store, b"a") == [True]


@pytest.mark.attack("DPR-10")
async def test_a_file_that_was_moved_or_removed_is_never_replaced_by_an_empty_one(
    path: Path, store: SqliteUsedOnce
) -> None:
    await take(store, b"a")
    aside = path.with_suffix(".old")
    move(path, aside)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await take(store, b"a")
    assert not exists(path)
    move(aside, path)
    assert await take(store, b"a", b"b") == [False, True]


async def test_a_closed_store_is_unavailable(path: Path) -> None:
    store = SqliteUsedOnce(path)
    await store.aclose()
    for _ in range(2):
        with pytest.raises(Unavailable, match="closed"):
            await store.take("rs", b"a", until=NOW + 60, now=NOW)


async def test_a_caller_that_goes_away_has_used_its_proof(store: SqliteUsedOnce) -> None:
    use = asyncio.ensure_future(store.take("rs", b"a", until=NOW + 60, now=NOW))
    await asyncio.sleep(0)
    use.cancel()
    with pytest.raises(asyncio.CancelledError):
        await use
    assert await take(store, b"a") == [False]


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    content = b"not a database, but longer than the header of one" * 100
    path.write_bytes(content)
    with pytest.raises(sqlite3.DatabaseError):
        SqliteUsedOnce(path)
    assert path.read_bytes() == content


async def test_an_empty_file_becomes_a_store(path: Path) -> None:
    make_empty(path)
    async with contextlib.aclosing(SqliteUsedOnce(path)) as store:
        assert await take(store, b"a") == [True]


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE customers (name TEXT)", "PRAGMA user_version = 7", "CREATE TABLE used_once (x)"]
)
def test_a_database_of_another_kind_is_refused(path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
    with pytest.raises(ValueError, match="another kind"):
        SqliteUsedOnce(path)


def test_a_folder_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        SqliteUsedOnce(tmp_path / "nowhere" / "used-once.db")


WORKER = """
import asyncio, sys
from rs_kit.adapters.used_once_sqlite import SqliteUsedOnce

async def main(path):
    store = SqliteUsedOnce(path)
    first = await store.take("rs", b"a", until=1, now=0)
    await store.aclose()
    return first

for line in sys.stdin:
    print(asyncio.run(main(line.strip())), flush=True)
"""


def test_workers_that_start_at_the_same_moment_share_the_store_that_one_of_them_makes(tmp_path: Path) -> None:
    pipe = subprocess.PIPE
    with contextlib.ExitStack() as started:
        workers = [
            started.enter_context(subprocess.Popen([sys.executable, "-c", WORKER], stdin=pipe, stdout=pipe, text=True))
            for _ in range(8)
        ]
        for number in range(25):
            for worker in workers:
                assert worker.stdin is not None
                worker.stdin.write(f"{tmp_path / str(number)}.db\n")
                worker.stdin.flush()
            said = [worker.stdout.readline().strip() for worker in workers if worker.stdout is not None]
            assert sorted(said) == ["False"] * 7 + ["True"]


def _take_in_a_child(store: UsedOnce, answer: str) -> None:
    async def main() -> str:
        try:
            return str(await store.take("rs", b"a", until=NOW + 60, now=NOW))
        except Unavailable as error:
            return error.detail

    Path(answer).write_text(asyncio.run(main()), encoding="utf-8")
    os._exit(0)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_store_that_was_made_before_the_process_forked_is_of_no_use_to_the_child(tmp_path: Path, kind: str) -> None:
    """What servers that load an application before they fork would do: each worker its own, or none that answers."""

    async def main() -> str:
        store = MemoryUsedOnce() if kind == "memory" else SqliteUsedOnce(tmp_path / "used-once.db")
        child = get_context("fork").Process(target=_in_thread, args=(store, str(tmp_path / "answer")))
        child.start()
        await asyncio.to_thread(child.join, 20)
        child.kill()  # one that waits for a thread it does not have would be waited for
        assert child.exitcode == 0
        if isinstance(store, SqliteUsedOnce):
            await store.aclose()
        return (tmp_path / "answer").read_text(encoding="utf-8")

    assert "forked" in asyncio.run(main())


def _in_thread(store: UsedOnce, answer: str) -> None:
    import threading  # noqa: PLC0415 - for the child alone: the loop of its parent is still set in the main thread

    thread = threading.Thread(target=_take_in_a_child, args=(store, answer))
    thread.start()
    thread.join()
