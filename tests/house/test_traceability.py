"""The traceability of the suite: marks that lie stop the run, and a MUST without its proofs is a gap."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.requirement_rows import ROOT, Case, Row
from tests.support.trace_report import Results, judge, last_results, render, state
from tests.support.traceability import Claim

HOLDS: Final[Claim] = ("requirement", "A-1", "holds")
REFUSED: Final[Claim] = ("requirement", "A-1", "refused")
ISSUE: Final = "issue 9: the rest"


def row(identifier: str = "A-1", **members: object) -> Row:
    members = {"spec": "dpop", "source": "RFC 1", "who": "AS", "level": "M", "text": "so", **members}
    return Row(id=identifier, **members)  # type: ignore[arg-type] # a test's shorthand


def results(**tests: tuple[str, list[Claim]]) -> Results:
    return Results(
        claims={name: claims for name, (_, claims) in tests.items()},
        outcomes={name: outcome for name, (outcome, _) in tests.items()},
    )


def failures(found: Results, *rows: Row, cases: tuple[Case, ...] = ()) -> list[str]:
    return judge(found, {one.id: one for one in rows}, {case.id: case for case in cases}).failures


def test_a_must_with_both_proofs_is_proved() -> None:
    found = results(right=("passed", [HOLDS]), broken=("passed", [REFUSED]))
    assert failures(found, row()) == []
    assert state(row(), judge(found, {"A-1": row()}, {})) == "proved"


@pytest.mark.parametrize("level", ["M", "H"])
@pytest.mark.parametrize("claim", [HOLDS, REFUSED])
def test_a_must_with_one_proof_is_a_gap(level: str, claim: Claim) -> None:
    assert failures(results(one=("passed", [claim])), row(level=level)) != []


@pytest.mark.parametrize("level", ["S", "m"])
def test_what_should_or_may_be_is_no_gap(level: str) -> None:
    assert failures(results(), row(level=level)) == []


def test_a_row_that_a_later_issue_owns_is_no_gap_and_its_proofs_are_early() -> None:
    found = results(right=("passed", [HOLDS]), broken=("passed", [REFUSED]))
    owned = row(owner=ISSUE)
    assert failures(results(), owned) == []
    assert state(owned, judge(found, {"A-1": owned}, {})) == "early"


def test_a_row_that_can_only_hold_needs_one_proof() -> None:
    assert failures(results(right=("passed", [HOLDS])), row(proofs=("holds",))) == []


@pytest.mark.parametrize("outcome", ["failed", "skipped", "xfailed"])
def test_a_marked_test_that_did_not_pass_fails_the_trace(outcome: str) -> None:
    found = results(one=(outcome, [HOLDS]))
    assert failures(found, row(owner=ISSUE)) == [f"one: {outcome}"]


def test_a_marked_test_that_never_ran_fails_the_trace() -> None:
    found = results(one=("passed", [HOLDS]))
    found.claims["two"] = [REFUSED]
    assert failures(found, row(owner=ISSUE)) == ["two: never run"]
    assert not found.complete


def test_one_proof_for_two_rules_fails_the_trace() -> None:
    found = results(one=("passed", [HOLDS, ("requirement", "B-1", "holds")]))
    (failure,) = failures(found, row(owner=ISSUE), row("B-1", owner=ISSUE))
    assert "one proof for different rules: A-1, B-1" in failure


def test_one_happy_path_holds_for_every_row_of_its_party_that_asks_for_no_more() -> None:
    rows = [row("A-1", owner=ISSUE), *(row(f"B-{n}", owner=ISSUE, happy_path=True) for n in (1, 2))]
    claims: list[Claim] = [("requirement", one.id, "holds") for one in rows]
    assert failures(results(one=("passed", claims)), *rows) == []
    assert len(failures(results(one=("passed", [(*claim[:2], "refused") for claim in claims])), *rows)) == 1
    another_party = row("B-3", owner=ISSUE, happy_path=True, who="CL")
    claims.append(("requirement", "B-3", "holds"))
    assert len(failures(results(one=("passed", claims)), *rows, another_party)) == 1


def test_one_test_is_not_both_proofs_of_a_row() -> None:
    (failure,) = failures(results(one=("passed", [HOLDS, REFUSED])), row(owner=ISSUE))
    assert "both directions of A-1" in failure


def test_one_proof_for_a_rule_that_two_documents_state_is_fine() -> None:
    found = results(one=("passed", [HOLDS, ("requirement", "B-1", "holds")]))
    assert failures(found, row(owner=ISSUE), row("B-1", owner=ISSUE, same_rule_as=("A-1",))) == []


def test_a_case_without_an_owner_must_be_played() -> None:
    case = Case(id="PAR-01", title="nothing")
    assert failures(results(), cases=(case,)) == ["attack PAR-01 is played by no test"]
    assert failures(results(one=("passed", [("attack", "PAR-01", "plays")])), cases=(case,)) == []


def test_the_same_results_give_the_same_page() -> None:
    rows = {"DPOP-1": row("DPOP-1", owner=ISSUE)}
    first = results(b=("passed", [("requirement", "DPOP-1", "holds")]), a=("passed", []))
    second = Results(claims=dict(reversed(first.claims.items())), outcomes=dict(reversed(first.outcomes.items())))
    assert render(judge(first, rows, {}), rows, {}) == render(judge(second, rows, {}), rows, {})


def test_results_of_other_sources_are_not_used(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"digest": "x", "claims": {"t": []}, "outcomes": {"t": "passed"}}', "utf-8")
    assert last_results("x", tmp_path).complete
    assert not last_results("y", tmp_path).complete


LIES: Final = {
    'requirement("FAPI2-AS-999", proves="holds")': "requirement FAPI2-AS-999 is not in docs/requirements",
    'requirement("FAPI2-AS-9")': 'requirement FAPI2-AS-9 says neither proves="holds" nor proves="refused"',
    'requirement("DPOP-1", proves="works")': 'requirement DPOP-1 says neither proves="holds" nor proves="refused"',
    'requirement("FAPI2-NET-13", proves="refused")': "requirement FAPI2-NET-13 cannot be proved as refused",
    'attack("PAR-999")': "attack PAR-999 is not in docs/requirements",
    'attack("FAPI2-AS-9")': "attack FAPI2-AS-9 is not in docs/requirements",
    "attack()": "attack () is not in docs/requirements",
    'attack("PAR-01", proves="holds")': "attack PAR-01 takes no ['proves']",
}
TWICE: Final = 'attack("PAR-02")'


@pytest.mark.parametrize("workers", ["0", "2"])
def test_marks_that_lie_stop_the_run(tmp_path: Path, workers: str) -> None:
    planted = ["import pytest"]
    for number, mark in enumerate([*LIES, TWICE]):
        times = 2 if mark == TWICE else 1
        planted.append(f"@pytest.mark.{mark}\n" * times + f"def test_{number}():\n    pass")
    (tmp_path / "test_planted.py").write_text("\n\n".join(planted) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-c", "pyproject.toml", "--rootdir", ".", "-n", workers]
    answer = subprocess.run(
        [*command, "-o", f"cache_dir={tmp_path}/cache", str(tmp_path / "test_planted.py")],
        cwd=ROOT,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode != 0
    assert "passed" not in answer.stdout
    for says in [*LIES.values(), "PAR-02 is claimed twice as plays"]:
        assert says in answer.stdout
