"""A sign-in that the store ends tells nobody anything, so it is no attempt; one that was judged counts."""

from __future__ import annotations

import pytest

from fapi_as.kernel.refusals import write_counts
from fapi_as.protocol.audit_events import Stamp
from fapi_as.protocol.decisions import Decision, Issue
from fapi_as.protocol.effects import GiveBack
from fapi_as.protocol.errors import StorageUnavailable
from tests.support.house import PASSWORD, House, page
from tests.support.memory_store import MemoryStore


class Failing(MemoryStore):
    """A store that cannot be written from the nth commit on, and can be read."""

    def __init__(self) -> None:
        super().__init__()
        self.good_commits: int | None = None

    async def commit(self, decision: Decision, stamp: Stamp) -> Decision:
        if self.good_commits is not None:
            if self.good_commits == 0:
                raise StorageUnavailable("the disk is full")
            self.good_commits -= 1
        return await super().commit(decision, stamp)


@pytest.mark.parametrize("good_commits", [0, 1], ids=["before the count", "after the count"])
@pytest.mark.parametrize("password", [PASSWORD, "wrong"])
async def test_a_sign_in_that_ends_in_503_is_no_attempt(good_commits: int, password: str) -> None:
    store = Failing()
    house = House(store=store)
    login = await house.opened()
    for _ in range(12):  # more than the limit of the account
        store.good_commits = good_commits
        place = page(await house.sign_in(house.agent.browser, login, password=password))
        assert place.status == 503
        store.good_commits = None
    for _ in range(4):
        assert page(await house.sign_in(house.agent.browser, login, password="wrong")).status == 401
    assert page(await house.sign_in(house.agent.browser, login)).has("consent-approve")  # the fifth, and no earlier one


async def test_what_was_given_back_is_given_back_once_and_by_the_chores_too() -> None:
    store = Failing()
    house = House(store=store)
    login = await house.opened()
    for _ in range(3):
        store.good_commits = None
        assert page(await house.sign_in(house.agent.browser, login, password="wrong")).status == 401
    store.good_commits = 1
    assert page(await house.sign_in(house.agent.browser, login)).status == 503
    with pytest.raises(StorageUnavailable):
        await write_counts(house.context, house.clock.now())
    store.good_commits = None
    for _ in range(3):
        await write_counts(house.context, house.clock.now())
    assert len(house.context.owed) == 0
    counted = [len(attempts) for attempts in store.rows.attempts.values()]
    assert sorted(counted)[-2:] == [3, 3]  # of the account and of the source


async def test_whoever_signs_in_first_after_an_outage_does_not_wait_for_a_thousand_commits() -> None:
    store = Failing()
    house = House(store=store)
    login = await house.opened()
    stamp = Stamp(at=house.clock.now(), correlation_id="c-0", endpoint="/login", source="192.0.2.1")
    for n in range(1_000):
        house.context.owed.add(Issue(effects=(GiveBack(bucket=b"%d" % n),)), stamp)
    store.good_commits = 5  # of ten that are due
    with pytest.raises(StorageUnavailable):
        await house.context.owed.pay(store, house.clock.now())
    assert len(house.context.owed) == 500
    store.good_commits = 7  # and two of the sign-in
    assert page(await house.sign_in(house.agent.browser, login)).has("consent-approve")
    assert len(house.context.owed) == 0


async def test_a_wrong_password_that_was_judged_counts_whatever_fails_later() -> None:
    store = Failing()
    house = House(store=store)
    login = await house.opened()
    for _ in range(5):
        assert page(await house.sign_in(house.agent.browser, login, password="wrong")).status == 401
    store.good_commits = 0
    assert page(await house.sign_in(house.agent.browser, login)).status == 503
    store.good_commits = None
    assert page(await house.sign_in(house.agent.browser, login)).status == 429
