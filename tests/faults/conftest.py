"""Where nobody may mount or trace, what needs it is not collected, and a line says so; FAULTS=required collects it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

REQUIRED = os.environ.get("FAULTS") == "required"


def _succeeds(*command: str) -> bool:
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, check=False, capture_output=True, timeout=20).returncode == 0


def _can_mount() -> bool:
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as scratch:
        return _succeeds("mount", "-t", "tmpfs", "tmpfs", scratch) and _succeeds("umount", scratch)


def _can_cut_power() -> bool:
    has_loops = os.geteuid() == 0 and Path("/dev/loop-control").exists()
    return has_loops and all(shutil.which(f"mkfs.{kind}") for kind in ("ext4", "xfs")) and _can_mount()


def _can_trace() -> bool:
    return _succeeds("strace", "-qq", "-o", "/dev/null", "true")


NEEDS = {
    "test_a_full_disk.py": ("a tmpfs, which root alone may mount", _can_mount),
    "test_power_loss.py": ("loop devices, ext4 and xfs, and leave to mount them", _can_cut_power),
    "test_calls_that_fail.py": ("strace, and leave to trace", _can_trace),
}
MISSING = {} if REQUIRED else {name: what for name, (what, is_here) in NEEDS.items() if not is_here()}
collect_ignore = list(MISSING)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, what in MISSING.items():
        terminalreporter.write_line(f"tests/faults/{name} was left out: it needs {what}")
