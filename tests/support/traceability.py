"""The pytest plugin that ties tests to the rows of docs/requirements and to the cases of the attack catalogue.

A mark that names no row, or no direction, stops the run. What marked tests did is written to build/trace, from where
`make trace` reads it (docs/decisions/0003).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from typing import Any, Final

import pytest

from tests.support.requirement_rows import DIRECTIONS, ROOT, load_cases, load_rows

TRACE: Final = ROOT / "build" / "trace"
_SOURCES: Final = ("fapi_as", "rs_kit", "tests", "docs/requirements", "docs/examples", "certs", "pyproject.toml")
_WORST_LAST: Final = ("passed", "xfailed", "skipped", "failed")
Claim = tuple[str, str, str]  # requirement or attack, id, direction ("plays" for an attack)


def source_digest() -> str:
    """One digest over everything that a test's outcome depends on in this repository."""
    digest = hashlib.sha256()
    for name in _SOURCES:
        top = ROOT / name
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(ROOT)}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def pytest_configure(config: pytest.Config) -> None:
    """Keep one record per session."""
    config.pluginmanager.register(_Recorder(config), "traceability-recorder")


class _Recorder:
    """Checks marks where tests are collected and gathers outcomes where they are reported."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.worker = hasattr(config, "workerinput")
        self.digest = "" if self.worker else source_digest()
        self.rows, self.cases = load_rows(), load_cases()
        self.claims: dict[str, list[Claim]] = {}
        self.outcomes: dict[str, str] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """A mark that names an unknown id, no direction, or the same thing twice is an error of its module."""
        report = yield
        problems = [
            problem for item in report.result or () if isinstance(item, pytest.Item) for problem in self._read(item)
        ]
        if problems:
            report.outcome, report.longrepr, report.result = "failed", "\n".join(problems), []
        return report

    def _read(self, item: pytest.Item) -> list[str]:
        claims: list[Claim] = []
        problems: list[str] = []
        for mark in item.iter_markers():
            if mark.name in ("requirement", "attack"):
                claim = _claim(mark)
                problem = _problem(mark, claim, known=self.rows if mark.name == "requirement" else self.cases)
                if problem or claim in claims:
                    problems.append(f"{item.nodeid}: {problem or f'{claim[1]} is claimed twice as {claim[2]}'}")
                claims.append(claim)
        if claims:
            self.claims[item.nodeid] = claims  # before -m deselects: a claim exists whether it is run today or not
        return problems

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The worst of set-up, call and tear-down is the outcome."""
        outcome = "xfailed" if hasattr(report, "wasxfail") else report.outcome
        before = self.outcomes.get(report.nodeid, "passed")
        self.outcomes[report.nodeid] = max(before, outcome, key=_WORST_LAST.index)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what a worker of pytest-xdist collected."""
        self.claims.update(getattr(node, "workeroutput", {}).get("trace_claims", {}))

    def pytest_sessionfinish(self) -> None:
        """Write what this run shows, when it looked at the whole suite."""
        if self.worker:
            self.config.workeroutput["trace_claims"] = self.claims  # type: ignore[attr-defined] # xdist adds it
        elif self._looked_at_everything():
            record = {
                "digest": self.digest,
                "claims": self.claims,
                "outcomes": {name: self.outcomes[name] for name in sorted(self.outcomes) if name in self.claims},
            }
            TRACE.mkdir(parents=True, exist_ok=True)
            part = hashlib.sha256(self.config.option.markexpr.encode()).hexdigest()[:12]
            text = json.dumps(record, indent=1, sort_keys=True)
            (TRACE / f"{part}.json").write_text(text + "\n", encoding="utf-8")

    def _looked_at_everything(self) -> bool:
        option = self.config.option
        narrowed = option.keyword or option.collectonly or option.deselect or option.ignore or option.ignore_glob
        return self.config.args_source is pytest.Config.ArgsSource.TESTPATHS and not narrowed


def _claim(mark: pytest.Mark) -> Claim:
    identifier = str(mark.args[0]) if len(mark.args) == 1 else ""
    return (mark.name, identifier, "plays" if mark.name == "attack" else str(mark.kwargs.get("proves", "")))


def _problem(mark: pytest.Mark, claim: Claim, *, known: Any) -> str | None:
    _, identifier, direction = claim
    if identifier not in known:
        return f"{mark.name} {identifier or repr(mark.args)} is not in docs/requirements"
    if mark.name == "attack":
        return f"attack {identifier} takes no {sorted(mark.kwargs)}" if mark.kwargs else None
    if direction not in DIRECTIONS or set(mark.kwargs) != {"proves"}:
        return f'requirement {identifier} says neither proves="holds" nor proves="refused"'
    if direction not in known[identifier].proofs:
        return f"requirement {identifier} cannot be proved as {direction}"
    return None
