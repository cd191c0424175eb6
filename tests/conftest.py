"""What holds around every test: an attack is judged by the global oracles of the catalogue as well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.oracles import Oracles, watching


@pytest.fixture(autouse=True)
def oracles(request: pytest.FixtureRequest) -> Iterator[Oracles | None]:
    """The oracles of a test that is marked as an attack; None around every other."""
    if request.node.get_closest_marker("attack") is None:
        yield None
        return
    with watching() as watch:
        yield watch
    watch.judge()
