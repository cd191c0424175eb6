"""What a command prints: JSON for programs, columns for people, colour only for a terminal.

Text from outside (names, private reasons) is made visible before it reaches a terminal, so that no escape sequence in
it is obeyed and no line break forges a row.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import click

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
Row = Mapping[str, object]


def visible(value: object) -> str:
    """One line of text in which every control and format character is spelt out."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple | set | frozenset):
        return " ".join(visible(item) for item in value)
    return "".join(_spelt(character) for character in str(value))


def _spelt(character: str) -> str:
    if unicodedata.category(character) not in _INVISIBLE:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def moment(seconds: object) -> str:
    """A NumericDate for people."""
    if not isinstance(seconds, int):
        return "-"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def print_json(document: object) -> None:
    """One JSON document, indented, ASCII only."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=True))


def confirm(document: Row, sentence: str, *, as_json: bool) -> None:
    """What was done: a JSON object, or a sentence."""
    if as_json:
        print_json(dict(document))
    else:
        click.echo(visible(sentence))


def print_rows(rows: Sequence[Row], columns: Sequence[str], *, as_json: bool) -> None:
    """Rows as a JSON array, or as a table with a heading."""
    if as_json:
        print_json([dict(row) for row in rows])
        return
    cells = [[_cell(name, row.get(name)) for name in columns] for row in rows]
    headings = [name.replace("_", " ") for name in columns]
    if sys.stdout.isatty():
        _print_table(headings, cells)
        return
    widths = [max(len(line[index]) for line in (headings, *cells)) for index in range(len(columns))]
    for line in (headings, *cells):
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def print_members(document: Row, *, as_json: bool) -> None:
    """One thing: a JSON object, or a line per member."""
    if as_json:
        print_json(dict(document))
        return
    width = max((len(name) for name in document), default=0)
    for name, value in document.items():
        click.echo(f"{name.ljust(width)}  {_cell(name, value)}")


def _cell(name: str, value: object) -> str:
    if name == "at" or name.endswith(("_at", "_from", "_until")):
        return moment(value)
    if isinstance(value, Mapping):
        return visible(json.dumps(value, ensure_ascii=False))
    return visible(value)


def _print_table(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for line in cells:
        table.add_row(*(Text(text) for text in line))  # Text: nothing in it is read as markup
    Console().print(table)
