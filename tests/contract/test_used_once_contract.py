"""The contract of replay stores, as an author of one runs it: both of ours keep it, and faulty ones are caught."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.adapters.used_once_sqlite import SqliteUsedOnce
from rs_kit.ports import UsedOnce
from rs_kit.protocol.errors import Unavailable
from rs_kit.testing import UsedOnceContract
from tests.support.requirement_rows import ROOT


@contextlib.asynccontextmanager
async def giving(store: UsedOnce) -> AsyncIterator[UsedOnce]:
    yield store


class TestMemory(UsedOnceContract):
    def opened(self) -> AbstractAsyncContextManager[UsedOnce]:
        return giving(MemoryUsedOnce())

    def failing(self) -> AbstractAsyncContextManager[UsedOnce]:
        return giving(MemoryUsedOnce(limit=0))


class TestSqlite(UsedOnceContract):
    shared = True

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "used-once.db"

    def opened(self) -> AbstractAsyncContextManager[UsedOnce]:
        return contextlib.aclosing(SqliteUsedOnce(self.path))

    @contextlib.asynccontextmanager
    async def failing(self) -> AsyncIterator[UsedOnce]:
        async with contextlib.aclosing(SqliteUsedOnce(self.path)) as store:
            self.path.rename(self.path.with_suffix(".moved"))  # what is written now would be seen by nobody
            yield store


class TestMemoryAsMyOwnWithSharedState(UsedOnceContract):
    """A shared store of somebody else: two views of one set."""

    shared = True

    @pytest.fixture(autouse=True)
    def _state(self) -> None:
        self.state = MemoryUsedOnce()

    def opened(self) -> AbstractAsyncContextManager[UsedOnce]:
        return giving(self.state)

    def failing(self) -> AbstractAsyncContextManager[UsedOnce]:
        return giving(MemoryUsedOnce(limit=0))


@pytest.mark.parametrize("kind", [TestMemory, TestSqlite])
def test_the_namespace_counts_in_each_of_our_stores(kind: type[TestMemory | TestSqlite], tmp_path: Path) -> None:
    suite = kind()
    suite.path = tmp_path / "used-once.db"  # type: ignore[union-attr] # of the one that has a file
    suite.test_another_proof_is_another_use()


class LooksFirst(MemoryUsedOnce):
    """Asks, waits for the answer, and then writes."""

    __slots__ = ("_seen",)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._seen: set[tuple[str, bytes]] = set()

    async def take(self, namespace: str, digest: bytes, *, until: int, now: int) -> bool:
        known = (namespace, digest) in self._seen
        await asyncio.sleep(0)
        self._seen.add((namespace, digest))
        return not known


class SaysYes:
    async def take(self, namespace: str, digest: bytes, *, until: int, now: int) -> bool:
        return True


class SaysNo:
    async def take(self, namespace: str, digest: bytes, *, until: int, now: int) -> bool:
        return False


class MakesRoom:
    """Forgets the oldest when it holds many, as caches do."""

    def __init__(self) -> None:
        self._taken: OrderedDict[tuple[str, bytes], int] = OrderedDict()

    async def take(self, namespace: str, digest: bytes, *, until: int, now: int) -> bool:
        if (namespace, digest) in self._taken:
            return False
        self._taken[namespace, digest] = until
        if len(self._taken) > 1000:
            self._taken.popitem(last=False)
        return True


class Forgets:
    """Forgets by the clock, `early` seconds before the end, and does not remember that it did."""

    def __init__(self, early: int) -> None:
        self._early = early
        self._taken: dict[tuple[str, bytes], int] = {}

    async def take(self, namespace: str, digest: bytes, *, until: int, now: int) -> bool:
        if len(self._taken) > 1000:
            self._taken = {use: end for use, end in self._taken.items() if end - self._early >= now}
        if (namespace, digest) in self._taken:
            return False
        self._taken[namespace, digest] = until
        return True


class CountsByEnd(MemoryUsedOnce):
    __slots__ = ()

    async def take(self, namespace: str, digest: bytes, *, until: int, now: int) -> bool:
        return await super().take(namespace, digest + b"%d" % until, until=until, now=now)


class CountsForAll(MemoryUsedOnce):
    __slots__ = ()

    async def take(self, namespace: str, digest: bytes, *, until: int, now: int) -> bool:
        return await super().take("", digest, until=until, now=now)


class FailsOpen(MemoryUsedOnce):
    """Lets everybody in while it cannot tell, so that the service goes on."""

    __slots__ = ()

    async def take(self, namespace: str, digest: bytes, *, until: int, now: int) -> bool:
        try:
            return await super().take(namespace, digest, until=until, now=now)
        except Unavailable:
            return True


class FailsAsReplay(MemoryUsedOnce):
    __slots__ = ()

    async def take(self, namespace: str, digest: bytes, *, until: int, now: int) -> bool:
        try:
            return await super().take(namespace, digest, until=until, now=now)
        except Unavailable:
            return False


FAULTY: dict[str, tuple[Any, Any, bool, set[str]]] = {  # opened, failing, shared, and the tests that catch it
    "accepts twice at once": (LooksFirst, None, False, {"test_of_many_at_once_exactly_one_is_first"}),
    "accepts everything": (
        SaysYes,
        None,
        False,
        {
            "test_the_first_use_counts_and_no_other",
            "test_another_proof_is_another_use",
            "test_another_end_does_not_make_it_another_proof",
            "test_of_many_at_once_exactly_one_is_first",
            "test_nothing_is_forgotten_early",
            "test_a_clock_that_steps_back_brings_nothing_back",
        },
    ),
    "forgets the oldest": (
        MakesRoom,
        None,
        False,
        {"test_nothing_is_forgotten_early", "test_a_clock_that_steps_back_brings_nothing_back"},
    ),
    "forgets a second early": (
        lambda: Forgets(early=1),
        None,
        False,
        {"test_nothing_is_forgotten_early", "test_a_clock_that_steps_back_brings_nothing_back"},
    ),
    "forgets what the clock brings back": (
        lambda: Forgets(early=0),
        None,
        False,
        {"test_a_clock_that_steps_back_brings_nothing_back"},
    ),
    "answers yes when it fails": (
        MemoryUsedOnce,
        lambda: FailsOpen(limit=0),
        False,
        {"test_what_cannot_be_told_is_no_yes"},
    ),
    "answers no when it fails": (
        MemoryUsedOnce,
        lambda: FailsAsReplay(limit=0),
        False,
        {"test_what_cannot_be_told_is_no_yes"},
    ),
    "counts another end as another proof": (
        CountsByEnd,
        None,
        False,
        {"test_another_end_does_not_make_it_another_proof"},
    ),
    "counts for all resources together": (CountsForAll, None, False, {"test_another_proof_is_another_use"}),
    "is not shared": (
        MemoryUsedOnce,
        None,
        True,
        {"test_of_many_at_once_exactly_one_is_first", "test_what_one_worker_takes_is_taken_for_all"},
    ),
}


@pytest.mark.parametrize(("opened", "failing", "is_shared", "catches"), FAULTY.values(), ids=FAULTY)
def test_a_faulty_store_is_caught_by_the_tests_that_name_its_fault(
    opened: Any, failing: Any, is_shared: bool, catches: set[str]
) -> None:
    class OfTheFaulty(UsedOnceContract):
        shared = is_shared

        def opened(self) -> AbstractAsyncContextManager[UsedOnce]:
            return giving(opened())

        def failing(self) -> AbstractAsyncContextManager[UsedOnce]:
            return giving((failing or (lambda: MemoryUsedOnce(limit=0)))())

    caught = set()
    for name in [name for name in dir(UsedOnceContract) if name.startswith("test_")]:
        try:
            getattr(OfTheFaulty(), name)()
        except AssertionError:
            caught.add(name)
    assert caught == catches


def test_a_store_that_refuses_everything_is_no_store() -> None:
    class OfTheRefusing(UsedOnceContract):
        def opened(self) -> AbstractAsyncContextManager[UsedOnce]:
            return giving(SaysNo())

    with pytest.raises(AssertionError, match="never used"):
        OfTheRefusing().test_the_first_use_counts_and_no_other()


def test_whoever_forgets_to_say_which_store_is_told() -> None:
    for test in (
        UsedOnceContract().test_the_first_use_counts_and_no_other,
        UsedOnceContract().test_what_cannot_be_told_is_no_yes,
    ):
        with pytest.raises(NotImplementedError):
            test()


AUTHORS_OWN = """
import contextlib
from rs_kit.protocol.errors import Unavailable
from rs_kit.testing import UsedOnceContract

class Store:
    def __init__(self, limit=10**6):
        self.taken, self.limit = {}, limit

    async def take(self, namespace, digest, *, until, now):
        if len(self.taken) >= self.limit:
            raise Unavailable("full")
        known = (namespace, digest) in self.taken
        self.taken[namespace, digest] = until
        return ANSWER

class TestStore(UsedOnceContract):
    @contextlib.asynccontextmanager
    async def opened(self):
        yield Store()

    @contextlib.asynccontextmanager
    async def failing(self):
        yield Store(limit=0)
"""


@pytest.mark.parametrize(("answer", "told"), [("not known", "8 passed"), ("True", "6 failed, 2 passed")])
def test_an_author_runs_it_with_pytest_alone(tmp_path: Path, answer: str, told: str) -> None:
    file = tmp_path / "test_my_store.py"
    file.write_text(AUTHORS_OWN.replace("ANSWER", answer), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert f"\n{told} in " in done.stdout, done.stdout
