"""Mutants are data: a guard, the text that is it, what stands there without it, and the tests that must see that."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.requirement_rows import ROOT

DATA: Final = ROOT / "tests" / "mutants"
CATALOGUE: Final = "catalogue.toml"  # which of M01 to M20 wait for a feature, and why


class DoesNotApply(Exception):
    """The text of a guard is not there, or more than once: the guard has moved, and its mutant has to follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One replacement in one file, relative to the root of a tree."""

    file: str
    old: str
    new: str

    def applied(self, text: str) -> str:
        """The file's text without the guard.

        Raises:
            DoesNotApply: the guard's text is not there exactly once.
        """
        found = text.count(self.old)
        if found != 1:
            raise DoesNotApply(f"{self.file}: the text is there {found} times, not once")
        return text.replace(self.old, self.new)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A defect that nobody may bring in unseen; `case` is its name in the attack catalogue, if it has one."""

    name: str
    why: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    case: str | None = None

    def files(self, tree: Path) -> dict[Path, str]:
        """Every changed file of a tree with its new text.

        Raises:
            DoesNotApply: a guard is not where it was.
        """
        changed: dict[Path, str] = {}
        for edit in self.edits:
            path = tree / edit.file
            text = changed.get(path)
            if text is None and not path.is_file():
                raise DoesNotApply(f"{edit.file} is gone")
            changed[path] = edit.applied(path.read_text(encoding="utf-8") if text is None else text)
        return changed


def load_mutants(folder: Path = DATA) -> dict[str, Mutant]:
    """Every mutant of a folder by its name, file by file."""
    mutants = {
        name: _read(name, members)
        for path in sorted(folder.glob("*.toml"))
        if path.name != CATALOGUE
        for name, members in _tables(path).items()
    }
    if not mutants:
        raise ValueError(f"no mutants in {folder}")
    return mutants


def load_later(folder: Path = DATA) -> dict[str, str]:
    """The mutants of the catalogue that cannot be made yet, with the reason."""
    return {str(case): str(reason) for case, reason in _tables(folder / CATALOGUE).items()}


def _tables(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _read(name: str, members: Mapping[str, Any]) -> Mutant:
    unknown = set(members) - {"why", "case", "file", "old", "new", "also", "tests"}
    if unknown or not members["tests"]:
        raise ValueError(f"mutant {name}: {sorted(unknown) or 'no tests'}")
    return Mutant(
        name=name,
        why=members["why"],
        edits=tuple(_edits(members)),
        tests=tuple(f"tests/{test}" for test in members["tests"]),
        case=members.get("case"),
    )


def _edits(members: Mapping[str, Any]) -> Iterator[Edit]:
    for edit in (members, *members.get("also", ())):
        yield Edit(file=edit.get("file", members["file"]), old=edit["old"], new=edit["new"])
