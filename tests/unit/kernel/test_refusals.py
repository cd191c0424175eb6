"""The budget of evidence: what is told one by one, what is counted, and that neither grows without end."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from fapi_as.kernel.refusals import RefusalBudget, write_counts
from fapi_as.kernel.seam import Context
from fapi_as.protocol.audit_events import AuditEvent, Stamp
from fapi_as.protocol.errors import InvalidClient, InvalidRequest, StorageUnavailable
from fapi_as.protocol.profile import (
    REFUSAL_REASONS_PER_SOURCE,
    REFUSALS_TOLD_IN_ALL,
    REFUSALS_TOLD_PER_SOURCE,
)
from tests.support.fakes import NOW, context
from tests.support.memory_store import MemoryStore

STAMP = Stamp(at=NOW, correlation_id="c-0", endpoint="/token", source="192.0.2.1")
LATER = NOW + 60
REASON = InvalidClient("no assertion")


def spend(budget: RefusalBudget, times: int, reason: InvalidClient = REASON, stamp: Stamp = STAMP) -> int:
    """How many of them were told."""
    return sum(budget.spend(reason, replace(stamp, correlation_id=f"c-{n}")) for n in range(times))


@pytest.fixture
def budget() -> RefusalBudget:
    return RefusalBudget()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def server(store: MemoryStore) -> Context:
    return context(store, features=())


def test_the_budget_is_told_and_the_rest_is_one_count(budget: RefusalBudget) -> None:
    assert spend(budget, REFUSALS_TOLD_PER_SOURCE + 7) == REFUSALS_TOLD_PER_SOURCE
    (tally,) = budget.ended(LATER)
    assert tally.fact().event is AuditEvent.REFUSALS_COUNTED
    assert (tally.fact().error, tally.fact().detail) == ("invalid_client", "7 times: no assertion")
    assert tally.stamp() == replace(STAMP, correlation_id=f"c-{REFUSALS_TOLD_PER_SOURCE}")


def test_a_minute_that_is_not_over_is_counted_on(budget: RefusalBudget) -> None:
    spend(budget, REFUSALS_TOLD_PER_SOURCE + 1)
    assert budget.ended(NOW) == ()
    spend(budget, 1)
    assert [tally.count for tally in budget.ended(LATER)] == [2]


def test_the_next_minute_has_a_budget_of_its_own(budget: RefusalBudget) -> None:
    spend(budget, REFUSALS_TOLD_PER_SOURCE + 1)
    assert spend(budget, 150, stamp=replace(STAMP, at=LATER)) == REFUSALS_TOLD_PER_SOURCE
    assert [tally.count for tally in budget.ended(LATER + 60)] == [1, 50]


def test_what_stayed_within_the_budget_is_not_counted_as_well(budget: RefusalBudget) -> None:
    spend(budget, REFUSALS_TOLD_PER_SOURCE)
    assert budget.ended(LATER) == ()


def test_another_source_has_another_budget(budget: RefusalBudget) -> None:
    spend(budget, 200)
    assert spend(budget, 3, stamp=replace(STAMP, source="192.0.2.2")) == 3


def test_one_ipv6_site_is_one_source(budget: RefusalBudget) -> None:
    told = sum(spend(budget, 1, stamp=replace(STAMP, source=f"2001:db8::{n:x}")) for n in range(150))
    assert told == REFUSALS_TOLD_PER_SOURCE
    (tally,) = budget.ended(LATER)
    assert (tally.count, tally.stamp().source) == (50, "2001:db8::/64")


def test_the_first_of_another_reason_is_told_whatever_went_before(budget: RefusalBudget) -> None:
    spend(budget, 200)
    assert budget.spend(InvalidRequest("something else"), STAMP)
    assert not budget.spend(InvalidRequest("something else"), STAMP)


def test_reasons_are_told_at_once_up_to_a_number(budget: RefusalBudget) -> None:
    spend(budget, 200)
    told = sum(budget.spend(InvalidClient(f"reason {n}"), STAMP) for n in range(100))
    assert told == REFUSAL_REASONS_PER_SOURCE - 1
    counted = {tally.fact().detail for tally in budget.ended(LATER)}
    assert counted == {"100 times: no assertion", "85 times: several reasons"}


def test_no_flood_from_however_many_sources_is_more_than_a_few_thousand_facts(budget: RefusalBudget) -> None:
    told = sum(
        spend(budget, 3, stamp=replace(STAMP, source=f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")) for n in range(5_000)
    )
    counting = budget.ended(LATER)
    assert told <= 2 * REFUSALS_TOLD_IN_ALL
    assert len(counting) <= 1_001
    assert told + sum(tally.count for tally in counting) == 15_000  # and none of them is lost
    assert counting[-1].stamp().source == "many sources"


def test_a_client_has_one_budget_wherever_it_is_and_no_share_in_that_of_its_source(budget: RefusalBudget) -> None:
    told = sum(
        budget.spend(REASON, replace(STAMP, source=f"192.0.2.{n % 200}"), client_id="agent")
        for n in range(REFUSALS_TOLD_PER_SOURCE + 30)
    )
    assert told == REFUSALS_TOLD_PER_SOURCE
    assert budget.spend(REASON, STAMP, client_id="other")
    (tally,) = budget.ended(LATER)
    assert (tally.count, tally.fact().client_id) == (30, "agent")
    assert tally.stamp().source == "192.0.2.100"  # where the first counted one came from


def test_a_client_with_ever_new_reasons_is_bounded_too(budget: RefusalBudget) -> None:
    told = sum(budget.spend(InvalidClient(f"reason {n}"), STAMP, client_id="agent") for n in range(500))
    assert told == REFUSALS_TOLD_PER_SOURCE
    (tally,) = budget.ended(LATER)
    assert (tally.fact().client_id, tally.fact().detail) == ("many clients", "400 times: several reasons")


async def test_counts_of_clients_become_facts_like_those_of_sources(server: Context, store: MemoryStore) -> None:
    for _ in range(105):
        server.refusals_of_clients.spend(REASON, STAMP, client_id="agent")
    await write_counts(server, LATER)
    await write_counts(server, LATER + 60)
    assert [(fact.client_id, fact.detail) for fact in store.facts] == [("agent", "5 times: no assertion")]


async def test_counts_become_facts_once(server: Context, store: MemoryStore) -> None:
    spend(server.refusals, 105)
    await write_counts(server, NOW)
    assert store.written == ()
    await write_counts(server, LATER)
    await write_counts(server, LATER + 60)
    (written,) = store.written
    assert (written.fact.detail, written.stamp.source, written.stamp.at) == ("5 times: no assertion", "192.0.2.1", NOW)


async def test_what_joins_a_count_while_that_is_written_is_not_lost(server: Context, store: MemoryStore) -> None:
    spend(server.refusals, 105)
    writing = asyncio.create_task(write_counts(server, NOW + 600))
    await asyncio.sleep(0)
    assert not store.written  # it has begun
    spend(server.refusals, 107)  # the clock was set back to the very minute
    server.refusals.ended(NOW + 600)
    await writing
    await write_counts(server, NOW + 600)
    assert [fact.detail for fact in store.facts] == ["5 times: no assertion", "7 times: no assertion"]


async def test_counts_wait_for_a_store_that_is_down(server: Context, store: MemoryStore) -> None:
    spend(server.refusals, 105)
    store.unavailable = True
    with pytest.raises(StorageUnavailable):
        await write_counts(server, LATER)
    store.unavailable = False
    await write_counts(server, LATER + 3600)
    assert [fact.detail for fact in store.facts] == ["5 times: no assertion"]


def test_what_waits_for_a_store_is_bounded_and_none_of_it_is_lost(budget: RefusalBudget) -> None:
    for minute in range(6):
        at = NOW + 60 * minute
        for n in range(2_000):
            spend(budget, 3, stamp=replace(STAMP, at=at, source=f"10.0.{n >> 8}.{n & 255}"))
    waiting = budget.ended(NOW + 600)
    assert len(waiting) <= 4_001
    told = 6 * 2 * REFUSALS_TOLD_IN_ALL
    assert 6 * 6_000 - told <= sum(tally.count for tally in waiting) < 6 * 6_000


def test_a_refusal_that_comes_late_gives_nobody_another_budget(budget: RefusalBudget) -> None:
    late = replace(STAMP, at=NOW - 60)
    assert spend(budget, 200) == REFUSALS_TOLD_PER_SOURCE
    assert spend(budget, 10, stamp=late) == 0
    assert spend(budget, 10) == 0
    assert [tally.count for tally in budget.ended(LATER)] == [120]


def test_a_clock_that_was_set_back_begins_another_minute(budget: RefusalBudget) -> None:
    spend(budget, 101)
    assert spend(budget, 1, stamp=replace(STAMP, at=NOW - 120)) == 1
    assert [tally.count for tally in budget.ended(NOW)] == [1]
