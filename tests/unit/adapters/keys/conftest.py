"""A keyring over a fresh file, on a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fapi_as.adapters.keys import Keyring
from fapi_as.adapters.store import migrate
from tests.support.fakes import FrozenClock
from tests.support.keyring_scene import opened


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "store.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def keyring(path: Path, clock: FrozenClock) -> Iterator[Keyring]:
    keyring = opened(path, clock)
    yield keyring
    keyring.close()
