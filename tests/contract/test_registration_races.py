"""Fifty at once over two connections, as two workers have them: limits hold, and every race has a serial order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fapi_as.adapters.keys import Sealing
from fapi_as.adapters.store import Approvals, Database, Operators, migrate
from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.decisions import Issue
from fapi_as.protocol.effects import (
    Effect,
    MarkUsed,
    Open,
    Register,
    ReplaceRegistration,
    Require,
    Required,
    SpendInitialToken,
    Unregister,
    UseRegistrationToken,
)
from tests.support.store_harness import (
    AUTHORITY,
    FIRST,
    NOW,
    OPEN,
    POLICY,
    REGISTER,
    REPLACE,
    STAMP,
    authority_file,
    issue,
)

AT_ONCE = 50
ROUNDS = 20


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/store.db"
    migrate(url)
    Approvals.open(url, "default").add_authority(authority_file(), STAMP)
    return url


@pytest.fixture
async def workers(url: str) -> AsyncIterator[tuple[Database, Database]]:
    workers = tuple(Database.open(url, sealing=Sealing(b"s" * 32)) for _ in range(2))
    yield workers[0], workers[1]
    for worker in workers:
        await worker.close()


async def race(workers: Sequence[Database], effects: Sequence[tuple[Effect, ...]]) -> list[bool]:
    """Whether each decision came true; neighbours go over different connections."""
    stores = [worker.store("default") for worker in workers]
    outcomes = await asyncio.gather(
        *(
            stores[number % len(stores)].commit(
                Issue(effects=each, lost=dict.fromkeys(each, issue(each[0]).lost[each[0]])), STAMP
            )
            for number, each in enumerate(effects)
        )
    )
    return [isinstance(outcome, Issue) for outcome in outcomes]


def numbered(number: int) -> Register:
    return replace(REGISTER, client_id=f"agent {number}", token_digest=number.to_bytes(32), software_limit=7)


def client_ids(url: str) -> set[str]:
    return {client.client_id for client in Operators.open(url, "default").clients()}


@pytest.mark.attack("RAC-09")
@pytest.mark.parametrize("limit", [1, 7])
async def test_of_fifty_registrations_of_one_software_as_many_win_as_its_limit_says(
    url: str, workers: tuple[Database, Database], limit: int
) -> None:
    won = await race(workers, [(replace(numbered(number), software_limit=limit),) for number in range(AT_ONCE)])
    assert sum(won) == limit
    assert client_ids(url) == {f"agent {number}" for number in range(AT_ONCE) if won[number]}


async def test_of_fifty_registrations_for_which_unfinished_ones_make_room_none_is_too_many(
    url: str, workers: tuple[Database, Database]
) -> None:
    store = workers[0].store("default")
    old = [replace(numbered(number), client_id=f"old {number}") for number in range(7)]
    await store.commit(Issue(effects=(*old, MarkUsed(client_id="old 0", expires_at=NOW + 9))), replace(STAMP, at=1))
    won = await race(workers, [(numbered(number),) for number in range(AT_ONCE)])
    assert sum(won) == 6
    assert client_ids(url) == {"old 0"} | {f"agent {number}" for number in range(AT_ONCE) if won[number]}
    facts = Operators.open(url, "default").audit(limit=1000)
    ended = [row.fact.client_id for row in facts if row.fact.event is AuditEvent.CLIENT_EXPIRED]
    assert sorted(ended, key=str) == [f"old {number}" for number in range(1, 7)]


async def test_of_fifty_that_bring_one_initial_access_token_as_many_win_as_it_has_uses(
    url: str, workers: tuple[Database, Database]
) -> None:
    approvals = Approvals.open(url, "default")
    approvals.add_initial_token("one", b"t" * 32, {"policy": POLICY}, STAMP, uses=3, expires_at=NOW + 60)
    spend = SpendInitialToken(approver="token:one")
    each = [(spend, replace(numbered(number), approver="token:one")) for number in range(AT_ONCE)]
    won = await race(workers, each)
    assert sum(won) == 3
    assert len(client_ids(url)) == 3
    assert approvals.initial_tokens()[0].uses_left == 0


async def test_two_updates_and_one_delete_at_once_end_as_if_they_had_come_one_after_the_other(
    workers: tuple[Database, Database],
) -> None:
    store = workers[1].store("default")
    endings = set()
    for number in range(ROUNDS):
        client_id, family = f"agent {number}", f"family {number}"
        registered = replace(REGISTER, client_id=client_id, software_limit=ROUNDS)
        opened: Open = replace(OPEN, client_id=client_id, authorization_id=family)
        await store.commit(Issue(effects=(registered, opened)), STAMP)
        new = [bytes([65 + update]) * 32 for update in range(2)]
        updates: list[Effect] = [replace(REPLACE, client_id=client_id, new_token_digest=digest) for digest in new]
        removal = Unregister(client_id=client_id, token_digest=FIRST)
        order = [updates[0], removal, updates[1]] if number % 2 else [removal, *updates]
        won = dict(zip(order, await race(workers, [(effect,) for effect in order]), strict=True))
        assert won[removal]  # whoever came before it did not use its new token yet
        assert await store.reading.registration(client_id) is None
        assert await store.reading.authorization(family, NOW) is None
        dead = [UseRegistrationToken(client_id=client_id, token_digest=digest) for digest in (FIRST, *new)]
        assert await race(workers, [(effect,) for effect in dead]) == [False] * 3
        endings.add(sum(won[update] for update in updates))
    assert endings <= {0, 1, 2}


async def test_of_fifty_updates_at_once_the_tokens_of_all_but_the_last_are_dead(
    workers: tuple[Database, Database],
) -> None:
    store = workers[0].store("default")
    await store.commit(Issue(effects=(REGISTER,)), STAMP)
    new = [number.to_bytes(32) for number in range(AT_ONCE)]
    updates = [replace(REPLACE, new_token_digest=digest) for digest in new]
    assert all(await race(workers, [(update,) for update in updates]))  # nobody used what another one was answered
    found = await store.reading.registration("agent")
    assert found is not None
    assert found.previous_token_digest == FIRST
    uses = [UseRegistrationToken(client_id="agent", token_digest=digest) for digest in new]
    counts = await race(workers, [(use,) for use in uses])
    assert [digest for digest, lives in zip(new, counts, strict=True) if lives] == [found.token_digest]
    assert not any(await race(workers, [(UseRegistrationToken(client_id="agent", token_digest=FIRST),)]))


async def test_the_first_use_of_a_new_token_and_an_update_with_the_old_one_leave_one_of_them(
    workers: tuple[Database, Database],
) -> None:
    store = workers[0].store("default")
    for number in range(ROUNDS):
        client_id = f"agent {number}"
        registered = replace(REGISTER, client_id=client_id, software_limit=ROUNDS)
        first = replace(REPLACE, client_id=client_id)
        await store.commit(Issue(effects=(registered, first)), STAMP)
        use = UseRegistrationToken(client_id=client_id, token_digest=first.new_token_digest)
        again: ReplaceRegistration = replace(first, new_token_digest=b"3" * 32)
        order = [(use,), (again,)] if number % 2 else [(again,), (use,)]
        won = dict(zip([effect for (effect,) in order], await race(workers, order), strict=True))
        assert won[use] != won[again]  # whoever came first ended the token of the other


async def test_a_decision_that_waits_while_the_authority_is_suspended_loses(
    url: str, workers: tuple[Database, Database]
) -> None:
    store = workers[0].store("default")
    await store.commit(Issue(effects=(REGISTER,)), STAMP)
    client = await store.reading.client("agent")
    assert client is not None
    prepared = [(*client.requirements, replace(OPEN, authorization_id=f"family {number}")) for number in range(20)]
    suspension = asyncio.to_thread(
        Approvals.open(url, "default").set_authority_enabled, AUTHORITY, STAMP, enabled=False
    )
    won, _ = await asyncio.gather(race(workers, prepared), suspension)
    for number, came_true in enumerate(won):  # what came true before it has ended with it
        required = Require(required=Required.AUTHORIZATION, identifier=f"family {number}")
        assert await race(workers, [(required,)]) == [False], came_true
    assert await race(workers, [(*client.requirements, OPEN)]) == [False]
