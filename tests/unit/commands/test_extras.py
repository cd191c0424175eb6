"""What each extra is enough for; a command that needs another one says which."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.agent_desk import ALONE, not_installed
from tests.support.processes import ROOT


def run(directory: Path, extra: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `fapi-as` where only one extra is installed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NOT_INSTALLED": json.dumps(not_installed(extra))}
    command = [sys.executable, "-c", ALONE, *arguments]
    (directory / "empty.toml").touch()
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("installed", "arguments", "needed"),
    [
        ("agent", ("client", "list", "--config", "empty.toml"), "server"),
        ("server", ("agent", "token", "--config", "/nowhere/fapi-agent.toml"), "agent"),
        ("", ("agent", "token"), "agent"),
        ("", ("serve",), "server"),
    ],
)
def test_a_command_whose_extra_is_not_installed_says_so(
    tmp_path: Path, installed: str, arguments: tuple[str, ...], needed: str
) -> None:
    done = run(tmp_path, installed, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(f" is not installed: this command needs the extra, pip install 'fapi-as[{needed}]'\n")


@pytest.mark.parametrize(
    ("installed", "arguments"),
    [
        ("agent", ("agent", "token", "--config", "/nowhere/fapi-agent.toml")),
        ("server", ("check-config", "--config", "/nowhere/fapi-as.toml")),
    ],
)
def test_a_command_whose_extra_is_installed_says_what_else_is_wrong(
    tmp_path: Path, installed: str, arguments: tuple[str, ...]
) -> None:
    done = run(tmp_path, installed, *arguments)
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "extra" not in done.stderr
