"""One server for the whole folder, a test for every variant that its row applies to, and the table at the end."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.expectations import coverage_table
from tests.expectations.certification import Certification, certification
from tests.expectations.conforming_client import ConformingClient
from tests.expectations.table import EXPECTATIONS, runnable
from tests.expectations.variants import VARIANTS, Variant
from tests.expectations.waiting import Waiting, waiting

_WHOLE = {Path("tests"), Path("tests/expectations")}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def suite(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Certification]:
    """The server, its clients and its clock; tests move the clock forward only."""
    gc.freeze()  # as a worker does: thousands of collected tests need not be looked at again and again
    async with certification(tmp_path_factory.mktemp("expectations")) as running:
        yield running
    gc.unfreeze()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def begun(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Waiting]:
    """A real process at which something was begun that needs time."""
    async with waiting(tmp_path_factory.mktemp("waiting")) as started:
        yield started


@pytest.fixture(scope="session", autouse=True)
def begin_early(request: pytest.FixtureRequest) -> None:
    """The time that others take is the time that is waited for."""
    if any(map(_is_in_real_time, request.session.items)):
        request.getfixturevalue("begun")


@pytest.fixture
def client(suite: Certification, variant: Variant) -> ConformingClient:
    """The suite's first client of the variant."""
    return suite.client(variant)


@pytest.fixture
def second(suite: Certification, variant: Variant) -> ConformingClient:
    """The suite's second client of the variant."""
    return suite.client(variant, 2)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test of a row runs in every variant that the row applies to and that can be run."""
    rows = [EXPECTATIONS[mark.args[0]] for mark in metafunc.definition.iter_markers("expectation")]
    if not rows or "variant" not in metafunc.fixturenames:
        return
    variants = runnable(rows[0])
    assert all(runnable(row) == variants for row in rows), f"{metafunc.function.__name__}: rows of different variants"
    metafunc.parametrize("variant", variants, ids=str)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The server lives in one loop, so its tests run there; whoever waits for real time comes last."""
    items[:] = [item for item in items if not _waits(item)]
    for item in items:
        if item.get_closest_marker("expectation") is not None:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
    items.sort(key=_is_in_real_time)


def _is_in_real_time(item: pytest.Item) -> bool:
    return item.get_closest_marker("expectation") is not None and item.name.startswith("test_in_real_time_")


def _waits(item: pytest.Item) -> bool:
    """Whether no variant of its row can be run today; the table says so, and nothing is skipped."""
    callspec = getattr(item, "callspec", None)
    return callspec is not None and not isinstance(callspec.params.get("variant", VARIANTS[0]), Variant)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remember what became of each row in each variant."""
    report = yield
    coverage_table.remember(item, report)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A cell that a run of the whole folder did not fill is a hole."""
    whole = all(Path(argument) in _WHOLE for argument in session.config.args) and not session.config.option.keyword
    if whole and coverage_table.not_run() and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table where this folder was asked for, and elsewhere what is wrong with it."""
    asked = any("expectations" in str(argument) for argument in terminalreporter.config.args)
    for line in coverage_table.lines() if asked else coverage_table.complaints():
        terminalreporter.write_line(line)
