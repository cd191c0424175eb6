"""What SQLite promises beyond the contract: sealed at rest, shared by processes, and whole after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import sqlite3
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fapi_as.adapters.keys import Sealing
from fapi_as.adapters.store import Database, Operators, UnsupportedDatabase, UnusableDatabase, migrate
from fapi_as.adapters.store.tables import REVISION
from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from fapi_as.protocol.decisions import Issue, Refuse
from fapi_as.protocol.effects import HandleKind, Keep, Record, Require, Required, TakeOnce
from fapi_as.protocol.errors import InvalidClient, InvalidDpopProof, StorageUnavailable
from fapi_as.protocol.handles import digest_of
from rs_kit.adapters import sqlite_writer
from tests.support.store_harness import METADATA, NOW, STAMP
from tests.support.store_processes import SEALING_KEY, SPAWN, commit_until_killed, race_to_spend

REFRESH_TOKEN = "a refresh token that nobody may find in the file"
PAYLOAD = b"a payload that nobody may read in the file"
KEEP = Keep(
    kind=HandleKind.REFRESH_TOKEN,
    digest=digest_of(REFRESH_TOKEN),
    payload=PAYLOAD,
    usable_until=NOW + 60,
    delete_after=NOW + 60,
    client_id="agent",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def url(path: Path) -> str:
    url = f"sqlite:///{path}"
    migrate(url)
    return url


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = Database.open(url, sealing=Sealing(SEALING_KEY))
    yield database
    await database.close()


def execute(path: Path, text: str, *parameters: object) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(text, parameters).fetchall()


# --- at rest


@pytest.mark.requirement("OA-RT-5", proves="holds")
async def test_a_stolen_file_shows_neither_handles_nor_payloads(path: Path, database: Database) -> None:
    await database.store("default").commit(Issue(effects=(KEEP,)), STAMP)
    files = [file.read_bytes() for file in sorted(path.parent.iterdir())]
    assert any(KEEP.digest in content for content in files)
    for content in files:
        assert REFRESH_TOKEN.encode() not in content
        assert PAYLOAD not in content


async def test_a_payload_that_was_moved_to_another_handle_does_not_open(
    path: Path, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    store = database.store("default")
    other = replace(KEEP, digest=digest_of("another"), payload=b"another")
    await store.commit(Issue(effects=(KEEP, other)), STAMP)
    execute(path, "UPDATE handle SET payload = (SELECT payload FROM handle WHERE digest = ?)", other.digest)
    assert await store.reading.handle(KEEP.kind, KEEP.digest) is None
    assert await store.reading.handle(KEEP.kind, other.digest) is not None
    assert "broken seal" in caplog.text


async def test_a_database_opened_with_another_sealing_key_gives_nothing_away(url: str, database: Database) -> None:
    await database.store("default").commit(Issue(effects=(KEEP,)), STAMP)
    thief = Database.open(url, sealing=Sealing(b"another key".ljust(32)))
    assert await thief.store("default").reading.handle(KEEP.kind, KEEP.digest) is None
    await thief.close()


@pytest.mark.attack("STO-09")
@pytest.mark.parametrize("planted", [-1, 253_370_764_801, None, "9999-12-31"])
def test_implausible_times_cannot_be_planted(path: Path, url: str, planted: object) -> None:
    row = ("default", "code", b"d", b"p", planted, NOW)
    with pytest.raises(sqlite3.IntegrityError):
        execute(
            path,
            "INSERT INTO handle (tenant, kind, digest, payload, usable_until, delete_after) VALUES (?,?,?,?,?,?)",
            *row,
        )


async def test_audit_facts_are_never_changed_nor_deleted(path: Path, database: Database) -> None:
    fact = Record(fact=AuditFact(event=AuditEvent.TOKEN_ISSUED))
    await database.store("default").commit(Issue(effects=(fact,)), STAMP)
    for text in ("UPDATE audit SET event = 'request.refused'", "DELETE FROM audit"):
        with pytest.raises(sqlite3.IntegrityError, match="never changed"):
            execute(path, text)
    assert execute(path, "SELECT event FROM audit") == [("token.issued",)]


@pytest.mark.attack("STO-13")
async def test_a_decision_without_its_fact_does_not_come_true(path: Path, database: Database) -> None:
    execute(path, "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no room for evidence'); END")
    store, fact = database.store("default"), Record(fact=AuditFact(event=AuditEvent.TOKEN_ISSUED))
    with pytest.raises(StorageUnavailable):
        await store.commit(Issue(effects=(KEEP, fact)), STAMP)
    assert await store.reading.handle(KEEP.kind, KEEP.digest) is None
    execute(path, "DROP TRIGGER full")
    await store.commit(Issue(effects=(KEEP, fact)), STAMP)
    assert await store.reading.handle(KEEP.kind, KEEP.digest) is not None


def test_a_new_database_is_for_its_owner_only(path: Path, url: str) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# --- several processes


async def test_what_one_worker_took_is_taken_for_the_other(url: str, database: Database) -> None:
    once = TakeOnce(namespace="dpop_proof", digest=b"d" * 32, until=NOW + 60)
    replayed = Refuse(error=InvalidDpopProof("proof replayed"))
    other = Database.open(url, sealing=Sealing(SEALING_KEY))
    outcomes = [
        await worker.store("default").commit(Issue(effects=(once,), lost={once: replayed}), STAMP)
        for worker in (database, other, database)
    ]
    await other.close()
    assert [isinstance(outcome, Issue) for outcome in outcomes] == [True, False, False]


async def test_what_an_operator_changes_is_seen_by_running_workers_at_once(url: str, database: Database) -> None:
    operators = Operators.open(url, "default")
    store = database.store("default")
    version = operators.add_client(METADATA, "agent", STAMP).version
    client = await store.reading.client("agent")
    assert client is not None
    operators.remove_client("agent", STAMP)
    await asyncio.sleep(0)  # whoever asks in the next turn of the loop sees it
    assert await store.reading.client("agent") is None
    operators.add_client(METADATA, "agent", STAMP)
    live = Require(required=Required.CLIENT, identifier="agent", version=version)
    outcome = await store.commit(Issue(effects=(live,), lost={live: Refuse(error=InvalidClient("changed"))}), STAMP)
    assert isinstance(outcome, Refuse)  # a version never comes again, not even after removal


async def test_one_code_spent_by_fifty_callers_of_two_processes_has_one_winner(url: str, database: Database) -> None:
    rounds = 5
    digests = [digest_of(f"code {number}") for number in range(rounds)]
    codes = tuple(replace(KEEP, kind=HandleKind.CODE, digest=digest) for digest in digests)
    await database.store("default").commit(Issue(effects=codes), STAMP)
    barrier = SPAWN.Barrier(2)
    pipes = [SPAWN.Pipe(duplex=False) for _ in range(2)]
    processes = [
        SPAWN.Process(target=race_to_spend, args=(url, digests, 25, barrier, sender), daemon=True)
        for _, sender in pipes
    ]
    for process in processes:
        process.start()
    for _ in range(rounds):
        winners = 0
        for receiver, _ in pipes:
            assert await asyncio.to_thread(receiver.poll, 30)
            winners += receiver.recv()
        assert winners == 1
    for process, ends in zip(processes, pipes, strict=True):
        process.join(30)
        assert process.exitcode == 0
        process.close()
        for end in ends:
            end.close()
    facts = Operators.open(url, "default").audit(limit=10_000)
    assert sum(row.fact.event is AuditEvent.TOKEN_ISSUED for row in facts) == rounds
    assert sum(row.fact.detail == "replayed" for row in facts) == 49 * rounds


def test_nothing_that_was_acknowledged_is_lost_by_kill_9(path: Path, url: str) -> None:
    receiver, sender = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=commit_until_killed, args=(url, sender), daemon=True)
    process.start()
    sender.close()
    acknowledged = []
    with contextlib.suppress(EOFError):
        while True:
            assert receiver.poll(30)
            acknowledged.append(receiver.recv())
            if len(acknowledged) == 200:
                process.kill()
    process.join(30)
    process.close()
    receiver.close()
    kept = {int(str(number)) for (number,) in execute(path, "SELECT correlation_id FROM audit")}
    assert len(acknowledged) >= 200
    assert set(acknowledged) <= kept
    # a token is there exactly when its fact is
    taken = {
        int.from_bytes(digest) for (digest,) in execute(path, "SELECT digest FROM once") if isinstance(digest, bytes)
    }
    assert taken == kept
    assert execute(path, "PRAGMA integrity_check") == [("ok",)]


# --- opening


def test_another_engine_than_sqlite_in_a_file_is_refused_with_a_sentence() -> None:
    for url, word in (
        ("postgresql://user:secret@localhost/db", "postgresql"),
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("sqlite:///a.db?mode=memory", "nothing else"),
        ("fapi-as.db", "no URL"),
    ):
        for opening in (migrate, lambda url: Database.open(url, sealing=Sealing(SEALING_KEY))):
            with pytest.raises(UnsupportedDatabase, match=word) as refused:
                opening(url)
            assert "secret" not in str(refused.value)


def test_a_database_that_cannot_be_created_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UnusableDatabase, match="No such file or directory"):
        migrate(f"sqlite:///{tmp_path}/missing/store.db")


def test_a_database_that_nobody_migrated_is_not_opened_and_not_created(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    for opening in (
        lambda: Database.open(f"sqlite:///{path}", sealing=Sealing(SEALING_KEY)),
        lambda: Operators.open(f"sqlite:///{path}", "default"),
    ):
        with pytest.raises(UnusableDatabase):
            opening()
    assert not path.exists()


def test_a_file_with_tables_of_somebody_else_is_refused_and_left_alone(path: Path) -> None:
    execute(path, "CREATE TABLE lease (tenant TEXT)")
    with pytest.raises(UnusableDatabase, match="cannot be upgraded"):
        migrate(f"sqlite:///{path}")
    assert execute(path, "SELECT name FROM sqlite_schema") == [("lease",)]


@pytest.mark.attack("STO-08")
def test_a_damaged_or_newer_database_is_refused_with_a_sentence(path: Path, url: str) -> None:
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[:100] = bytes(100)
    path.write_bytes(damaged)
    with pytest.raises(UnusableDatabase, match="not a database"):
        migrate(url)
    damaged = bytearray(whole)
    damaged[4096:8192] = b"\xff" * 4096
    path.write_bytes(damaged)
    with pytest.raises(UnusableDatabase):
        migrate(url)
    path.write_bytes(whole)
    execute(path, "UPDATE alembic_version SET version_num = '9999'")
    for opening in (
        lambda: migrate(url),
        lambda: Database.open(url, sealing=Sealing(SEALING_KEY)),
        lambda: Operators.open(url, "default"),
    ):
        with pytest.raises(UnusableDatabase, match=r"newer|9999"):
            opening()


async def test_a_store_that_cannot_answer_says_so_and_recovers_by_itself(path: Path, database: Database) -> None:
    store = database.store("default")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE handle RENAME TO elsewhere")
        with pytest.raises(StorageUnavailable):
            await store.reading.handle(KEEP.kind, KEEP.digest)
        with pytest.raises(StorageUnavailable):
            await store.commit(Issue(effects=(KEEP,)), STAMP)
        connection.execute("ALTER TABLE elsewhere RENAME TO handle")
    await store.commit(Issue(effects=(KEEP,)), STAMP)
    assert await store.reading.handle(KEEP.kind, KEEP.digest) is not None


@pytest.mark.attack("STO-04")
async def test_while_another_process_holds_the_lock_writes_are_refused_and_reads_go_on(path: Path, url: str) -> None:
    database = Database.open(url, sealing=Sealing(SEALING_KEY), busy_seconds=0.2)
    store = database.store("default")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        writing = asyncio.ensure_future(store.commit(Issue(effects=(KEEP,)), STAMP))
        async with asyncio.timeout(0.15):  # the event loop is not held up by the writer
            for _ in range(20):
                assert await store.reading.handle(KEEP.kind, KEEP.digest) is None
                await asyncio.sleep(0)
        with pytest.raises(StorageUnavailable):
            await writing
        connection.execute("ROLLBACK")
    assert isinstance(await store.commit(Issue(effects=(KEEP,)), STAMP), Issue)
    await database.close()


@pytest.mark.attack("STO-14")
async def test_while_the_file_is_gone_or_another_nothing_is_acknowledged(path: Path, url: str) -> None:
    database = Database.open(url, sealing=Sealing(SEALING_KEY))
    store = database.store("default")
    elsewhere = path.with_suffix(".moved")
    shutil.move(path, elsewhere)
    with pytest.raises(StorageUnavailable):
        await store.commit(Issue(effects=(KEEP,)), STAMP)
    shutil.copy(elsewhere, path)  # somebody restores a backup under our feet
    with pytest.raises(StorageUnavailable):
        await store.commit(Issue(effects=(KEEP,)), STAMP)
    shutil.move(elsewhere, path)
    assert isinstance(await store.commit(Issue(effects=(KEEP,)), STAMP), Issue)
    assert await store.reading.handle(KEEP.kind, KEEP.digest) is not None
    await database.close()


async def test_a_closed_database_says_so(url: str) -> None:
    database = Database.open(url, sealing=Sealing(SEALING_KEY))
    waiting = asyncio.ensure_future(database.store("default").commit(Issue(effects=(KEEP,)), STAMP))
    await asyncio.sleep(0)
    await database.close()
    assert isinstance(await waiting, Issue)  # what was asked before is kept
    with pytest.raises(StorageUnavailable):
        await database.store("default").commit(Issue(effects=()), STAMP)


def _migrate_killed_at(statement: int, url: str) -> bool:
    """Migrate in a child that dies at its n-th SQL statement; whether it came through."""
    child = os.fork()
    if child == 0:
        seen = itertools.count(1)
        connect = sqlite_writer.connect

        def connect_traced(path: Path) -> sqlite3.Connection:
            connection = connect(path)
            connection.set_trace_callback(
                lambda _: os.kill(os.getpid(), signal.SIGKILL) if next(seen) == statement else None
            )
            return connection

        sqlite_writer.connect = connect_traced  # type: ignore[assignment] # in the child only
        migrate(url)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0


@pytest.mark.attack("STO-10")
def test_a_migration_killed_at_any_statement_is_whole_or_absent_and_runs_again(tmp_path: Path) -> None:
    statement = 0
    finished = False
    while not finished:
        statement += 1
        path = tmp_path / f"{statement}.db"
        finished = _migrate_killed_at(statement, f"sqlite:///{path}")
        tables = {name for (name,) in execute(path, "SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert finished or not tables or "lease" in tables
        migrate(f"sqlite:///{path}")
        assert execute(path, "SELECT version_num FROM alembic_version") == [(REVISION,)]
        path.unlink()
    assert statement > 20
