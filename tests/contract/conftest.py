"""The stores that the contract suite judges."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fapi_as.adapters.keys import Sealing
from fapi_as.adapters.store import Approvals, Database, Operators, migrate
from tests.support.store_harness import Harness, MemoryHarness, SqliteHarness


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteHarness]:
    url = f"sqlite:///{tmp_path}/store.db"
    migrate(url)
    database = Database.open(url, sealing=Sealing(b"s" * 32))
    try:
        yield SqliteHarness(database, Operators.open(url, "default"), Approvals.open(url, "default"))
    finally:
        await database.close()


@pytest.fixture(params=["memory", "sqlite"])
def harness(request: pytest.FixtureRequest) -> Harness:
    if request.param == "memory":
        return MemoryHarness()
    found: Harness = request.getfixturevalue("sqlite")
    return found
