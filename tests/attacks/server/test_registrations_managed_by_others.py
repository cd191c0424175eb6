"""Whoever has no registration access token, or another one, reads, changes and ends no registration."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import httpx2
import pytest

from fapi_as.protocol.audit_events import AuditEvent
from tests.support.browser import Page
from tests.support.fapi_client import Refused, error_of
from tests.support.house import PASSWORD
from tests.support.registration_attack import (
    NO_TOKEN,
    AttackedHouse,
    refused,
    unmoved,
)
from tests.support.registration_house import ISSUER, MUTUAL_TLS_URL, REGISTER
from tests.support.registration_scene import SOFTWARE, Registrant

METHODS: Final = ("GET", "PUT", "DELETE")
EVERY_METHOD = pytest.mark.parametrize("method", METHODS)


@pytest.fixture
def house() -> AttackedHouse:
    return AttackedHouse()


@pytest.fixture
async def agent(house: AttackedHouse) -> Registrant:
    """The victim."""
    agent = house.registrant()
    await agent.registered()
    return agent


def body(agent: Registrant, method: str) -> dict[str, Any] | None:
    return agent.replacement(client_name="Taken over") if method == "PUT" else None


async def tried(house: AttackedHouse, agent: Registrant, method: str, **what: Any) -> httpx2.Response:
    """It is 401 with a challenge, tells nothing, and leaves the victim as it was."""
    before = house.kept.get(agent.client_id)
    response = await refused(house, agent.manage(method, body(agent, method), **what), NO_TOKEN)
    assert house.kept.get(agent.client_id) == before
    assert response.headers.get_list("www-authenticate")
    assert set(response.json()) == {"error", "error_description"}
    return response


# --- DCR-15: somebody else's token


@pytest.mark.attack("DCR-15")
@EVERY_METHOD
async def test_without_a_token_there_is_a_bare_challenge(house: AttackedHouse, agent: Registrant, method: str) -> None:
    response = await tried(house, agent, method, token=None)
    assert "error=" not in " ".join(response.headers.get_list("www-authenticate"))


@pytest.mark.attack("DCR-15")
@EVERY_METHOD
@pytest.mark.parametrize("whose", ["another client's", "a dead client's", "one before", "initial", "access", "refresh"])
async def test_no_other_token_manages_a_registration(
    house: AttackedHouse, agent: Registrant, method: str, whose: str
) -> None:
    other = house.registrant(seed=2)
    await other.registered()
    token = other.information["registration_access_token"]
    match whose:
        case "a dead client's":
            assert (await other.manage("DELETE")).status_code == 204
        case "one before":
            token = agent.information["registration_access_token"]
            assert (await agent.manage("PUT", agent.replacement())).status_code == 200
            assert (await agent.manage("GET")).status_code == 200
        case "initial":
            token = house.token()
        case "access":
            token = (await agent.client_credentials()).access_token
        case "refresh":
            token = str((await agent.obtain(username="alice", password=PASSWORD)).refresh_token)
    await tried(house, agent, method, token=token)
    with agent.lying(authorization=f"DPoP {token}", proof=...):
        await tried(house, agent, method)
    assert (await agent.manage("GET")).status_code == 200


@pytest.mark.attack("DCR-15")
@EVERY_METHOD
@pytest.mark.parametrize("name", ["access_token", "registration_access_token", "token", "client_id"])
async def test_a_token_in_the_url_is_none(house: AttackedHouse, agent: Registrant, method: str, name: str) -> None:
    token, url = agent.information["registration_access_token"], agent.information["registration_client_uri"]
    for given in (None, token):
        response = await refused(
            house,
            agent.manage(method, body(agent, method), token=given, url=f"{url}?{name}={token}"),
            (400, "invalid_request"),
        )
        assert token not in response.text
    assert token not in repr(house.store.facts)


@pytest.mark.attack("DCR-15")
async def test_a_token_in_the_body_is_none(house: AttackedHouse, agent: Registrant) -> None:
    token = agent.information["registration_access_token"]
    for name in ("access_token", "registration_access_token"):
        members = agent.replacement() | {name: token}
        await refused(house, agent.manage("PUT", members, token=None), NO_TOKEN)
    form = f"access_token={token}".encode()
    for method in METHODS:
        with unmoved(house), agent.lying(headers=[("content-type", "application/x-www-form-urlencoded")]):
            message = agent.manage_request(method, token=None)
            response = await agent.send(message._replace(body=form), method=method)
            assert (response.status_code, error_of(response)) == NO_TOKEN


BENT: Final[dict[str, Callable[[str], str]]] = {
    "cut": lambda token: token[:-1],
    "longer": lambda token: token + "A",
    "padded": lambda token: token + "=",
    "in capitals": str.upper,
    "two": lambda token: f"{token},{token}",
    "quoted": lambda token: f'"{token}"',
    "nothing": lambda token: "",
    "a star": lambda token: "*",
    "null": lambda token: "null",
    "very long": lambda token: token * 2000,
}


@pytest.mark.attack("DCR-15")
@pytest.mark.attack("DCR-16")
@EVERY_METHOD
@pytest.mark.parametrize("bend", BENT)
async def test_a_bent_token_is_none(house: AttackedHouse, agent: Registrant, method: str, bend: str) -> None:
    token = BENT[bend](agent.information["registration_access_token"])
    for scheme in ("Bearer", "bearer", "Token", "Basic"):
        with unmoved(house), agent.lying(authorization=f"{scheme} {token}"):
            response = await agent.manage(method, body(agent, method))
            assert (response.status_code, error_of(response)) in {NO_TOKEN, (400, "invalid_request")}
    with agent.lying(headers=[("authorization", f"Bearer {token}")]):
        await refused(house, agent.manage(method, body(agent, method)), (400, "invalid_request"))


@pytest.mark.attack("DCR-15")
@EVERY_METHOD
@pytest.mark.parametrize("where", ["agent", "nobody", "client-", "*", "%2e%2e", "x" * 255])
async def test_ones_own_token_at_another_address_is_none(
    house: AttackedHouse, agent: Registrant, method: str, where: str
) -> None:
    """The same whether somebody is registered there, by an operator or by itself, or nobody is (LOG-10)."""
    other = house.registrant(seed=2)
    await other.registered()
    answers = []
    for client_id in (where, other.client_id):
        response = await tried(house, agent, method, url=f"{REGISTER}/{client_id}")
        answers.append((response.content, response.headers.get_list("www-authenticate")))
    assert answers[0] == answers[1]


@pytest.mark.attack("DCR-15")
@EVERY_METHOD
async def test_a_bound_token_is_nothing_without_its_key(house: AttackedHouse, method: str) -> None:
    agent, thief = house.registrant(), house.registrant(seed=2)
    agent.binds = True
    await agent.registered()
    thief.information, thief.client_id = dict(agent.information), agent.client_id
    url, token = agent.information["registration_client_uri"], agent.information["registration_access_token"]
    await tried(house, thief, method)
    thief.binds = True
    await tried(house, thief, method)
    stolen = {
        "of another method": agent.proof("POST", url, access_token=token),
        "of another address": agent.proof(method, f"{REGISTER}/other", access_token=token),
        "of the template": agent.proof(method, f"{REGISTER}/{{client_id}}", access_token=token),
        "of another token": agent.proof(method, url, access_token=token + "x"),
        "of no token": agent.proof(method, url),
        "of the alias": agent.proof(method, f"{MUTUAL_TLS_URL}/register/{agent.client_id}", access_token=token),
    }
    for name, proof in stolen.items():
        with unmoved(house), thief.lying(proof=proof):
            response = await thief.manage(method, body(agent, method))
            assert (response.status_code, error_of(response)) == (401, "invalid_dpop_proof"), name
    proof = agent.proof("GET", url, access_token=token)
    with agent.lying(proof=proof):
        assert (await agent.manage("GET")).status_code == 200
        response = await agent.manage("GET")
        assert (response.status_code, error_of(response)) in {(400, "invalid_dpop_proof"), (401, "invalid_dpop_proof")}


@pytest.mark.attack("DCR-15")
async def test_a_registration_token_opens_nothing_but_its_registration(house: AttackedHouse, agent: Registrant) -> None:
    token = agent.information["registration_access_token"]
    for method, path in (("GET", "/userinfo"), ("POST", "/userinfo"), ("POST", "/token"), ("POST", "/par")):
        for scheme in ("Bearer", "DPoP"):
            with unmoved(house):
                response = await house.http.request(
                    method, f"{ISSUER}{path}", headers={"authorization": f"{scheme} {token}"}
                )
                assert response.status_code in {400, 401}
                assert token not in response.text
    for form in (
        {"client_secret": token},
        {"client_assertion": token},
        {"code": token, "grant_type": "authorization_code"},
    ):
        with unmoved(house), agent.lying(form=form), pytest.raises(Refused):
            await agent.client_credentials()


@pytest.mark.attack("DCR-15")
async def test_whoever_guesses_is_not_listened_to_after_a_hundred_times(
    house: AttackedHouse, agent: Registrant
) -> None:
    for _ in range(100):
        assert (await agent.manage("GET", token="x" * 43)).status_code == 401
    response = await agent.manage("GET", token="x" * 43)
    assert (response.status_code, response.headers["retry-after"]) == (429, "60")
    house.source = "192.0.2.99"
    assert (await agent.manage("GET")).status_code == 200


# --- DCR-19: deleted


@pytest.mark.attack("DCR-19")
async def test_after_it_is_deleted_nothing_of_a_client_is_worth_anything(house: AttackedHouse) -> None:
    agent = house.registrant(scope="accounts:read openid")
    await agent.registered()
    tokens = await agent.obtain(username="alice", password=PASSWORD)
    waiting = await agent.push()
    done = await agent.authorize(waiting, username="alice", password=PASSWORD)
    pushed = await agent.push()
    assertion = agent.assertion()
    assert (await agent.manage("DELETE")).status_code == 204
    for method in METHODS:
        await tried(house, agent, method)
    for attempt in (
        agent.refresh(str(tokens.refresh_token)),
        agent.redeem(done, waiting),
        agent.client_credentials(),
        agent.push(),
    ):
        with pytest.raises(Refused) as raised:
            await attempt
        assert (raised.value.status, raised.value.error) == (401, "invalid_client")
    with agent.lying(assertion=assertion), pytest.raises(Refused):
        await agent.client_credentials()
    place = await agent.browser.open(agent.authorization_url(pushed))
    assert isinstance(place, Page)
    assert place.status == 400
    response = await agent.call(tokens, f"{ISSUER}/userinfo", method="GET")
    assert (response.status_code, error_of(response)) == (401, "invalid_token")
    agent.learn({"client_id": ""})
    again = await agent.registered()
    with pytest.raises(Refused) as raised:
        await agent.refresh(str(tokens.refresh_token))
    assert (raised.value.status, raised.value.error) == (400, "invalid_grant")
    assert again["client_id"] == agent.client_id


@pytest.mark.attack("DCR-19")
async def test_what_was_under_way_when_it_was_deleted_does_not_come_true(
    house: AttackedHouse, agent: Registrant
) -> None:
    tokens = await agent.obtain(username="alice", password=PASSWORD)
    messages = [agent.refresh_request(str(tokens.refresh_token)) for _ in range(5)]
    removal = agent.manage_request("DELETE")
    answers = await asyncio.gather(
        *(agent.send(message) for message in messages[:2]),
        agent.send(removal, method="DELETE"),
        *(agent.send(message) for message in messages[2:]),
    )
    assert answers[2].status_code == 204
    assert all(answer.status_code in {200, 400, 401} for answer in (*answers[:2], *answers[3:]))
    with pytest.raises(Refused):
        await agent.refresh(str(tokens.refresh_token))


@pytest.mark.attack("DCR-19")
async def test_a_client_that_was_suspended_manages_nothing_and_an_operators_client_never(
    house: AttackedHouse, agent: Registrant
) -> None:
    token = agent.information["registration_access_token"]
    for method in METHODS:
        await tried(house, agent, method, url=f"{REGISTER}/agent", token=token)
    house.store.withdraw("software", agent.authority.issuer, SOFTWARE, version=77)
    for method in METHODS:
        await tried(house, agent, method)


# --- PUT, GET and use at the same time


@pytest.mark.attack("DCR-15")
async def test_updates_at_once_have_one_winner_and_losers_have_no_token(
    house: AttackedHouse, agent: Registrant
) -> None:
    await agent.client_credentials()
    messages = [
        agent.manage_request("PUT", json.dumps(agent.replacement(scope="accounts:read")).encode()) for _ in range(6)
    ]
    use = agent.credentials_request(scope="accounts:read")
    answers = await asyncio.gather(
        *(agent.send(message, method="PUT") for message in messages),
        agent.send(use),
        agent.send(agent.manage_request("GET"), method="GET"),
    )
    won = [answer.json()["registration_access_token"] for answer in answers[:6] if answer.status_code == 200]
    assert all(answer.status_code in {200, 401} for answer in answers[:6])
    assert won
    counting = [token for token in won if (await agent.manage("GET", token=token)).status_code == 200]
    assert len(counting) == 1
    kept = house.kept[agent.client_id]
    assert json.loads(kept.registration)["scope"] == "accounts:read"
    assert kept.last_used_at is not None  # the use at the same time is not forgotten


@pytest.mark.attack("DCR-15")
async def test_a_change_of_where_answers_go_is_told_and_ends_what_was_pushed(house: AttackedHouse) -> None:
    agent = house.registrant()
    await agent.registered(statement=None, token=house.token(), **agent.described())
    pushed = await agent.push()
    moved = agent.replacement(redirect_uris=["https://agent.example/new"])
    assert (await agent.manage("PUT", moved)).status_code == 200
    (fact,) = house.store.facts_of(AuditEvent.CLIENT_UPDATED)
    assert "redirect_uris" in (fact.detail or "")
    place = await agent.visit(pushed, username="alice", password=PASSWORD)
    assert isinstance(place, Page)
    assert place.status == 400


# --- STO: no store


@pytest.mark.attack("STO-04")
async def test_without_a_store_nothing_is_registered_changed_or_spent(house: AttackedHouse, agent: Registrant) -> None:
    token, statement, other = house.token(), agent.statement(), house.registrant(seed=2)
    before = replace(house.store.rows.snapshot(), facts=[])
    house.store.unavailable = True
    answers = [
        await other.register(statement=statement),
        await other.register(statement=None, token=token, **other.described()),
        *[await agent.manage(method, body(agent, method)) for method in METHODS],
        *[await agent.manage(method, body(agent, method), token="x" * 43) for method in METHODS],
    ]
    assert {(answer.status_code, answer.headers["retry-after"]) for answer in answers} == {(503, "2")}
    assert not [answer for answer in answers if "registration_access_token" in answer.text]
    house.store.unavailable = False
    assert replace(house.store.rows.snapshot(), facts=[]) == before
    await other.registered(statement=statement)
    third = house.registrant(seed=3)
    await third.registered(statement=None, token=token, **third.described())
    assert (await agent.manage("GET")).status_code == 200
