"""The table of variants and expectations: what a run showed, what waits, and where there is a hole."""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.expectations.table import (
    DEVIATIONS,
    EXPECTATIONS,
    NOT_YET,
    ROWS_NOT_YET,
    Expectation,
    missing_for,
    runnable,
)
from tests.expectations.variants import VARIANTS, Variant

HERE: Final = Path(__file__).parent
PASSED, FAILED, NOT_RUN, NOT_APPLICABLE, WAITS = "+", "F", "!", ".", "w"
_seen: Final[dict[tuple[str, Variant], str]] = {}
_in_real_time: Final[dict[str, str]] = {}


def remember(item: pytest.Item, report: pytest.TestReport) -> None:
    """Keep what became of a test of a row; one failure of several tests counts."""
    names = [str(mark.args[0]) for mark in item.iter_markers("expectation")]
    if not names or not (report.when == "call" or report.failed):
        return
    callspec = getattr(item, "callspec", None)
    variant = callspec.params.get("variant") if callspec is not None else None
    outcome = PASSED if report.passed else FAILED
    for name in names:
        if variant is None:
            _in_real_time[name] = FAILED if FAILED in (outcome, _in_real_time.get(name)) else outcome
        else:
            before = _seen.get((name, variant))
            _seen[name, variant] = FAILED if FAILED in (outcome, before) else outcome


def claimed() -> dict[str, list[str]]:
    """The tests of each row, whatever part of them runs today."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(HERE.glob("test_*.py")):
        module = importlib.import_module(f"tests.expectations.{path.stem}")
        for name, function in vars(module).items():
            if name.startswith("test_"):
                for mark in getattr(function, "pytestmark", []):
                    if mark.name == "expectation":
                        found[mark.args[0]].append(f"{path.stem}::{name}")
    return dict(found)


def holes() -> list[str]:
    """Rows that no test names though they could be run, or that are not declared as missing."""
    tests = claimed()
    unknown = [f"{name}: no such row, in {tests[name]}" for name in tests if name not in EXPECTATIONS]
    bare = [
        str(row)
        for row in EXPECTATIONS.values()
        if row.name not in tests and row.name not in ROWS_NOT_YET and any(map(row.applies, VARIANTS))
    ]
    return unknown + bare


def cell(row: Expectation, variant: Variant) -> str:
    """One character: what this run says of a row in a variant."""
    if not row.applies(variant):
        return NOT_APPLICABLE
    if variant not in runnable(row):
        return WAITS
    return _seen.get((row.name, variant), NOT_RUN)


def lines() -> Iterator[str]:
    """The table, when this run has looked at expectations at all."""
    if not _seen:
        return
    yield ""
    yield "Expectations of the OpenID FAPI 2.0 certification tests, by variant"
    for number, variant in enumerate(VARIANTS, 1):
        waits = ", ".join(missing_for(variant))
        yield f"  {number:2}  {' '.join(variant)}{f'   (waits for {waits})' if waits else ''}"
    yield f"  {PASSED} passed  {FAILED} failed  {NOT_RUN} not run  {WAITS} waits  {NOT_APPLICABLE} does not apply"
    tens = "".join(str(number // 10) if number % 10 == 0 else " " for number in range(1, len(VARIANTS) + 1))
    units = "".join(str(number % 10) for number in range(1, len(VARIANTS) + 1))
    yield f"{'':76}{tens}"
    yield f"{'':76}{units}"
    deviating = {deviation.row for deviation in DEVIATIONS}
    for row in EXPECTATIONS.values():
        cells = "".join(cell(row, variant) for variant in VARIANTS)
        marks = ("*" if row.name in deviating else " ") + ("t" if _in_real_time.get(row.name) == PASSED else " ")
        yield f"{row.section:4} {row.name[:68]:68} {marks} {cells}"
    yield "  * a declared deviation   t also in real time"
    for deviation in DEVIATIONS:
        yield f"    {deviation.row}: {deviation.reason}"
    yield f"  {summary()}"
    yield from complaints()


def summary() -> str:
    """How many cells there are of each sign."""
    cells = [cell(row, variant) for row in EXPECTATIONS.values() for variant in VARIANTS]
    words = {PASSED: "passed", FAILED: "failed", NOT_RUN: "not run", WAITS: "wait", NOT_APPLICABLE: "do not apply"}
    return ", ".join(f"{cells.count(sign)} {word}" for sign, word in words.items())


def not_run() -> list[str]:
    """The rows with a cell that no test has filled, when any was."""
    rows = EXPECTATIONS.values() if _seen else ()
    return [str(row) for row in rows if any(cell(row, variant) == NOT_RUN for variant in VARIANTS)]


def complaints() -> Iterator[str]:
    """What is not there yet, and the holes."""
    for missing in NOT_YET if _seen else ():
        yield f"  not yet: {missing.capability}"
    for name, reason in ROWS_NOT_YET.items() if _seen else ():
        yield f"  not yet: {name}: {reason}"
    for hole in holes() if _seen else ():
        yield f"  HOLE: {hole}"
