"""Once, and short, the campaigns that need root or strace; where these are, as on the machine of `.ci/run`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.faults.storage import EIO, disk_full, injected
from tests.support.history import Outcome

pytestmark = pytest.mark.xdist_group("races")


def _can_mount(directory: Path) -> bool:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(directory)], check=False, capture_output=True)
    return mounted.returncode == 0 and subprocess.run(["umount", str(directory)], check=True).returncode == 0


async def test_a_full_disk_turns_writes_away_and_is_forgotten_once_there_is_room(tmp_path: Path) -> None:
    if not _can_mount(tmp_path):
        pytest.skip("nobody may mount here")
    verdict = await disk_full(1, full_seconds=1.0)
    assert not verdict.findings, verdict.findings[:5]
    assert verdict.outcomes[Outcome.UNAVAILABLE] > 0


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
async def test_a_failed_fsync_is_never_acknowledged() -> None:
    verdict = await injected(EIO, 1, seconds=2.5)
    assert not verdict.findings, verdict.findings[:5]
    assert verdict.outcomes[Outcome.UNAVAILABLE] > 0
