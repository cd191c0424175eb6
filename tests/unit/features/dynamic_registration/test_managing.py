"""A registration that is managed while the world changes."""

from __future__ import annotations

import pytest

from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.profile import UPDATES_PER_CLIENT
from tests.support.fapi_client import error_of
from tests.support.registration_house import MUTUAL_TLS_URL, ChangingStore, RegistrationHouse, changing
from tests.support.registration_scene import Registrant

NOT_COUNTING = (401, "invalid_token")


@pytest.fixture
def house() -> RegistrationHouse:
    return RegistrationHouse(store=ChangingStore())


async def registered(house: RegistrationHouse, *, binds: bool = False, token: bool = False) -> Registrant:
    agent = house.registrant()
    agent.binds = binds
    how = {"statement": None, "token": house.token(), **agent.described()} if token else {}
    await agent.registered(**how)
    return agent


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_client_that_was_removed_meanwhile_is_not_managed(house: RegistrationHouse, method: str) -> None:
    agent = await registered(house, binds=True)
    await agent.manage("GET")
    changing(house).meanwhile = lambda: house.store.remove_client(agent.client_id)
    response = await agent.manage(method, agent.replacement() if method == "PUT" else None)
    assert (response.status_code, error_of(response)) == NOT_COUNTING
    assert response.headers.get_list("www-authenticate")
    assert not house.store.facts_of(AuditEvent.CLIENT_UPDATED)
    assert not house.store.facts_of(AuditEvent.CLIENT_UNREGISTERED)
    assert house.store.facts[-1].client_id == agent.client_id


async def test_a_client_that_has_updated_itself_too_often_is_refused_without_a_transaction(
    house: RegistrationHouse,
) -> None:
    agent = await registered(house)
    for _ in range(UPDATES_PER_CLIENT):
        assert (await agent.manage("PUT", agent.replacement())).status_code == 200
    tried: list[bool] = []
    changing(house).meanwhile = lambda: tried.append(True)
    house.context.refusals_of_clients.spend = lambda *_, **__: False  # type: ignore[method-assign] # nor for a fact
    response = await agent.manage("PUT", agent.replacement())
    assert (response.status_code, error_of(response)) == (429, "invalid_request")
    assert tried == []


@pytest.mark.parametrize("change", ["the authority is suspended", "the software is withdrawn", "another policy"])
async def test_an_update_that_lost_its_approval_meanwhile_changes_nothing(
    house: RegistrationHouse, change: str
) -> None:
    agent = await registered(house)
    before, issuer = house.kept[agent.client_id], house.authority.issuer
    changing(house).meanwhile = {
        "the authority is suspended": lambda: house.store.suspend(issuer),
        "the software is withdrawn": lambda: house.store.withdraw("software", issuer, agent.software_id, version=70),
        "another policy": lambda: house.trust(scope=["accounts:read"]),
    }[change]
    response = await agent.manage("PUT", agent.replacement())
    assert (response.status_code, error_of(response)) == (400, "unapproved_software_statement")
    assert house.kept[agent.client_id] == before


async def test_a_token_whose_policy_changed_meanwhile_permits_no_update(house: RegistrationHouse) -> None:
    agent = await registered(house, token=True)
    changing(house).meanwhile = lambda: house.token(scope=["accounts:read"])
    response = await agent.manage("PUT", agent.replacement())
    assert (response.status_code, error_of(response)) == (403, "access_denied")
    assert house.kept[agent.client_id].previous_token_digest is None


async def test_a_token_that_was_replaced_and_used_meanwhile_replaces_nothing(house: RegistrationHouse) -> None:
    agent = await registered(house, token=True)
    old = agent.information["registration_access_token"]
    await agent.manage("PUT", agent.replacement(client_name="First"))
    kept = house.kept[agent.client_id]

    def first_use() -> None:
        rows = house.store.rows.registrations.clients
        rows[agent.client_id] = type(kept)(
            **{name: getattr(kept, name) for name in kept.__slots__ if name != "previous_token_digest"},
            previous_token_digest=None,
        )

    changing(house).meanwhile = first_use
    response = await agent.manage("PUT", agent.replacement(client_name="Second"), token=old)
    assert (response.status_code, error_of(response)) == NOT_COUNTING
    assert house.kept[agent.client_id].client.client_name == "First"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_while_the_store_is_down_nothing_is_told_or_changed(house: RegistrationHouse, method: str) -> None:
    agent = await registered(house, binds=True)
    await agent.manage("GET")
    for when in ("before", "meanwhile"):
        if when == "before":
            house.store.unavailable = True
        else:
            changing(house).meanwhile = lambda: setattr(house.store, "unavailable", True)
        response = await agent.manage(method, agent.replacement() if method == "PUT" else None)
        assert (response.status_code, response.headers["retry-after"]) == (503, "2")
        house.store.unavailable = False
    assert (await agent.manage("GET")).status_code == 200


async def test_reading_writes_nothing_unless_it_has_to(house: RegistrationHouse) -> None:
    agent = await registered(house)
    commits: list[int] = []
    changing(house).meanwhile = lambda: commits.append(1)
    await agent.manage("GET")
    assert not commits
    assert len(house.store.facts) == 1  # of the registration


async def test_a_proof_is_for_the_address_of_this_registration_and_no_other(house: RegistrationHouse) -> None:
    agent = await registered(house, binds=True)
    mine = agent.information["registration_client_uri"]
    for htu in (mine.rpartition("/")[0], mine + "/", mine.replace("client-", "client-x"), MUTUAL_TLS_URL + "/register"):
        await agent.manage("GET")
        with agent.lying(htu=htu):
            response = await agent.manage("GET")
        assert (response.status_code, error_of(response)) == (401, "invalid_dpop_proof"), htu
    assert (await agent.manage("GET")).status_code == 200


async def test_a_signed_update_is_taken_once_and_a_plain_one_is_refused_where_that_is_demanded(
    house: RegistrationHouse,
) -> None:
    house.trust(signed_request=True)
    agent = house.registrant()
    await agent.registered(sign=True)
    response = await agent.manage("PUT", agent.replacement())
    assert (response.status_code, error_of(response)) == (400, "invalid_client_metadata")
    signed = agent.signed_request(agent.replacement()).encode()
    for status in (200, 400):
        url, headers, _ = agent.manage_request("PUT")
        kind = ("content-type", "application/jwt")
        response = await house.http.request("PUT", url, headers=[*headers, kind], content=signed)
        assert response.status_code == status
        assert status == 200 or error_of(response) == "invalid_client_metadata"
