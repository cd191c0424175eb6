"""An estate of several workers and tenants: set up once a module, and copied for every test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.estate import Estate


@pytest.fixture(scope="module")
def set_up(tmp_path_factory: pytest.TempPathFactory) -> Estate:
    return Estate(tmp_path_factory.mktemp("estate"))


@pytest.fixture
async def estate(tmp_path: Path, set_up: Estate) -> AsyncIterator[Estate]:
    estate = Estate(tmp_path, like=set_up)
    yield estate
    await estate.close()
