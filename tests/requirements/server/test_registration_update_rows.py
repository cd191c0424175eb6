"""Updating a registration (RFC 7592 §2.2): all of it anew, and judged as a new one would be today."""

from __future__ import annotations

from typing import Any, Final

import pytest

from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.effects import HandleKind
from tests.support.fapi_client import Refused, error_of
from tests.support.house import PASSWORD, page
from tests.support.peer_keys import PeerKey
from tests.support.registration_house import (
    METADATA_ERROR,
    UNAUTHORIZED,
    RegistrationHouse,
    by_token,
    managed,
    nothing_kept,
    refused,
    registered,
)
from tests.support.registration_scene import Registrant, SoftwareAuthority


@pytest.fixture
def house() -> RegistrationHouse:
    return RegistrationHouse()


# --- DCM-7, DCM-8, DCM-9: updating


@pytest.mark.requirement("DCM-7", proves="holds")
async def test_what_an_update_leaves_out_is_not_registered_any_more(house: RegistrationHouse) -> None:
    agent = house.registrant()
    more = {"tos_uri": "https://agent.example/terms", "contacts": ["ops@agent.example"], "default_max_age": 60}
    await agent.registered(statement=None, token=house.token(), **agent.described(**more))
    assert more.items() <= agent.information.items()
    await agent.manage("PUT", agent.replacement(tos_uri=..., contacts=..., default_max_age=None))
    assert not more.keys() & agent.information.keys()
    assert (await agent.manage("GET")).json() == agent.information


PARTIAL: Final[dict[str, dict[str, Any]]] = {
    "no client_id": {"client_id": ...},
    "another client_id": {"client_id": "agent"},
    "a list of client_ids": {"client_id": ["{}"]},
    "no keys": {"jwks": ...},
    "no redirect_uris": {"redirect_uris": ...},
    "no method": {"token_endpoint_auth_method": ...},
    "no scope": {"scope": ...},
}


@pytest.mark.requirement("DCM-7", proves="refused")
@pytest.mark.parametrize("part", PARTIAL)
async def test_a_part_of_a_registration_replaces_nothing(house: RegistrationHouse, part: str) -> None:
    agent = await by_token(house)
    with nothing_kept(house):
        response = await agent.manage("PUT", agent.replacement(**PARTIAL[part]))
        expected = (400, "invalid_redirect_uri") if part == "no redirect_uris" else METADATA_ERROR
        await refused(house, response, expected)
    assert (await agent.client_credentials()).access_token


@pytest.mark.requirement("DCM-8", proves="holds")
async def test_an_update_of_metadata_alone_is_taken(house: RegistrationHouse) -> None:
    agent = await registered(house)
    assert (await managed(agent, "PUT")).status_code == 200


@pytest.mark.requirement("DCM-8", proves="refused")
@pytest.mark.parametrize(
    "member",
    [
        *("registration_access_token", "registration_client_uri", "client_id_issued_at"),
        *("client_secret_expires_at", "client_secret"),
    ],
)
async def test_what_the_server_alone_says_is_not_sent_back(house: RegistrationHouse, member: str) -> None:
    agent = await registered(house)
    for value in (agent.information.get(member, 0), None, "chosen" * 10):
        with nothing_kept(house):
            response = await agent.manage("PUT", agent.replacement(**{member: value}))
            await refused(house, response, METADATA_ERROR, member)


@pytest.mark.requirement("DCM-9", proves="holds")
async def test_an_update_is_judged_by_todays_policy_and_a_fresh_statement_counts(house: RegistrationHouse) -> None:
    agent = await registered(house)
    jti = house.kept[agent.client_id].statement_jti
    fresh = agent.statement(redirect_uris=["https://agent.example/new"], software_version="2.0")
    asked = agent.replacement(
        software_statement=fresh, redirect_uris=["https://agent.example/new"], software_version="2.0"
    )
    told = await agent.manage("PUT", asked)
    assert (told.status_code, told.json()["software_statement"]) == (200, fresh)
    kept = house.kept[agent.client_id]
    assert (kept.statement, kept.statement_jti != jti) == (fresh, True)
    (fact,) = house.store.facts_of(AuditEvent.CLIENT_UPDATED)
    assert (fact.detail or "").endswith("changed: redirect_uris, software_version")
    other = await registered(house, seed=2)
    response = await other.manage("PUT", {**asked, "client_id": other.client_id})
    assert error_of(response) == "invalid_software_statement"  # its one use is over


async def test_an_update_that_says_no_statement_stands_under_the_one_on_file(house: RegistrationHouse) -> None:
    agent = await registered(house)
    statement = agent.information["software_statement"]
    for asked in (agent.replacement(software_statement=...), agent.replacement()):
        response = await agent.manage("PUT", asked)
        assert (response.status_code, response.json()["software_statement"]) == (200, statement)
    narrowed = {"client_id": agent.client_id, "scope": "accounts:read"}  # all else is as the statement says
    response = await agent.manage("PUT", narrowed)
    assert (response.status_code, response.json()["scope"]) == (200, "accounts:read")
    with nothing_kept(house):
        response = await agent.manage("PUT", {**narrowed, "client_name": "Your bank"})
        await refused(house, response, METADATA_ERROR, "client_name")


def _changed(house: RegistrationHouse, agent: Registrant) -> dict[str, tuple[Any, tuple[int, str]]]:
    """What happens before an update, what the update says then, and how it is refused."""
    stranger = SoftwareAuthority("https://stranger.example", key=PeerKey.es256(seed=90_002))

    def narrower() -> dict[str, Any]:
        house.trust(scope=["accounts:read"])
        return agent.replacement()

    def another_method() -> dict[str, Any]:
        house.trust(token_endpoint_auth_methods=["tls_client_auth"])
        return agent.replacement()

    def over() -> dict[str, Any]:
        house.clock.advance(3700)
        return agent.replacement()

    def suspended() -> dict[str, Any]:
        house.store.suspend(house.authority.issuer)
        return agent.replacement()

    def withdrawn_since() -> dict[str, Any]:
        fresh = agent.claims()
        house.store.withdraw("statement", house.authority.issuer, fresh["jti"], version=99)
        return agent.replacement(software_statement=house.authority.signed(fresh))

    def another_software() -> dict[str, Any]:
        return agent.replacement(software_statement=agent.statement(software_id="software-2"), software_id=...)

    def another_authority() -> dict[str, Any]:
        house.trust(stranger)
        return agent.replacement(software_statement=stranger.signed(agent.claims(iss=stranger.issuer)))

    def more_than_the_statement() -> dict[str, Any]:
        return agent.replacement(redirect_uris=[agent.redirect_uri, "https://evil.example/callback"])

    return {
        "a narrower policy": (narrower, METADATA_ERROR),
        "another method in the policy": (another_method, METADATA_ERROR),
        "a statement that is over": (over, (400, "invalid_software_statement")),
        "a suspended authority": (suspended, UNAUTHORIZED),
        "a withdrawn statement": (withdrawn_since, (400, "unapproved_software_statement")),
        "a statement about other software": (another_software, (400, "unapproved_software_statement")),
        "a statement of another authority": (another_authority, (400, "unapproved_software_statement")),
        "more than the statement": (more_than_the_statement, (400, "invalid_redirect_uri")),
    }


@pytest.mark.requirement("DCM-9", proves="refused")
@pytest.mark.parametrize(
    "change",
    [
        "a narrower policy",
        "another method in the policy",
        "a statement that is over",
        "a suspended authority",
        "a withdrawn statement",
        "a statement about other software",
        "a statement of another authority",
        "more than the statement",
    ],
)
async def test_an_update_is_refused_like_a_registration_of_today(house: RegistrationHouse, change: str) -> None:
    agent = await registered(house)
    before = house.kept[agent.client_id]
    prepare, expected = _changed(house, agent)[change]
    with nothing_kept(house):
        await refused(house, await agent.manage("PUT", prepare()), expected)
    assert house.kept[agent.client_id] == before


async def test_a_client_without_a_statement_gets_none_by_an_update(house: RegistrationHouse) -> None:
    agent = await by_token(house)
    with nothing_kept(house):
        response = await agent.manage("PUT", agent.replacement(software_statement=agent.statement()))
        await refused(house, response, METADATA_ERROR, "a statement for a token's client")


async def test_a_redirect_uri_that_is_gone_ends_requests_and_codes_that_wait_for_it(house: RegistrationHouse) -> None:
    agent = await by_token(house)
    pushed = await agent.push()
    second = await agent.push()
    code = await agent.authorize(second, username="alice", password=PASSWORD)
    await agent.manage("PUT", agent.replacement(redirect_uris=["https://agent.example/new"]))
    place = await agent.browser.open(agent.authorization_url(pushed))
    assert (page(place).error, place.status) == ("invalid_request", 400)
    with pytest.raises(Refused) as raised:
        await agent.redeem(code, second)
    assert raised.value.error == "invalid_grant"


async def test_a_person_who_is_deciding_does_not_allow_what_changed_meanwhile(house: RegistrationHouse) -> None:
    agent = await by_token(house)
    place = await house.asked(client=agent)
    await agent.manage("PUT", agent.replacement(client_name="Your bank"))
    again = page(await agent.browser.submit(place, "consent-approve"))
    assert again.has("consent-approve")  # asked once more, by its new name
    assert "Your bank" in again.text
    assert not house.store.handles_of(HandleKind.CODE)
