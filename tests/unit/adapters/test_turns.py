"""Turns: one by one, in the order of arrival, with a pause in which everybody else goes on."""

from __future__ import annotations

import asyncio

import pytest

from fapi_as.adapters.turns import PacedTurns
from fapi_as.protocol.errors import TooManyRequests

PAUSE = 0.01


@pytest.fixture
def turns() -> PacedTurns:
    return PacedTurns(pause_seconds=PAUSE, waiting_limit=3)


async def test_whoever_comes_alone_does_not_wait(turns: PacedTurns) -> None:
    taking = asyncio.ensure_future(turns.take())
    await asyncio.sleep(0)
    assert taking.done()
    await asyncio.sleep(3 * PAUSE)
    taking = asyncio.ensure_future(turns.take())
    await asyncio.sleep(0)
    assert taking.done()


async def test_turns_come_one_by_one_in_the_order_of_arrival(turns: PacedTurns) -> None:
    loop, begun = asyncio.get_running_loop(), dict[int, float]()

    async def take(number: int) -> None:
        await turns.take()
        begun[number] = loop.time()

    await asyncio.gather(*(take(number) for number in range(4)))
    assert list(begun) == [0, 1, 2, 3]
    # each is granted after a whole pause and no turn is as late as the next; the loop's own grain is a millisecond
    assert begun[3] - begun[0] >= 3 * PAUSE - 0.002


async def test_between_two_turns_the_event_loop_is_everybodys(turns: PacedTurns) -> None:
    waiting = [asyncio.ensure_future(turns.take()) for _ in range(3)]
    rounds = 0
    while not all(turn.done() for turn in waiting):
        before = sum(turn.done() for turn in waiting)
        await asyncio.sleep(0)
        rounds += 1
        assert sum(turn.done() for turn in waiting) - before <= 1
    assert rounds > 3


async def test_a_turn_that_is_given_back_has_no_pause() -> None:
    turns = PacedTurns(pause_seconds=3600)
    turns.give_back()  # nobody has one
    taken = []

    async def take_in_vain(number: int) -> None:
        await turns.take()
        taken.append(number)
        turns.give_back()

    async with asyncio.timeout(5):
        await asyncio.gather(*(take_in_vain(number) for number in range(100)))
        await turns.take()
    assert taken == list(range(100))


async def test_whoever_went_away_takes_no_turn_from_the_others(turns: PacedTurns) -> None:
    failed: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: failed.append(what))
    await turns.take()
    first, gone, last = (asyncio.ensure_future(turns.take()) for _ in range(3))
    await asyncio.sleep(0)
    gone.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(first, last)
    assert gone.cancelled()
    assert failed == []


async def test_more_than_may_wait_are_refused_at_once_and_the_others_have_their_turns(turns: PacedTurns) -> None:
    await turns.take()
    waiting = [asyncio.ensure_future(turns.take()) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyRequests, match="wait for their turn"):
        await turns.take()
    async with asyncio.timeout(5):
        await asyncio.gather(*waiting)
        await turns.take()
