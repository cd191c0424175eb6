"""The replay store of one process."""

from __future__ import annotations

import asyncio

import pytest

from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.protocol.errors import Unavailable

NOW = 1_790_000_000


@pytest.mark.attack("DPR-07")
async def test_the_second_use_is_told_so_until_its_last_second_is_over() -> None:
    store = MemoryUsedOnce()
    assert await store.take("rs", b"a", until=NOW + 60, now=NOW)
    for later in (NOW, NOW + 1, NOW + 60):
        assert not await store.take("rs", b"a", until=NOW + 60, now=later)


async def test_what_ended_is_forgotten_and_its_room_is_free_again() -> None:
    store = MemoryUsedOnce(limit=2)
    assert await store.take("rs", b"a", until=NOW + 10, now=NOW)
    assert await store.take("rs", b"b", until=NOW + 40, now=NOW)
    with pytest.raises(Unavailable):
        await store.take("rs", b"c", until=NOW + 71, now=NOW + 10)
    assert await store.take("rs", b"c", until=NOW + 71, now=NOW + 19)  # what ends within 8 seconds goes together
    assert len(store) == 2


@pytest.mark.attack("DPR-25")
async def test_a_full_store_refuses_and_keeps_what_it_holds() -> None:
    store = MemoryUsedOnce(limit=10_000)
    for number in range(10_000):
        assert await store.take("rs", number.to_bytes(4), until=NOW + 60, now=NOW)
    with pytest.raises(Unavailable):
        await store.take("rs", b"one more", until=NOW + 60, now=NOW)
    assert not await store.take("rs", (7).to_bytes(4), until=NOW + 60, now=NOW)
    assert len(store) == 10_000


async def test_the_same_digest_in_another_namespace_is_another_use() -> None:
    store = MemoryUsedOnce()
    assert await store.take("https://one.example/mcp", b"a", until=NOW + 60, now=NOW)
    assert await store.take("https://two.example/mcp", b"a", until=NOW + 60, now=NOW)


@pytest.mark.attack("RAC-03")
async def test_of_fifty_simultaneous_callers_exactly_one_is_first() -> None:
    store = MemoryUsedOnce()
    answers = await asyncio.gather(*(store.take("rs", b"a", until=NOW + 60, now=NOW) for _ in range(50)))
    assert answers.count(True) == 1
