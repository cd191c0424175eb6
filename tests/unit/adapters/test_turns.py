"""Turns: one by one, in the order of arrival, with a pause in which everybody else goes on."""

from __future__ import annotations

import asyncio

import pytest

from fapi_as.adapters.turns import PacedTurns
from fapi_as.protocol.errors import TooManyAtOnce

PAUSE = 0.01


@pytest.fixture
def turns() -> PacedTurns:
    return PacedTurns(pause_seconds=PAUSE, waiting_limit=3, waiting_limit_of_one=2)


def taking(turns: PacedTurns, party: str = "one") -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(turns.take(party))


async def test_whoever_comes_alone_does_not_wait(turns: PacedTurns) -> None:
    for _ in range(2):
        turn = taking(turns)
        await asyncio.sleep(0)
        assert turn.done()
        await asyncio.sleep(3 * PAUSE)


async def test_turns_come_one_by_one_in_the_order_of_arrival(turns: PacedTurns) -> None:
    loop, begun = asyncio.get_running_loop(), dict[str, float]()

    async def take(party: str) -> None:
        await turns.take(party)
        begun[party] = loop.time()

    await asyncio.gather(*(take(party) for party in "abcd"))
    assert list(begun) == ["a", "b", "c", "d"]
    assert begun["d"] - begun["a"] >= 2.5 * PAUSE  # three pauses; a process that was stopped saw the first turn late


async def test_between_two_turns_the_event_loop_is_everybodys(turns: PacedTurns) -> None:
    waiting = [taking(turns, party) for party in "abc"]
    rounds = 0
    while not all(turn.done() for turn in waiting):
        before = sum(turn.done() for turn in waiting)
        await asyncio.sleep(0)
        rounds += 1
        assert sum(turn.done() for turn in waiting) - before <= 1
    assert rounds > 3


async def test_whoever_went_away_takes_no_turn_and_no_place_from_the_others(turns: PacedTurns) -> None:
    failed: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: failed.append(what))
    await turns.take("one")
    first, gone = taking(turns), taking(turns)
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    also_gone, last = taking(turns, "other"), taking(turns)
    await asyncio.sleep(0)
    also_gone.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(first, last)  # the last one stands behind one that went away
    assert gone.cancelled()
    assert also_gone.cancelled()
    assert failed == []


async def test_who_goes_away_when_its_turn_has_come_holds_up_nobody(turns: PacedTurns) -> None:
    await turns.take("one")
    gone, last = taking(turns), taking(turns)
    await asyncio.sleep(0)
    (_, granted), _ = turns._waiting
    while not granted.done():  # noqa: ASYNC110 - the moment between a turn and its caller is nobody's to wait for
        await asyncio.sleep(0)
    gone.cancel()
    async with asyncio.timeout(5):
        await last
        await turns.take("other")
    assert gone.cancelled()


async def test_more_than_may_wait_are_refused_at_once_and_the_others_have_their_turns(turns: PacedTurns) -> None:
    await turns.take("one")
    waiting = [taking(turns, party) for party in "abc"]
    await asyncio.sleep(0)
    with pytest.raises(TooManyAtOnce, match="wait for their turn"):
        await turns.take("d")
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)
        await turns.take("d")


async def test_one_party_leaves_places_to_the_others_and_has_its_own_again_afterwards(turns: PacedTurns) -> None:
    for _ in range(2):
        await turns.take("one")
        waiting = [taking(turns), taking(turns)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyAtOnce):
            await turns.take("one")
        async with asyncio.timeout(5):
            await turns.take("other")
            await asyncio.gather(*waiting)
            await asyncio.sleep(3 * PAUSE)
