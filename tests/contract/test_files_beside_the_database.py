"""The log and its index, gone, cut off or closed to us: everything is found again, or the start is refused."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fapi_as.adapters.keys import Sealing
from fapi_as.adapters.store import Database, Operators, UnusableDatabase, migrate
from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from fapi_as.protocol.decisions import Issue
from fapi_as.protocol.effects import Record
from tests.support.store_harness import STAMP
from tests.support.store_processes import SEALING_KEY

FACTS = 20
Damage = Callable[[Path], object]


@pytest.fixture
async def left(tmp_path: Path) -> Path:
    """A database as a power cut leaves it: some facts in the file, the later ones in its log alone."""
    (tmp_path / "running").mkdir()
    (tmp_path / "left").mkdir()
    running, left = tmp_path / "running" / "store.db", tmp_path / "left" / "store.db"
    migrate(f"sqlite:///{running}")
    database = Database.open(f"sqlite:///{running}", sealing=Sealing(SEALING_KEY))
    for number in range(FACTS):
        if number == FACTS // 2:
            with contextlib.closing(sqlite3.connect(running)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        fact = AuditFact(event=AuditEvent.TOKEN_ISSUED, detail=str(number))
        await database.store("default").commit(
            Issue(effects=(Record(fact=fact),)), replace(STAMP, at=STAMP.at + number)
        )
    for name in ("store.db", "store.db-wal", "store.db-shm"):
        (left.parent / name).write_bytes((running.parent / name).read_bytes())
    await database.close()
    return left


def _wal(path: Path) -> Path:
    return path.with_name("store.db-wal")


def _shm(path: Path) -> Path:
    return path.with_name("store.db-shm")


def _cut(file: Path, part: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * part)])


def _started(path: Path) -> list[int]:
    """What a start finds: migrate, then the facts in order; afterwards a writer opens and the file is whole."""
    migrate(f"sqlite:///{path}")
    rows = Operators.open(f"sqlite:///{path}", "default").audit(limit=1000)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return sorted(int(row.fact.detail or "") for row in rows)


@pytest.mark.attack("STO-07")
@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        pytest.param(lambda _: None, FACTS, id="nothing"),
        pytest.param(lambda path: _shm(path).unlink(), FACTS, id="no index"),
        pytest.param(lambda path: _cut(_shm(path), 0.5), FACTS, id="half an index"),
        pytest.param(lambda path: _shm(path).write_bytes(b"\xff" * 32768), FACTS, id="an index of nothing"),
        pytest.param(lambda path: _wal(path).unlink(), FACTS // 2, id="no log"),
        pytest.param(lambda path: _cut(_wal(path), 0.0), FACTS // 2, id="an empty log"),
    ],
)
def test_what_the_file_and_its_log_hold_is_found_again(left: Path, damage: Damage, kept: int) -> None:
    damage(left)
    assert _started(left) == list(range(kept))


@pytest.mark.attack("STO-07")
@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_of_a_log_that_was_cut_off_whole_transactions_are_found_in_order(left: Path, part: float) -> None:
    _cut(_wal(left), part)
    found = _started(left)
    assert found == list(range(len(found)))
    assert FACTS // 2 <= len(found) < FACTS


@pytest.mark.attack("STO-07")
@pytest.mark.parametrize("mode", [0o400, 0o000])
def test_a_log_that_may_not_be_written_or_read_is_refused_or_whole(left: Path, mode: int) -> None:
    before = left.read_bytes()
    for file in (_wal(left), _shm(left)):
        file.chmod(mode)
    if os.geteuid() != 0:  # whom the modes of files do not stop
        with pytest.raises(UnusableDatabase) as refused:
            _started(left)
        assert "\n" not in str(refused.value)
        assert left.read_bytes() == before
        for file in (_wal(left), _shm(left)):
            file.chmod(0o600)
    assert _started(left) == list(range(FACTS))


@pytest.mark.attack("STO-07")
def test_a_log_or_an_index_that_is_no_file_is_refused_with_a_sentence_and_nothing_is_made(left: Path) -> None:
    for file in (_wal(left), _shm(left)):
        kept, before = file.read_bytes(), left.read_bytes()
        file.unlink()
        file.mkdir()  # nobody may open it, root neither
        with pytest.raises(UnusableDatabase) as refused:
            _started(left)
        assert "\n" not in str(refused.value)
        assert left.read_bytes() == before
        file.rmdir()
        file.write_bytes(kept)
    assert _started(left) == list(range(FACTS))
