"""docs/requirements is well formed, and says what the original tables say where these lie beside the repository."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

import pytest

from tests.support.requirement_rows import (
    FOLDER,
    ROOT,
    BadManifest,
    load_cases,
    load_rows,
    same_rule,
    spec_files,
    without_owner,
)

ORIGINALS: Final = ROOT.parent / "shared"
SPECS: Final = tomllib.loads((FOLDER / "SPECS.toml").read_text(encoding="utf-8"))
A_ROW: Final = '[A-1]\nsource = "RFC 1 §2"\nwho = "AS"\nlevel = "M"\ntext = "so"\nowner = "issue 3"\n'


def originals(name: str) -> Path:
    path = ORIGINALS / name
    if not path.exists():
        pytest.skip(f"the original tables are not beside the repository ({name}): nothing was compared")
    return path


def cells(line: str) -> list[str]:
    """The cells of one line of a table; a bar in code or behind a backslash is text."""
    return [cell.strip() for cell in re.findall(r"((?:`[^`]*`|\\\||[^|])*)\|", line.strip().removeprefix("|"))]


def original_rows(path: Path) -> dict[str, tuple[str, str]]:
    """Who and level of every numbered row of one table file."""
    found: dict[str, tuple[str, str]] = {}
    header: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            header = []
        elif not header:
            header = cells(line)
        elif header[0] == "ID" and not line.startswith("|---"):
            row = dict(zip(header, cells(line), strict=False))
            level = re.match(r"\[([MSmH])\]", row.get("Requirement", ""))
            found[row["ID"]] = (row.get("Who", "ALL"), level[1] if level else "")
    return found


def test_every_row_has_a_source_that_specs_toml_knows() -> None:
    unknown = [
        (row.id, part)
        for row in load_rows().values()
        for part in row.source.split("; ")
        if not re.match(r"RFC \d+", part) and not any(part.startswith(name) for name in SPECS)
    ]
    assert unknown == []


def test_every_text_is_there_and_short_enough_to_be_read() -> None:
    assert [row.id for row in load_rows().values() if not 2 < len(row.text) < 700] == []
    assert [case.id for case in load_cases().values() if not 2 < len(case.title) < 200] == []


def test_the_rows_are_those_of_the_original_tables() -> None:
    folder = originals("specs")
    theirs = {path.stem: original_rows(path) for path in sorted(folder.glob("*.md")) if path.name != "README.md"}
    assert {path.stem for path in spec_files()} == set(theirs)
    ours = load_rows()
    assert {(row.spec, row.id) for row in ours.values()} == {(s, i) for s, rows in theirs.items() for i in rows}
    for identifier, (who, level) in ((i, row) for rows in theirs.values() for i, row in rows.items()):
        assert ours[identifier].who == who
        if level:
            assert ours[identifier].level == level, identifier
        else:
            assert ours[identifier].must, identifier


def test_the_cases_are_those_of_the_original_catalogue() -> None:
    text = originals("attacks/catalogue.md").read_text(encoding="utf-8").partition("\n## 2.")[0]
    assert set(load_cases()) == set(re.findall(r"(?m)^\| ([A-Z]{3}-\d+[a-z]?) \|", text))


@pytest.mark.parametrize(
    "text",
    [
        A_ROW + 'note = "?"\n',
        A_ROW.replace('who = "AS"\n', ""),
        A_ROW.replace('"M"', '"MUST"'),
        A_ROW + 'proofs = ["both"]\n',
        A_ROW + 'same_rule_as = ["A-2"]\n',
    ],
    ids=["unknown member", "missing member", "level", "proofs", "same rule as nothing"],
)
def test_a_row_that_cannot_be_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.toml").write_text(text, encoding="utf-8")
    with pytest.raises(BadManifest):
        load_rows(tmp_path)


def test_an_id_that_stands_in_two_files_is_refused(tmp_path: Path) -> None:
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text(A_ROW, encoding="utf-8")
    with pytest.raises(BadManifest):
        load_rows(tmp_path)


def test_rows_state_one_rule_when_one_of_them_is_tied_to_all_the_others(tmp_path: Path) -> None:
    b = A_ROW.replace("A-1", "B-1") + 'same_rule_as = ["A-1", "C-1"]\n'
    others = [A_ROW.replace("A-1", name) for name in ("C-1", "D-1")]
    (tmp_path / "a.toml").write_text("".join([A_ROW, b, *others]), encoding="utf-8")
    rows = load_rows(tmp_path)
    for one_rule in ([], ["A-1"], ["A-1", "B-1"], ["C-1", "B-1"], ["A-1", "B-1", "C-1"]):
        assert same_rule(one_rule, rows)
    for several in (["A-1", "C-1"], ["A-1", "D-1"], ["A-1", "B-1", "D-1"]):
        assert not same_rule(several, rows)


def test_an_owner_is_dropped_and_nothing_else_changes() -> None:
    other = A_ROW.replace("A-1", "A-12")
    assert without_owner(A_ROW + "\n" + other, {"A-1"}) == A_ROW.replace('owner = "issue 3"\n', "") + "\n" + other
