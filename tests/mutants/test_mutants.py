"""`make mutants` tells the truth: what is caught, what survives, what does not apply, and what proves nothing."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from tests.mutants.campaign import BROKEN, CAUGHT, DOES_NOT_APPLY, SURVIVED, applied, baseline, copy_tree, judge_all
from tests.mutants.mutants import DoesNotApply, Edit, Mutant, load_later, load_mutants
from tests.support.requirement_rows import ROOT

MUTANTS = load_mutants()
GUARD = "tests/unit/protocol/test_pkce.py::test_another_verifier_does_not_match"
HARMLESS = Edit(
    file="fapi_as/protocol/pkce.py",
    old='"""PKCE with S256 and nothing else',
    new='"""PKCE with S256 and, as ever, nothing else',
)


def mutant(name: str, *edits: Edit, tests: tuple[str, ...] = (GUARD,)) -> Mutant:
    return Mutant(name=name, why="for this test", edits=edits, tests=tests)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return [copy_tree(tmp_path_factory.mktemp("tree")) for _ in range(2)]


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_every_mutant_applies_to_todays_sources_and_still_compiles(name: str) -> None:
    changed = MUTANTS[name].files(ROOT)
    assert changed
    for path, text in changed.items():
        assert text != path.read_text(encoding="utf-8")
        compile(text, str(path), "exec")  # what does not compile is caught by any test and shows nothing


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_every_mutant_names_tests_that_exist(name: str) -> None:
    for test in MUTANTS[name].tests:
        file, _, function = test.partition("::")
        assert re.search(rf"^(async )?def {function}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), test


def test_every_mutant_of_the_catalogue_is_made_or_waits_for_a_reason() -> None:
    made = {entry.case for entry in MUTANTS.values() if entry.case}
    later = load_later()
    assert made.isdisjoint(later)
    assert all(later.values())
    assert made | set(later) == {f"M{number:02}" for number in range(1, 21)} - {"M04", "M05"}  # these two do not exist


def test_a_removed_guard_is_caught_and_harmless_or_useless_mutants_are_told(trees: list[Path]) -> None:
    removed = MUTANTS["pkce-verifier"]
    moved = mutant("moved", Edit(file="fapi_as/protocol/pkce.py", old="no such text", new=""))
    harmless = mutant("harmless", HARMLESS)
    useless = mutant("useless", HARMLESS, tests=("tests/unit/protocol/test_pkce.py::test_that_nobody_wrote",))
    outcomes = {outcome.mutant.name: outcome for outcome in judge_all([removed, harmless, moved, useless], trees)}
    assert {name: outcome.verdict for name, outcome in outcomes.items()} == {
        "pkce-verifier": CAUGHT,
        "harmless": SURVIVED,
        "moved": DOES_NOT_APPLY,
        "useless": BROKEN,
    }
    assert removed.tests[0].endswith(outcomes["pkce-verifier"].by)


def test_tests_that_fail_anyhow_catch_nothing(trees: list[Path]) -> None:
    honest = mutant("honest", HARMLESS)
    assert baseline([honest], trees[0]) is None
    with applied(MUTANTS["pkce-verifier"], trees[0]):
        problem = baseline([honest], trees[0])
    assert problem is not None
    assert "test_another_verifier_does_not_match" in problem


def test_a_guard_is_put_back_whatever_happens_meanwhile(trees: list[Path]) -> None:
    path = trees[0] / HARMLESS.file
    before = path.read_bytes()
    seen: list[bytes] = []

    def interrupted() -> None:
        with applied(mutant("harmless", HARMLESS), trees[0]):
            seen.append(path.read_bytes())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert seen != [before]
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["one one", "none"])
def test_a_text_that_is_not_there_exactly_once_does_not_apply(text: str) -> None:
    with pytest.raises(DoesNotApply, match="not once"):
        Edit(file="x.py", old="one" if "one one" in text else "two", new="").applied(text)


def test_a_file_that_is_gone_does_not_apply(tmp_path: Path) -> None:
    with pytest.raises(DoesNotApply, match="gone"):
        mutant("gone", HARMLESS).files(tmp_path)


def test_several_edits_of_one_file_are_one_mutant(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("one two")
    edits = (Edit(file="x.py", old="one", new="1"), Edit(file="x.py", old="two", new="2"))
    assert mutant("both", *edits).files(tmp_path) == {tmp_path / "x.py": "1 2"}


def test_a_mutant_with_a_misspelt_member_or_without_tests_is_no_mutant(tmp_path: Path) -> None:
    entry = inspect.cleandoc("""
        [name]
        why = "because"
        file = "x.py"
        old = "one"
        new = "two"
    """)
    for more, problem in (('tests = ["x.py::test_x"]\nkase = "M01"', "kase"), ("tests = []", "no tests")):
        (tmp_path / "some.toml").write_text(f"{entry}\n{more}\n")
        with pytest.raises(ValueError, match=problem):
            load_mutants(tmp_path)


def test_a_folder_without_mutants_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no mutants"):
        load_mutants(tmp_path)
