"""kill -9 at every step from a code to its tokens: each statement of the transaction, and each place that waits."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fapi_as.adapters.keys import Sealing
from fapi_as.adapters.store import Database, migrate
from fapi_as.protocol.audit_events import AuditEvent
from tests.properties.operated_stores import OperatedSqlite
from tests.support.browser import Callback
from tests.support.fapi_client import Pushed, Refused
from tests.support.history import Finding
from tests.support.house import House
from tests.support.killing import killed_at, stepping
from tests.support.standing_still import a_code, ready
from tests.support.stored_state import facts, half_states

SEALING = Sealing(b"s" * 32)
STATEMENTS = 8  # of the transaction, at least


async def _with_a_code(migrated: Path, path: Path) -> tuple[House, Callback, Pushed]:
    store = OperatedSqlite(migrated, path)
    house = await ready(House(store=store))  # type: ignore[arg-type] # the same port on a file
    done, pushed = await a_code(house)
    await store.close()
    return house, done, pushed


async def _redeemed(house: House, path: Path, done: Callback, pushed: Pushed, step: Callable[[], None]) -> bool:
    """Whether a process that starts on this file gives tokens for the code."""
    opened = Database.open(f"sqlite:///{path}", sealing=SEALING)
    before, house.context = house.context, replace(house.context, store=opened.store("default"))
    try:
        tokens = await stepping(house.agent.redeem(done, pushed), step)
    except Refused:
        return False
    finally:
        house.context = before
        await opened.close()
    assert tokens.refresh_token
    return True


def _killed_at(number: int, house: House, path: Path, done: Callback, pushed: Pushed) -> bool | None:
    """Redeem in a child that dies at its n-th step; None when it died before it had its answer."""
    return killed_at(number, lambda step: _redeemed(house, path, done, pushed, step))


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """What was left by a process that died at one step, and what another one made of it."""

    answered: bool | None
    issued: int
    issued_in_the_end: int
    redeemed_again: bool
    half_states: list[Finding]


def _issued(path: Path) -> int:
    return sum(fact.event == AuditEvent.TOKEN_ISSUED for fact in facts(path))


@pytest.fixture(scope="module")  # a house on a file: what it keeps is judged here, row by row, and not by its dicts
def killed(tmp_path_factory: pytest.TempPathFactory) -> list[Killed]:
    directory = tmp_path_factory.mktemp("killed")
    migrated, whole = directory / "migrated.db", directory / "whole.db"
    migrate(f"sqlite:///{migrated}")
    house, done, pushed = asyncio.run(_with_a_code(migrated, whole))
    found: list[Killed] = []
    while not found or found[-1].answered is None:
        path = directory / f"{len(found) + 1}.db"
        shutil.copyfile(whole, path)
        answered = _killed_at(len(found) + 1, house, path, done, pushed)
        issued, halves = _issued(path), half_states(path)
        again = asyncio.run(_redeemed(house, path, done, pushed, lambda: None))
        halves += half_states(path)
        found.append(
            Killed(
                answered=answered,
                issued=issued,
                issued_in_the_end=_issued(path),
                redeemed_again=again,
                half_states=halves,
            )
        )
    return found


@pytest.mark.attack("STO-05")
def test_a_code_is_redeemed_once_and_told_of_wherever_the_process_dies(killed: list[Killed]) -> None:
    for one in killed:
        assert one.half_states == []  # spent if and only if told of, and then with its refresh token
        assert one.issued <= 1
        assert one.issued_in_the_end == 1
        assert one.redeemed_again is (one.issued == 0)


@pytest.mark.attack("STO-05")
def test_the_steps_lie_on_both_sides_of_the_commit_and_the_last_process_lives(killed: list[Killed]) -> None:
    *died, last = killed
    assert (last.answered, last.issued) == (True, 1)
    assert [one.answered for one in died] == [None] * len(died)
    assert sum(one.issued == 0 for one in died) > STATEMENTS
    assert sum(one.issued == 1 for one in died) > 0
