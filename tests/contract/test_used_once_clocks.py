"""Replay stores beside a wall clock that jumps: nothing comes back, and soon after it is right all is normal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rs_kit.adapters import used_once_memory, used_once_sqlite
from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.adapters.used_once_sqlite import SqliteUsedOnce
from rs_kit.ports import UsedOnce

NOW = 1_790_000_000
LIFE = 61  # how long a proof that is made now counts
HOUR = 3600


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[UsedOnce]:
    if request.param == "memory":
        yield MemoryUsedOnce()
        return
    async with contextlib.aclosing(SqliteUsedOnce(tmp_path / "used-once.db")) as store:
        yield store


async def traffic(store: UsedOnce, now: int, seconds: int) -> list[tuple[bytes, int]]:
    """Forty proofs in each second, made as they are sent; gives the first of each second with its end."""
    sent: list[tuple[bytes, int]] = []
    for second in range(now, now + seconds):
        proofs = [b"%d-%d" % (second, number) for number in range(40)]
        uses = [store.take("rs", proof, until=second + LIFE, now=second) for proof in proofs]
        assert all(await asyncio.gather(*uses))
        sent.append((proofs[0], second + LIFE))
    return sent


async def again(store: UsedOnce, sent: list[tuple[bytes, int]], now: int) -> list[bool]:
    return [await store.take("rs", proof, until=end, now=now) for proof, end in sent]


async def new(store: UsedOnce, now: int, name: bytes) -> bool:
    return await store.take("rs", b"%b-%d" % (name, now), until=now + LIFE, now=now)


async def test_after_an_hour_ahead_and_back_nothing_returns_and_new_proofs_pass_within_70_seconds(
    store: UsedOnce,
) -> None:
    before = await traffic(store, NOW, 70)
    ahead = await traffic(store, NOW + HOUR, 150)
    back = NOW + 70  # the moment at which it jumped
    assert await again(store, before, back) == [False] * len(before)
    assert await again(store, ahead, back) == [False] * len(ahead)
    normal = [await new(store, second, b"after") for second in range(back, back + 200)]
    assert all(normal[70:])
    later = NOW + HOUR  # the hour has come: what was made ahead of it would be of the right time now
    for second in range(0, 150, 10):
        assert await again(store, ahead[max(0, second - 60) : second + 1], later + second) == [False] * min(
            second + 1, 61
        )


async def test_small_steps_keep_nobody_out(store: UsedOnce) -> None:
    await traffic(store, NOW, 200)
    for step in (2, -2, 30, -30):
        assert await new(store, NOW + 200 + step, b"step %d" % step)


async def test_what_is_remembered_of_the_past_is_bounded_and_all_before_it_is_the_past(
    store: UsedOnce, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (used_once_memory, used_once_sqlite):
        monkeypatch.setattr(module, "_FORGOTTEN_KEPT", 10)
    first = await traffic(store, NOW, 3)
    for day in range(1, 30):
        await traffic(store, NOW + day * 86_400, 2)
    assert await again(store, first, NOW) == [False] * 3
    assert not await new(store, NOW + 86_400 + 5_000, b"between what was forgotten long ago")
    assert await new(store, NOW + 30 * 86_400, b"today")
