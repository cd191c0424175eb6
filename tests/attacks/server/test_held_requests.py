"""A worker that is stopped in mid-request and goes on later must not act on a time that is over (TIM-09)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from fapi_as.kernel.refusals import write_counts
from fapi_as.protocol.audit_events import Stamp
from fapi_as.protocol.errors import InvalidClient
from tests.support.estate import Estate, Worker
from tests.support.fapi_client import Refused
from tests.support.house import PASSWORD


@pytest.fixture
async def estate(tmp_path: Path) -> AsyncIterator[Estate]:
    estate = Estate(tmp_path)
    yield estate
    await estate.close()


def hold(worker: Worker, before_commit: Callable[[], object]) -> None:
    """Let something happen between the next decision and its transaction."""
    store: Any = worker.contexts[""].store
    commit = store.commit

    async def held(decision: Any, stamp: Any) -> Any:
        store.commit = commit
        before_commit()
        return await commit(decision, stamp)

    store.commit = held


@pytest.mark.attack("TIM-09")
async def test_what_was_held_for_a_minute_and_a_half_brings_nothing_and_its_code_is_over(estate: Estate) -> None:
    worker = estate.worker()
    client = estate.client(worker)
    pushed = await client.push()
    done = await client.authorize(pushed, username="alice", password=PASSWORD)
    facts = len(estate.operators().audit(limit=1000))
    hold(worker, lambda: estate.clock.advance(90))
    with pytest.raises(Refused) as raised:
        await client.redeem(done, pushed)
    assert (raised.value.status, raised.value.error) == (503, "temporarily_unavailable")
    assert raised.value.response.headers["retry-after"]
    assert len(estate.operators().audit(limit=1000)) == facts
    with pytest.raises(Refused) as later:
        await client.redeem(done, pushed)
    assert (later.value.status, later.value.error) == (400, "invalid_grant")
    assert (await client.client_credentials()).access_token


@pytest.mark.parametrize(("seconds", "good"), [(30, True), (31, False), (-120, True)])
async def test_half_a_minute_is_the_longest_that_a_decision_waits(estate: Estate, seconds: int, good: bool) -> None:
    worker = estate.worker()
    client = estate.client(worker)
    await client.client_credentials()
    hold(worker, lambda: estate.clock.advance(seconds))
    if good:
        assert (await client.client_credentials()).access_token
    else:
        with pytest.raises(Refused) as raised:
            await client.client_credentials()
        assert raised.value.status == 503


@pytest.mark.attack("EXH-11")
async def test_the_counts_of_a_minute_are_written_when_it_is_over_and_after_an_hour_without_a_store(
    estate: Estate,
) -> None:
    context = estate.worker().contexts[""]
    for late in (61, 3600):
        begun = estate.clock.now()
        stamp = Stamp(at=begun, correlation_id="c", endpoint="/token", source="192.0.2.1")
        for _ in range(105):
            context.refusals.spend(InvalidClient("no assertion"), stamp)
        await write_counts(context, estate.clock.advance(late))
        written = estate.operators().audit_tail(1)[0]
        assert (written.fact.detail, written.stamp.at) == ("5 times: no assertion", begun)
