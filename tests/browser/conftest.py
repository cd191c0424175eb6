"""Where no Chromium is found, these tests say so in one line; BROWSER=required makes that a failure."""

from __future__ import annotations

import os

import pytest

from tests.support.chromium import Chromium, NoChromium, found

_said: list[str] = []


@pytest.fixture(scope="session")
def chromium() -> Chromium:
    try:
        return found()
    except NoChromium as missing:
        if os.environ.get("BROWSER") == "required":
            raise
        _said.append(str(missing))
        pytest.skip(str(missing))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for sentence in _said[:1]:
        terminalreporter.write_line(f"The pages were not looked at in a browser: {sentence}")
