"""The rows of docs/requirements, read and checked: what the project answers to, and who will prove what is open."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "docs" / "requirements"
DIRECTIONS: Final = ("holds", "refused")
_NOT_ROWS: Final = ("SPECS.toml", "attacks.toml")
_LEVELS: Final = ("M", "S", "m", "H")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One numbered row of a specification's table.

    `proofs` are the directions that can be proved at all, `owner` the issue or feature that will prove the row,
    `same_rule_as` the rows of other documents that state this rule again, so that one test may prove them together.
    `happy_path` rows hold when the ordinary work of their party succeeds with the control on.
    """

    id: str
    spec: str
    source: str
    who: str
    level: str
    text: str
    violation: str = ""
    proofs: tuple[str, ...] = DIRECTIONS
    happy_path: bool = False
    owner: str | None = None
    same_rule_as: tuple[str, ...] = ()

    @property
    def must(self) -> bool:
        """Whether a proof in each direction is needed: [M], and [H], which counts as [M]."""
        return self.level in ("M", "H")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case of the attack catalogue."""

    id: str
    title: str
    owner: str | None = None


class BadManifest(Exception):
    """A file of docs/requirements says something that cannot be."""


def load_rows(folder: Path = FOLDER) -> dict[str, Row]:
    """Every row of every specification by its id.

    Raises:
        BadManifest: a member is unknown or missing, an id stands twice, or a row names a row that does not exist.
    """
    rows: dict[str, Row] = {}
    for path in spec_files(folder):
        for identifier, members in tomllib.loads(path.read_text(encoding="utf-8")).items():
            if identifier in rows:
                raise BadManifest(f"{identifier} stands in {rows[identifier].spec}.toml and in {path.name}")
            rows[identifier] = _row(identifier, path.stem, members)
    for row in rows.values():
        for other in row.same_rule_as:
            if other not in rows:
                raise BadManifest(f"{row.id} names {other}, which does not exist")
    return rows


def load_cases(folder: Path = FOLDER) -> dict[str, Case]:
    """Every case of the attack catalogue by its id."""
    parsed = tomllib.loads((folder / "attacks.toml").read_text(encoding="utf-8"))
    return {identifier: Case(id=identifier, **members) for identifier, members in parsed.items()}


def spec_files(folder: Path = FOLDER) -> list[Path]:
    """The files that hold rows, one per specification, in order."""
    return sorted(path for path in folder.glob("*.toml") if path.name not in _NOT_ROWS)


def title(spec: str, folder: Path = FOLDER) -> str:
    """What the first line of a file calls its specification."""
    return (folder / f"{spec}.toml").read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")


def same_rule(identifiers: Sequence[str], rows: Mapping[str, Row]) -> bool:
    """Whether these rows state one rule: `same_rule_as` ties one of them to all the others, in either direction."""

    def tied(one: str, other: str) -> bool:
        return one == other or other in rows[one].same_rule_as or one in rows[other].same_rule_as

    return len(identifiers) < 2 or any(all(tied(one, other) for other in identifiers) for one in identifiers)


def one_party(identifiers: Sequence[str], rows: Mapping[str, Row]) -> bool:
    """Whether these rows bind one party: the server, a resource server, a client."""
    bound = [set(rows[identifier].who.split(",")) for identifier in identifiers if rows[identifier].who != "ALL"]
    return not bound or bool(set.intersection(*bound))


def without_owner(text: str, identifiers: set[str]) -> str:
    """The text of a manifest in which these rows have no `owner` any more; everything else stays byte for byte."""
    pieces = re.split(r"(?m)^(?=\[)", text)
    return "".join(
        re.sub(r"(?m)^owner = .*\n?", "", piece) if piece.startswith("[") and _name(piece) in identifiers else piece
        for piece in pieces
    )


def _name(piece: str) -> str:
    return piece[1 : piece.index("]")]


def _row(identifier: str, spec: str, members: dict[str, Any]) -> Row:
    try:
        row = Row(
            id=identifier,
            spec=spec,
            **{name: tuple(value) if isinstance(value, list) else value for name, value in members.items()},
        )
    except TypeError as error:
        raise BadManifest(f"{identifier} in {spec}.toml: {error}") from error
    if row.level not in _LEVELS or not set(row.proofs) <= set(DIRECTIONS) or not isinstance(row.happy_path, bool):
        raise BadManifest(f"{identifier} in {spec}.toml: level {row.level}, proofs {row.proofs}, {row.happy_path}")
    return row
