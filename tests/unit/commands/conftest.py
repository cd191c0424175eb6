"""A scratch directory after `init`, without certificates: making their keys takes a moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import CommandLine


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    line = CommandLine(directory=tmp_path)
    assert line.run("init").code == 0
    return line
