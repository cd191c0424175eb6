"""Every contract of pyproject catches the violation it is there for: one is planted in a copy of the tree, and seen."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.support.requirement_rows import ROOT

PACKAGES: Final = ("fapi_as", "rs_kit")
CONTRACTS: Final = {
    contract["id"]: contract["name"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
}


class Plant(NamedTuple):
    """One violation: the contract that must see it, where it stands, and what it imports."""

    contract: str
    path: str
    imports: str


PLANTS: Final = (
    Plant("server-layers", "fapi_as/protocol/planted.py", "import fapi_as.kernel.door"),
    Plant("server-layers", "fapi_as/kernel/planted.py", "import fapi_as.features"),
    Plant("server-layers", "fapi_as/ports_planted.py", ""),  # a room that nobody placed
    Plant("kit-layers", "rs_kit/protocol/planted.py", "import rs_kit.ports"),
    Plant("kit-layers", "rs_kit/planted.py", ""),
    Plant("features-apart", "fapi_as/features/refresh_token/planted.py", "import fapi_as.features.authorization_code"),
    Plant("features-without-adapters", "fapi_as/features/refresh_token/planted.py", "import fapi_as.adapters.clock"),
    Plant("features-without-adapters", "fapi_as/features/refresh_token/planted.py", "import rs_kit.adapters.clock"),
    Plant("kit-stands-alone", "rs_kit/adapters/planted.py", "import fapi_as.protocol.scope"),
    Plant("kit-seen-from-the-server", "fapi_as/kernel/planted.py", "import rs_kit.adapters.clock"),
    Plant("kit-seen-from-the-server", "fapi_as/adapters/planted.py", "import rs_kit.ports"),
    Plant("kit-seen-from-the-server", "fapi_as/features/refresh_token/planted.py", "from rs_kit import Guard"),
    Plant("agent-alone", "fapi_as/agent/planted.py", "import fapi_as.protocol.scope"),
    Plant("agent-alone", "fapi_as/agent/planted.py", "import rs_kit.ports"),
    Plant("agent-unseen", "fapi_as/adapters/planted.py", "import fapi_as.agent"),
    Plant("pure-rules", "fapi_as/features/planted/rules.py", "import asyncio"),
    Plant("pure-rules", "rs_kit/protocol/planted.py", "import time"),
    Plant("pure-rules", "fapi_as/protocol/planted.py", "from secrets import token_bytes"),
    Plant("sql-in-the-store", "fapi_as/adapters/keys/planted.py", "import sqlite3"),
    Plant("sql-in-the-store", "fapi_as/commands/planted.py", "import sqlmodel"),
    Plant("quart-in-the-web", "fapi_as/kernel/planted.py", "from quart import request"),
    Plant("quart-in-the-web", "rs_kit/adapters/planted.py", "import quart"),
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of both packages and of the contracts."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says about a tree."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    environment = {"PATH": "/usr/bin:/bin", "NO_COLOR": "1", "COLUMNS": "200"}
    return subprocess.run(  # the tools' own console script, in the tree
        [*command, "--no-logo"], cwd=tree, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_tree_keeps_every_contract(tree: Path) -> None:
    answer = lint(tree)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"{len(CONTRACTS)} kept, 0 broken" in answer.stdout


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: f"{plant.contract}:{plant.imports or plant.path}")
def test_a_planted_violation_breaks_its_contract(tree: Path, plant: Plant) -> None:
    path = tree / plant.path
    path.parent.mkdir(exist_ok=True)
    (path.parent / "__init__.py").touch()
    path.write_text(plant.imports + "\n", encoding="utf-8")

    answer = lint(tree)

    assert answer.returncode == 1
    assert f"{CONTRACTS[plant.contract]} BROKEN" in answer.stdout
    assert plant.path.removesuffix(".py").replace("/", ".").partition(".")[2] in answer.stdout


def test_every_contract_has_a_planted_violation() -> None:
    assert {plant.contract for plant in PLANTS} == set(CONTRACTS)
