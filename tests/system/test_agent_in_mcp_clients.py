"""The official MCP client and FastMCP's, each with the agent as its authentication, at real servers over real TLS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def said() -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.wrapped_clients"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "docs" / "examples")])},
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("face", ["own", "provider"])
@pytest.mark.parametrize("client", ["sdk", "fastmcp"])
def test_a_tool_is_called_with_a_token_that_is_bound(said: dict[str, object], client: str, face: str) -> None:
    assert "1250 EUR" in str(said[f"{client}, {face}"])
    assert said[f"{client}, scopes"] == [["accounts:read"], ["accounts:read"]]


@pytest.mark.parametrize("client", ["sdk", "fastmcp"])
def test_a_tool_is_called_with_a_certificate_and_not_without_it(said: dict[str, object], client: str) -> None:
    assert str(said[f"{client}, certificate"]).startswith("1250 EUR on the checking account of client-")
    assert "does not show the agent's certificate" in str(said[f"{client}, no certificate"])
