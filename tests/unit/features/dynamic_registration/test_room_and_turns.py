"""Where there is no room, and where many come at once: who is refused when, and who waits for a turn."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from fapi_as.features.dynamic_registration.registering import take_turn
from fapi_as.kernel.messages import EndpointRequest
from fapi_as.protocol.audit_events import AuditEvent, Stamp
from fapi_as.protocol.decisions import Decision, Issue
from fapi_as.protocol.profile import FAILED_AUTHENTICATIONS_LIMIT
from tests.support.certificates import self_signed
from tests.support.fakes import NOW, Turns
from tests.support.fapi_client import error_of
from tests.support.memory_store import MemoryStore
from tests.support.peer_keys import PeerKey
from tests.support.registration_house import POLICY, ChangingStore, RegistrationHouse, nothing_kept
from tests.support.registration_scene import SoftwareAuthority


@pytest.fixture
def house() -> RegistrationHouse:
    return RegistrationHouse(store=ChangingStore())


@pytest.fixture
def turns(house: RegistrationHouse) -> Turns:
    found = house.context.registration_turns
    assert isinstance(found, Turns)
    return found


class _Decided(MemoryStore):
    """How many permissions were tried in a transaction."""

    permissions = 0

    async def commit(self, decision: Decision, stamp: Stamp) -> Decision:
        self.permissions += isinstance(decision, Issue)
        return await super().commit(decision, stamp)


@pytest.mark.parametrize("full", ["a day", "a source", "a software", "a statement"])
async def test_what_has_no_room_is_refused_without_a_transaction(full: str) -> None:
    store = _Decided()
    house = RegistrationHouse(
        store=store, policy=replace(POLICY, registrations_per_source=1 if "source" in full else 9)
    )
    house.trust(
        clients_per_day=1 if "day" in full else 9,
        clients_per_software=1 if "software" in full else 9,
        uses_per_statement=1,
    )
    agent = house.registrant()
    statement = agent.statement()
    await agent.registered(statement=statement)
    assert store.permissions == 1
    with nothing_kept(house):
        response = await agent.register(statement=statement if "statement" in full else agent.statement())
    assert response.status_code == (400 if "statement" in full else 429)
    assert store.permissions == 1


@pytest.mark.parametrize("full", ["a day", "a source", "a software", "a statement"])
async def test_who_finds_room_that_is_taken_meanwhile_is_refused_in_the_transaction(full: str) -> None:
    store = ChangingStore()
    house = RegistrationHouse(
        store=store, policy=replace(POLICY, registrations_per_source=1 if "source" in full else 9)
    )
    house.trust(clients_per_day=1 if "day" in full else 9, clients_per_software=1 if "software" in full else 9)
    first, second = house.registrant(seed=61), house.registrant(seed=62)
    statement = first.statement()
    running: list[asyncio.Task[Any]] = []

    async def overtake() -> None:
        response = await second.register(statement=statement if "statement" in full else second.statement())
        assert response.status_code == 201

    before = store.commit

    async def commit(decision: Decision, stamp: Stamp) -> Decision:
        if not running:
            running.append(asyncio.create_task(overtake()))
            await running[0]
        return await before(decision, stamp)

    store.commit = commit  # type: ignore[method-assign]
    response = await first.register(statement=statement)
    assert response.status_code == (400 if "statement" in full else 429)
    assert len(house.kept) == 1


async def test_whoever_is_approved_waits_for_a_turn_and_strangers_take_none(
    house: RegistrationHouse, turns: Turns
) -> None:
    agent = house.registrant()
    used_up, bound = house.token("used-up", uses=0), house.token("bound", jkt="x" * 43)
    stranger = house.registrant(authority=SoftwareAuthority("https://stranger.example"))
    statuses = [
        (await stranger.register()).status_code,
        (await agent.register(statement="no.state.ment")).status_code,
        (await agent.register(statement=None, token="made-up", **agent.described())).status_code,
        (await agent.register(statement=None, token=used_up, **agent.described())).status_code,
        (await agent.register(statement=None, token=bound, **agent.described())).status_code,
        (await agent.register(statement=None, **agent.described())).status_code,
    ]
    assert statuses == [400, 400, 401, 401, 401, 401]
    forged = house.authority.signed(agent.claims(), key=PeerKey.es256(seed=4711))
    for nobodys in (forged, agent.statement(exp=1), agent.statement(aud="https://other.example")):
        assert (await agent.register(statement=nobodys)).status_code == 400
    assert turns.parties == []
    await agent.registered()
    assert (await agent.manage("GET")).status_code == 200
    assert len(turns.parties) == 1
    assert (await agent.manage("PUT", agent.replacement())).status_code == 200
    by_token = house.registrant(seed=63)
    await by_token.registered(statement=None, token=house.token(), **by_token.described())
    assert len(turns.parties) == 3
    assert (await by_token.manage("PUT", by_token.replacement())).status_code == 200
    assert turns.parties == [house.source] * 4


async def test_behind_a_proxy_of_all_it_is_the_approver_whose_turn_it_is(
    house: RegistrationHouse, turns: Turns
) -> None:
    asked = EndpointRequest(
        method="POST", path="/register", now=NOW, correlation_id="c", source="192.0.2.1", proxied=True
    )
    await take_turn(house.context, asked, "https://authority.example")
    certified = replace(asked, peer_certificate=self_signed("CN=agent").der)
    await take_turn(house.context, certified, "https://authority.example")
    assert turns.parties[0] == "https://authority.example"
    assert turns.parties[1].startswith("x5t#S256 ")


async def test_an_update_that_waited_tells_what_it_changed_then(house: RegistrationHouse, turns: Turns) -> None:
    """Two updates of one token: the second one renames what the first one had renamed."""
    agent = house.registrant()
    await agent.registered(statement=None, token=house.token(), **agent.described())
    before, token = agent.replacement(), str(agent.information["registration_access_token"])

    async def rename() -> None:
        assert (await agent.manage("PUT", before | {"client_name": "Another"}, token=token)).status_code == 200

    turns.meanwhile = rename
    assert (await agent.manage("PUT", before, token=token)).status_code == 200
    first, second = house.store.facts_of(AuditEvent.CLIENT_UPDATED)
    assert first.detail.endswith("changed: client_name")
    assert second.detail.endswith("changed: client_name")


async def test_a_registration_that_ended_while_its_update_waited_is_gone(
    house: RegistrationHouse, turns: Turns
) -> None:
    agent = house.registrant()
    await agent.registered()
    replacement = agent.replacement()

    async def leave() -> None:
        assert (await agent.manage("DELETE")).status_code == 204

    turns.meanwhile = leave
    response = await agent.manage("PUT", replacement)
    assert (response.status_code, error_of(response)) == (401, "invalid_token")
    assert house.kept == {}


@pytest.mark.parametrize("by", ["statement", "token"])
async def test_where_too_many_wait_one_more_is_told_to_come_later_and_has_not_failed(
    house: RegistrationHouse, turns: Turns, by: str
) -> None:
    agent = house.registrant()
    how = {} if by == "statement" else {"statement": None, "token": house.token(uses=2), **agent.described()}
    await agent.registered(**how)
    turns.full = True
    with nothing_kept(house):
        for _ in range(FAILED_AUTHENTICATIONS_LIMIT + 2):
            response = await agent.register(**how)
            assert (response.status_code, error_of(response)) == (429, "invalid_request")
            assert response.headers["retry-after"] == "2"
        response = await agent.manage("PUT", agent.replacement())
        assert (response.status_code, error_of(response)) == (429, "invalid_request")
    turns.full = False
    await agent.registered(**how)
    assert (await agent.manage("PUT", agent.replacement())).status_code == 200
