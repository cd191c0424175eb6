"""The demo as a person runs it: real processes, real TLS, one line for each step."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
REFUSED = (
    ("401 invalid_token", "a registration without a statement"),
    ("400 invalid_software_statement", "a forged statement"),
    ("400 invalid_software_statement", "an expired statement"),
    ("400 unapproved_software_statement", "a foreign authority's statement"),
    ("400 invalid_software_statement", "a statement for another server"),
    ("400 invalid_redirect_uri", "the agent's statement, contradicted by another redirect URI"),
    ("400 invalid_client_metadata", "the agent's statement, contradicted by another key"),
    ("400 invalid_software_statement", "the robot's statement, with another certificate"),
    ("400 invalid_software_statement", "the agent's statement, replayed"),
    ("401 invalid_token", "the agent's registration, with its token and without its key"),
    ("401 invalid_token", "the token without the key, as Bearer"),
    ("401 invalid_token", "the token with another key"),
    ("401 invalid_dpop_proof", "the same proof twice"),
    ("401 invalid_dpop_proof", "a proof for another URL"),
    ("403 insufficient_scope", "a tool outside the granted scopes"),
    ("400 invalid_grant", "the code redeemed twice"),
    ("400 invalid_grant", "the refresh token of that code, afterwards"),
    ("401 invalid_client", "a token in the robot's name, with another certificate"),
    ("401 invalid_token", "the robot's token, with another certificate"),
)


def test_every_step_of_the_demo_does_what_it_says(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "demo.py")],
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=180,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert all(line.startswith("✓ ") for line in lines)
    assert "✓ alice signed in and allowed Demo agent one thing: accounts:read" in lines
    assert any(re.match(r"✓ the agent called get_balance .*: 1250 EUR on the checking account", line) for line in lines)
    known = r"✓ the agent was asked who it is, and registered itself as client-[\w-]+ with its statement"
    assert any(re.fullmatch(known, line) for line in lines)
    registered = (
        r"✓ Demo robot registered itself as (client-[\w-]+) at localhost:\d+, with its statement and its certificate"
    )
    robot = next(found[1] for line in lines if (found := re.fullmatch(registered, line)))
    certified = r"✓ Demo robot showed its certificate at localhost:\d+ and got a token that is bound to it"
    assert any(re.fullmatch(certified, line) for line in lines)
    said = f"8000 EUR on the savings account of {robot}"
    assert f"✓ the robot called get_balance with that token and certificate: {said}" in lines
    for code, what in REFUSED:
        assert f"✓ refused with {code}: {what}" in lines
    assert any(re.match(r"✓ fapi-as explain \S+ tells the operator .*: code replayed$", line) for line in lines)
    assert "✓ fapi-as audit tells the operator why each of the 10 registrations was refused" in lines
    assert re.match(r"✓ servers started in [0-9.]+ s, whole demo [0-9.]+ s$", lines[-1])
    assert list(tmp_path.iterdir()) == []
    assert not [line for line in _command_lines() if str(tmp_path) in line]


def test_a_demo_that_is_stopped_leaves_nothing_running(tmp_path: Path) -> None:
    running = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "demo.py")],
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline()
            assert "answer over TLS" in running.stdout.readline().decode()
            assert [line for line in _command_lines() if str(tmp_path) in line]
            running.send_signal(signal.SIGTERM)
            assert running.wait(60) == 130
        finally:
            running.kill()
    assert not [line for line in _command_lines() if str(tmp_path) in line]
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_goes_wrong_is_told_by_the_exit_code() -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv.pop())\n"
        "import demo, thief\n"
        "admitted = thief.Outcome(status=200, error=None)\n"
        "demo.demo = lambda directory: thief.refused('a theft', admitted, 401, 'invalid_token')\n"
        "sys.exit(demo.main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(EXAMPLES)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "✗ a theft: expected 401 invalid_token, got 200 None\n"


def _command_lines() -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(process.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return found
