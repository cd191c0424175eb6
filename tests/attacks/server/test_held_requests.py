"""A worker that is stopped in mid-request and goes on later must not act on a time that is over (TIM-09)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

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
