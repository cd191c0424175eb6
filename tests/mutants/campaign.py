"""Applies mutants, one after the other, to copies of the tree and runs the tests that should catch each."""

from __future__ import annotations

import os
import queue
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path
from typing import Final

from tests.mutants.mutants import DoesNotApply, Mutant
from tests.support.requirement_rows import ROOT

CAUGHT: Final = "caught"
SURVIVED: Final = "SURVIVED"
DOES_NOT_APPLY: Final = "DOES NOT APPLY"
BROKEN: Final = "BROKEN"  # the tests could not run, or did not end: that proves nothing
_COPIED: Final = ("fapi_as", "rs_kit", "tests", "docs", "certs", "pyproject.toml", "README.md", "Makefile")
# only what these tests need, by name, and no look at the requirement rows: half of the time of a short run is its start
_PLUGINS: Final = (
    *("-o", "addopts=", "-p", "pytest_asyncio.plugin", "-p", "pytest_socket"),
    *("--allow-hosts=127.0.0.1,::1,localhost", "--allow-unix-socket"),
)
_SECONDS: Final = 60.0  # for the tests of one mutant
_BASELINE_SECONDS: Final = 180.0
_PASSED, _FAILED = 0, 1  # exit codes of pytest
_FAILURE: Final = re.compile(r"^FAILED \S*?::(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one mutant; `by` is the test that failed, or what went wrong."""

    mutant: Mutant
    verdict: str
    by: str
    seconds: float


def copy_tree(target: Path, source: Path = ROOT) -> Path:
    """A copy of the sources and tests, with what git would not keep left out."""
    left_out = shutil.ignore_patterns("__pycache__", "*.pem", "*.key", ".*")
    for name in _COPIED:
        path = source / name
        if path.is_dir():
            shutil.copytree(path, target / name, ignore=left_out)
        elif path.is_file():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target / name)
    return target


def run_tests(tree: Path, tests: Sequence[str], seconds: float) -> tuple[int | None, str]:
    """The exit code of pytest, None when it did not end in time, and what it printed."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-rf", "--tb=no", "--no-header", *_PLUGINS, *tests]
    # the copy comes before the linked checkout, in the processes that tests start, too
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "300"}
    environment.pop("PYTEST_ADDOPTS", None)
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, timeout=seconds, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        return None, ""
    return done.returncode, done.stdout + done.stderr


@contextmanager
def applied(mutant: Mutant, tree: Path) -> Iterator[None]:
    """The tree without the guard, for as long as this lasts.

    Raises:
        DoesNotApply: nothing was changed.
    """
    changed = mutant.files(tree)
    before = {path: path.read_bytes() for path in changed}
    try:
        for path, text in changed.items():
            _write(path, text.encode())
        yield
    finally:
        for path, content in before.items():
            _write(path, content)


def judge(mutant: Mutant, tree: Path) -> Outcome:
    """Apply one mutant to a tree, run its tests there, and put the guard back."""
    begun = time.monotonic()
    try:
        with applied(mutant, tree):
            code, output = run_tests(tree, mutant.tests, _SECONDS)
    except DoesNotApply as error:
        verdict, by = DOES_NOT_APPLY, str(error)
    else:
        verdict, by = _verdict(code, output)
    return Outcome(mutant=mutant, verdict=verdict, by=by, seconds=time.monotonic() - begun)


def judge_all(mutants: Sequence[Mutant], trees: Sequence[Path]) -> Iterator[Outcome]:
    """Judge many, as many at a time as there are trees, in the order in which they are done."""
    free: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for tree in trees:
        free.put(tree)

    def one(mutant: Mutant) -> Outcome:
        tree = free.get()
        try:
            return judge(mutant, tree)
        finally:
            free.put(tree)

    with ThreadPoolExecutor(max_workers=len(trees)) as pool:
        for future in as_completed([pool.submit(one, mutant) for mutant in mutants]):
            yield future.result()


def baseline(mutants: Sequence[Mutant], tree: Path) -> str | None:
    """Why the tests say nothing, because they fail with every guard in its place; None when they pass."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    code, output = run_tests(tree, tests, _BASELINE_SECONDS)
    return None if code == _PASSED else output or "the tests took too long"


def _verdict(code: int | None, output: str) -> tuple[str, str]:
    if code == _PASSED:
        return SURVIVED, "no test"
    failure = _FAILURE.search(output)
    if code == _FAILED and failure is not None:
        return CAUGHT, failure[1].partition("[")[0]
    lines = output.strip().splitlines()
    return BROKEN, "the tests did not end" if code is None else (lines[-1] if lines else f"pytest ended with {code}")


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    # a cached module is believed when size and second of the source are those that it remembers
    with suppress(FileNotFoundError):
        Path(cache_from_source(str(path))).unlink()
