"""What ruff and mypy are told to refuse is refused, and nothing is excused without a reason beside it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest

from tests.support.requirement_rows import ROOT

PYPROJECT: Final = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
BANNED: Final = tomllib.loads(PYPROJECT)["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
CLOCKS_AND_ENTROPY: Final = {
    "fapi_as/adapters/clock.py",
    "fapi_as/adapters/entropy.py",
    "fapi_as/agent/clock_and_entropy.py",
    "rs_kit/adapters/clock.py",
}
PACKAGES: Final = ("fapi_as", "rs_kit")


def tool(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """One of the tools of `make check`, asked about a planted text."""
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True, timeout=120, check=False)


def python_files() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("name", sorted(BANNED))
def test_a_banned_name_is_refused_in_a_rule(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    planted = f"from {module} import {attribute}\n" if module else f"import {name}\n"
    answer = tool("ruff", "check", "--stdin-filename", "fapi_as/kernel/planted.py", "-", given=planted)
    assert answer.returncode == 1
    assert "TID251" in answer.stdout


def test_a_relative_import_is_refused() -> None:
    planted = "from .seam import Feature\n"
    answer = tool("ruff", "check", "--stdin-filename", "fapi_as/kernel/planted.py", "-", given=planted)
    assert "TID252" in answer.stdout


def test_a_function_without_types_is_refused(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text("def verify(proof):\n    return proof\n", encoding="utf-8")
    answer = tool("mypy", "--config-file", "pyproject.toml", "--cache-dir", str(tmp_path), str(tmp_path / "planted.py"))
    assert answer.returncode == 1
    assert "no-untyped-def" in answer.stdout


def test_only_the_four_files_of_clock_and_entropy_are_excused_from_the_ban() -> None:
    excused = {
        str(path.relative_to(ROOT)) for path in python_files() if "noqa: TID251" in path.read_text(encoding="utf-8")
    }
    assert excused <= CLOCKS_AND_ENTROPY


def test_every_excuse_says_why() -> None:
    silent = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in python_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if (re.search(r"#\s*noqa", line) and not re.search(r"# noqa: [A-Z0-9, ]+ - \S", line))
        or (re.search(r"#\s*type: ignore", line) and not re.search(r"# type: ignore\[[a-z, -]+\]\s+# \S", line))
    ]
    assert silent == []


def test_every_rule_that_ruff_is_told_to_ignore_says_why() -> None:
    ignored = PYPROJECT.partition("\nignore = [")[2].partition("\n]")[0]
    lines = [line for line in ignored.splitlines() if line.strip()]
    assert lines
    assert [line for line in lines if not re.search(r'^    "[A-Z0-9]+",\s+# \S', line)] == []
