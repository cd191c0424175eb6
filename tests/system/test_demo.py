"""The demo as a person runs it: real processes, real TLS, one line for each step."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REFUSED = (
    ("401 invalid_token", "the token without the key, as Bearer"),
    ("401 invalid_token", "the token with another key"),
    ("401 invalid_dpop_proof", "the same proof twice"),
    ("401 invalid_dpop_proof", "a proof for another URL"),
    ("403 insufficient_scope", "a tool outside the granted scopes"),
    ("400 invalid_grant", "the code redeemed twice"),
    ("400 invalid_grant", "the refresh token of that code, afterwards"),
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def demo(scratch: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "docs" / "examples" / "demo.py")],
        env={**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_the_demo_ends_well(demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.returncode == 0, demo.stdout + demo.stderr


def test_the_right_agent_makes_the_call(demo: subprocess.CompletedProcess[str]) -> None:
    assert re.search(r"^✓ alice signed in and allowed demo-agent one thing: accounts:read$", demo.stdout, re.MULTILINE)
    assert re.search(r"^✓ the agent called get_balance .*: 1250 EUR on the checking account", demo.stdout, re.MULTILINE)


@pytest.mark.parametrize(("code", "what"), REFUSED)
def test_the_thief_is_refused(demo: subprocess.CompletedProcess[str], code: str, what: str) -> None:
    assert f"✓ refused with {code}: {what}\n" in demo.stdout


def test_the_operator_learns_why(demo: subprocess.CompletedProcess[str]) -> None:
    assert re.search(r"^✓ fapi-as explain \S+ tells the operator .*: code replayed$", demo.stdout, re.MULTILINE)


def test_a_second_demo_takes_at_most_six_times_what_its_servers_take(demo: subprocess.CompletedProcess[str]) -> None:
    found = re.search(r"^✓ servers started in ([0-9.]+) s, whole demo ([0-9.]+) s$", demo.stdout, re.MULTILINE)

    assert found is not None
    assert float(found[2]) <= 6 * float(found[1])


def test_nothing_is_left_behind(demo: subprocess.CompletedProcess[str], scratch: Path) -> None:
    assert demo.returncode == 0
    assert list(scratch.iterdir()) == []
    assert not [name for name in _command_lines() if str(scratch) in name]


def _command_lines() -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(process.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return found
