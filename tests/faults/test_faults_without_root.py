"""Once, and short, what `make faults` runs long: a kill, a lock and files that may not grow, under load."""

from __future__ import annotations

import pytest

from tests.faults.campaign import Verdict
from tests.faults.kill import kill_under_load
from tests.faults.storage import database_locked, file_size_limited
from tests.support.history import Outcome

pytestmark = pytest.mark.xdist_group("races")


def _held(verdict: Verdict) -> None:
    assert not verdict.findings, verdict.findings[:5]
    assert verdict.outcomes[Outcome.OK] > 0


@pytest.mark.attack("LOG-07")
async def test_kill_9_under_load_loses_nothing_acknowledged_and_leaves_no_half() -> None:
    _held(await kill_under_load(2))


@pytest.mark.attack("STO-04")
async def test_a_locked_database_turns_writes_away_in_time_and_disturbs_no_read() -> None:
    _held(await database_locked(1, held_seconds=5.5))


@pytest.mark.attack("STO-03")
async def test_writes_that_the_kernel_refuses_are_turned_away_and_lose_nothing() -> None:
    _held(await file_size_limited(1, limited_seconds=1.0))
