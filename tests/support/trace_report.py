"""`make trace`: docs/traceability.md from what the marked tests showed, and an honest exit code.

Takes the results of the last runs over the whole suite when no source changed since, and runs the marked tests
otherwise. Fails on a MUST row without its proofs, on a marked test that was skipped, expected to fail or failed, and on
one proof that is claimed for different rules (docs/decisions/0003).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.requirement_rows import (
    DIRECTIONS,
    FOLDER,
    ROOT,
    Case,
    Row,
    load_cases,
    load_rows,
    one_party,
    same_rule,
    spec_files,
    title,
    without_owner,
)
from tests.support.traceability import TRACE, Claim, source_digest

REPORT: Final = ROOT / "docs" / "traceability.md"
_DESCRIPTION: Final = "Write docs/traceability.md from what the marked tests showed."
MARKED: Final = "requirement or attack"


@dataclass(slots=True)
class Results:
    """What every marked test claims, and how it ended."""

    claims: dict[str, list[Claim]] = field(default_factory=dict)
    outcomes: dict[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every claim has an outcome."""
        return bool(self.claims) and set(self.claims) <= set(self.outcomes)

    def passed(self, kind: str, identifier: str, direction: str) -> list[str]:
        """The tests that prove this, without their parameters."""
        wanted = (kind, identifier, direction)
        return sorted(
            {
                _bare(test)
                for test, claims in self.claims.items()
                if self.outcomes.get(test) == "passed" and wanted in claims
            }
        )


@dataclass(slots=True)
class Verdict:
    """The rows by what is known of them, and everything that makes `make trace` fail."""

    proved: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    gaps: dict[str, list[str]] = field(default_factory=dict)
    played: dict[str, list[str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def last_results(digest: str, folder: Path = TRACE) -> Results:
    """What the runs over the whole suite showed that saw exactly these sources."""
    results = Results()
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["digest"] == digest:
            results.claims |= {test: [tuple(claim) for claim in claims] for test, claims in record["claims"].items()}
            results.outcomes |= record["outcomes"]
    return results


def judge(results: Results, rows: dict[str, Row], cases: dict[str, Case]) -> Verdict:
    """Compare what is claimed and shown with what is asked."""
    verdict = Verdict()
    for row in rows.values():
        shown = {direction: results.passed("requirement", row.id, direction) for direction in row.proofs}
        missing = [direction for direction, tests in shown.items() if not tests]
        if not missing or any(shown.values()):
            verdict.proved[row.id] = shown
        if missing and row.must and row.owner is None:
            verdict.gaps[row.id] = missing
            verdict.failures.append(f"{row.id} ({row.spec}) has no proof: {', '.join(missing)}")
    for case in cases.values():
        tests = results.passed("attack", case.id, "plays")
        if tests:
            verdict.played[case.id] = tests
        elif case.owner is None:
            verdict.gaps[case.id] = ["plays"]
            verdict.failures.append(f"attack {case.id} is played by no test")
    for test in sorted(results.claims):
        if (outcome := results.outcomes.get(test, "never run")) != "passed":
            verdict.failures.append(f"{test}: {outcome}")
    verdict.failures += [f"{test}: one proof for {found}" for test, found in _shared(results, rows)]
    return verdict


def _shared(results: Results, rows: dict[str, Row]) -> Iterable[tuple[str, str]]:
    """Every proof that is claimed for more than it can show."""
    for test, claims in sorted(results.claims.items()):
        holds, refused = (
            sorted(name for kind, name, towards in claims if kind == "requirement" and towards == direction)
            for direction in DIRECTIONS
        )
        own = [name for name in holds if not rows[name].happy_path]
        if not (same_rule(holds, rows) or (same_rule(own, rows) and one_party(holds, rows))):
            yield test, f"different rules: {', '.join(holds)} (holds)"
        if not same_rule(refused, rows):
            yield test, f"different rules: {', '.join(refused)} (refused)"
        if both := sorted(set(holds) & set(refused)):
            yield test, f"both directions of {', '.join(both)}"


def render(verdict: Verdict, rows: dict[str, Row], cases: dict[str, Case]) -> str:
    """docs/traceability.md; the same results give the same bytes."""
    lines = [
        "# Traceability",
        "",
        "Generated by `make trace` from `docs/requirements` and the marks of the tests; do not edit.",
        "",
        "A MUST row ([M], and [H], which counts as [M]) is proved when one test shows that it holds and another that",
        "the violation is refused. [S] and [m] rows are optional. What is not proved yet names the issue or feature",
        "that will prove it.",
        "",
        "| specification | rows | proved | of these early | partly | not yet | optional | gaps |",
        "|---|---|---|---|---|---|---|---|",
    ]
    sections: list[str] = []
    total: Counter[str] = Counter()
    for path in spec_files():
        own = [row for row in rows.values() if row.spec == path.stem]
        states = Counter(state(row, verdict) for row in own)
        total += states
        lines.append(f"| [{path.stem}](#{path.stem}) | {len(own)} | {_counts(states)} |")
        sections += _section(path.stem, own, verdict)
    lines.append(f"| **all** | {len(rows)} | {_counts(total)} |")
    played = sum(1 for case in cases.values() if case.id in verdict.played)
    open_cases = sum(1 for case in cases.values() if case.id not in verdict.played and case.owner is not None)
    lines += ["", f"Attack cases: {len(cases)}, of which {played} are played and {open_cases} not yet.", ""]
    return "\n".join([*lines, *sections, *_attacks(cases, verdict)]) + "\n"


def state(row: Row, verdict: Verdict) -> str:
    """What is known of one row."""
    shown = verdict.proved.get(row.id)
    if row.id in verdict.gaps:
        return "gap"
    if shown is None:
        return "optional" if row.owner is None else "not yet"
    if not all(shown.values()):
        return "partly"
    return "proved" if row.owner is None else "early"


def _counts(states: Counter[str]) -> str:
    figures = [
        states["proved"] + states["early"],
        states["early"],
        states["partly"],
        states["not yet"],
        states["optional"],
        states["gap"],
    ]
    return " | ".join(str(figure) for figure in figures)


def _section(spec: str, rows: list[Row], verdict: Verdict) -> list[str]:
    lines = [f'<a id="{spec}"></a>', "", f"## {title(spec)}", ""]
    if gaps := [row for row in rows if row.id in verdict.gaps]:
        lines += ["Gaps:", "", *(f"- {row.id}: no proof {verdict.gaps[row.id]}: {row.text}" for row in gaps), ""]
    for heading, wanted in (("Proved", ("proved",)), ("Proved early, or partly", ("early", "partly"))):
        if chosen := [row for row in rows if state(row, verdict) in wanted]:
            lines += [f"{heading}:", "", "| row | holds | refused | still owned by |", "|---|---|---|---|"]
            lines += [_table_row(row, verdict.proved[row.id]) for row in chosen]
            lines.append("")
    waiting: dict[str, list[str]] = {}
    for row in rows:
        if state(row, verdict) == "not yet" and row.owner is not None:
            waiting.setdefault(row.owner, []).append(row.id)
    if waiting:
        lines += [
            "Not yet applicable:",
            "",
            *(f"- {who}: {', '.join(ids)}" for who, ids in sorted(waiting.items())),
            "",
        ]
    if optional := [row.id for row in rows if state(row, verdict) == "optional"]:
        lines += [f"Optional and not proved: {', '.join(optional)}", ""]
    return lines


def _table_row(row: Row, shown: dict[str, list[str]]) -> str:
    cells = ["<br>".join(f"`{name}`" for name in shown[way]) if way in shown else "n/a" for way in ("holds", "refused")]
    return f"| {row.id} | {cells[0]} | {cells[1]} | {row.owner or ''} |"


def _attacks(cases: dict[str, Case], verdict: Verdict) -> list[str]:
    lines = ['<a id="attacks"></a>', "", "## Attack cases", ""]
    if gaps := [case for case in cases.values() if case.id in verdict.gaps]:
        lines += ["Gaps:", "", *(f"- {case.id}: {case.title}" for case in gaps), ""]
    if verdict.played:
        lines += ["| case | played by | still owned by |", "|---|---|---|"]
        for case in cases.values():
            if tests := verdict.played.get(case.id):
                lines.append(f"| {case.id} | {'<br>'.join(f'`{name}`' for name in tests)} | {case.owner or ''} |")
        lines.append("")
    waiting: dict[str, list[str]] = {}
    for case in cases.values():
        if case.id not in verdict.played and case.owner is not None:
            waiting.setdefault(case.owner, []).append(case.id)
    return [*lines, "Not yet applicable:", "", *_by_owner(waiting)]


def _by_owner(waiting: dict[str, list[str]]) -> list[str]:
    return [f"- {owner}: {', '.join(identifiers)}" for owner, identifiers in sorted(waiting.items())]


def settle(verdict: Verdict, rows: dict[str, Row], cases: dict[str, Case]) -> list[str]:
    """Drop the `owner` of every row and case that is proved now, so that losing a proof is a gap from here on."""
    settled = [row.id for row in rows.values() if state(row, verdict) == "early"]
    for path in spec_files():
        _rewrite(path, {identifier for identifier in settled if rows[identifier].spec == path.stem})
    played = [case.id for case in cases.values() if case.owner is not None and case.id in verdict.played]
    _rewrite(FOLDER / "attacks.toml", set(played))
    return [*settled, *(f"attack {identifier}" for identifier in played)]


def _rewrite(path: Path, identifiers: set[str]) -> None:
    if identifiers:
        path.write_text(without_owner(path.read_text(encoding="utf-8"), identifiers), encoding="utf-8")


def _bare(test: str) -> str:
    return test.partition("[")[0]


def main(arguments: list[str]) -> int:
    """Report, and settle when asked; 0 when nothing is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.trace_report", description=_DESCRIPTION)
    parser.add_argument("--settle", action="store_true", help="take the owner from rows that are proved now")
    asked = parser.parse_args(arguments)
    digest = source_digest()
    results, ran = last_results(digest), 0
    if results.complete:
        print("The results of the last whole run are still good: no source changed since.")
    else:
        print("Running the marked tests ...", flush=True)
        ran = subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", MARKED], cwd=ROOT, check=False).returncode
        results = last_results(digest)
    verdict = judge(results, load_rows(), load_cases())
    if ran in (0, 1):  # else nothing was collected, and there is nothing to tell
        if asked.settle:
            settled = settle(verdict, load_rows(), load_cases())
            print(f"Settled {len(settled)}: {', '.join(settled) or 'nothing'}")
            verdict = judge(results, load_rows(), load_cases())
        REPORT.write_text(render(verdict, load_rows(), load_cases()), encoding="utf-8")
        print(_summary(verdict, load_rows(), load_cases()))
    for failure in verdict.failures:
        print(f"trace: {failure}", file=sys.stderr)
    return 1 if verdict.failures or ran else 0


def _summary(verdict: Verdict, rows: dict[str, Row], cases: dict[str, Case]) -> str:
    states = Counter(state(row, verdict) for row in rows.values())
    figures = ", ".join(
        f"{states[name]} {name}" for name in ("proved", "early", "partly", "not yet", "optional", "gap")
    )
    played = f"{len(verdict.played)} of {len(cases)} attacks played"
    return f"{REPORT.relative_to(ROOT)}: {len(rows)} rows: {figures}; {played}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
