"""Once, and short, the campaign of `make faults` on a disk of 4 MB that is full."""

from __future__ import annotations

import pytest

from tests.faults.storage import disk_full
from tests.support.history import Outcome

pytestmark = pytest.mark.xdist_group("races")


@pytest.mark.attack("STO-01")
async def test_a_full_disk_turns_writes_away_and_is_forgotten_once_there_is_room() -> None:
    verdict = await disk_full(1, full_seconds=1.0)
    assert not verdict.findings, verdict.findings[:5]
    assert verdict.outcomes[Outcome.OK] > 0
    assert verdict.outcomes[Outcome.UNAVAILABLE] > 0
    assert verdict.recovered_seconds <= 5.0
