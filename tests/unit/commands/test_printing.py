"""What is printed: plain columns for a pipe, a table for a terminal, and nothing that a terminal would obey."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from fapi_as.commands import printing

HOSTILE = "a\x1b[2J\r\n\u202e\u200bforged"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (True, "yes"),
        (False, "no"),
        (7, "7"),
        (["a", "b"], "a b"),
        ("Été 代理", "Été 代理"),
        (HOSTILE, "a\\x1b[2J\\r\\n\\u202e\\u200bforged"),
        ("\ud800", "\\ud800"),
    ],
)
def test_every_value_becomes_one_visible_line(value: object, shown: str) -> None:
    assert printing.visible(value) == shown


def test_times_are_shown_as_dates_and_kept_as_numbers_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": 1, "at": 1_800_000_000, "gone_from": None}]
    printing.print_rows(rows, ("id", "at", "gone_from"), as_json=False)
    assert capsys.readouterr().out.splitlines()[1].split() == ["1", "2027-01-15", "08:00:00Z", "-"]
    printing.print_rows(rows, ("id",), as_json=True)
    assert json.loads(capsys.readouterr().out) == rows


def test_columns_are_aligned_and_hostile_text_stays_in_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    printing.print_rows([{"name": HOSTILE, "more": "x"}, {"name": "b", "more": "y"}], ("name", "more"), as_json=False)
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.index("more") == first.index("x", 30) == second.index("y")
    assert "\x1b" not in first


def test_members_are_shown_one_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    printing.print_members({"name": "Bank", "scopes": {"a": "b"}, "enabled": True}, as_json=False)
    assert capsys.readouterr().out == 'name     Bank\nscopes   {"a": "b"}\nenabled  yes\n'


def test_on_a_terminal_there_is_a_table_in_which_nothing_is_markup() -> None:
    ours, theirs = pty.openpty()
    program = (
        "from fapi_as.commands.printing import print_rows; "
        f"print_rows([{{'name': '[red]x[/red]', 'more': {HOSTILE!r}}}], ('name', 'more'), as_json=False)"
    )
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    try:
        subprocess.run([sys.executable, "-c", program], stdout=theirs, check=True, timeout=60, env=environ)
        shown = os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "[red]x[/red]" in shown
    assert "a\\x1b[2J" in shown
    assert "\x1b[2J" not in shown
