"""Once, and short, the campaigns of `make faults` in which the kernel fails every few calls."""

from __future__ import annotations

import pytest

from tests.faults.storage import EIO, ENOSPC, Injection, injected
from tests.support.history import Outcome

pytestmark = pytest.mark.xdist_group("races")


@pytest.mark.parametrize(
    "injection",
    [
        pytest.param(EIO, marks=pytest.mark.attack("STO-02"), id="fsync"),
        pytest.param(ENOSPC, marks=pytest.mark.attack("STO-03"), id="pwrite"),
    ],
)
async def test_what_a_failed_call_carried_is_never_acknowledged(injection: Injection) -> None:
    verdict = await injected(injection, 1, seconds=2.5)
    assert not verdict.findings, verdict.findings[:5]
    assert verdict.outcomes[Outcome.OK] > 0
    assert verdict.outcomes[Outcome.UNAVAILABLE] > 0
