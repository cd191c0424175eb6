"""What holds around every test: an attack is judged by the global oracles of the catalogue as well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.oracles import Oracles, watching

# on a fresh clone the first draw builds tables of characters, and a busy machine takes its time; whatever is about time
# here measures it by itself
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


_ALONE = ("tests/system/", "tests/faults/", "tests/browser/")  # real processes, and many of them measure


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the machine to itself is marked: `make test` runs the rest in several processes before it."""
    for item in items:
        if item.nodeid.startswith(_ALONE):
            item.add_marker(pytest.mark.alone)


@pytest.fixture(autouse=True)
def oracles(request: pytest.FixtureRequest) -> Iterator[Oracles | None]:
    """The oracles of a test that is marked as an attack; None around every other."""
    if request.node.get_closest_marker("attack") is None:
        yield None
        return
    with watching() as watch:
        yield watch
    watch.judge()
