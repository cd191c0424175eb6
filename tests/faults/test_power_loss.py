"""Once, and short, the campaign of `make faults` in which a file system stops between two writes."""

from __future__ import annotations

import pytest

from tests.faults.power import power_lost
from tests.support.history import Outcome

pytestmark = pytest.mark.xdist_group("races")


@pytest.mark.attack("STO-06")
@pytest.mark.parametrize("kind", ["ext4", "xfs"])
async def test_what_was_acknowledged_is_there_after_the_power_was_cut(kind: str) -> None:
    verdict = await power_lost(kind, 2)
    assert not verdict.findings, verdict.findings[:5]
    assert verdict.outcomes[Outcome.OK] > 0
    assert verdict.outcomes[Outcome.UNAVAILABLE] > 0
