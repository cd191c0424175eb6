"""Dynamic registration (RFC 7591): what is answered, how many there may be, and what a refusal leaves behind."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

import pytest

from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import CLIENTS_PER_DAY_WINDOW, REGISTRATIONS_WINDOW, UNFINISHED_REGISTRATION
from rs_kit.protocol import jwk, jws
from tests.support.fakes import ISSUER, NOW
from tests.support.fapi_client import error_of
from tests.support.peer_keys import PeerKey
from tests.support.registration_house import (
    METADATA_ERROR,
    MUTUAL_TLS_URL,
    NO_STORE,
    POLICY,
    REGISTER,
    RegistrationHouse,
    nothing_kept,
    posted,
    refused,
)
from tests.support.registration_scene import GRANTS, REDIRECT_URI, Registrant, SoftwareAuthority


@pytest.fixture
def house() -> RegistrationHouse:
    return RegistrationHouse()


# --- DCR-1: one JSON object


@pytest.mark.requirement("DCR-1", proves="holds")
@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
async def test_one_json_object_registers(house: RegistrationHouse, content_type: str) -> None:
    agent = house.registrant()
    body = json.dumps({"software_statement": agent.statement()}).encode()
    assert (await posted(house, body, content_type)).status_code == 201


BODIES: Final[dict[str, tuple[bytes, str | None, tuple[int, str]]]] = {
    "a form": (b"client_name=x", "application/x-www-form-urlencoded", (415, "invalid_client_metadata")),
    "no type": (b"{}", None, (415, "invalid_client_metadata")),
    "text": (b"{}", "text/plain", (415, "invalid_client_metadata")),
    "another json": (b"{}", "application/json-patch+json", (415, "invalid_client_metadata")),
    "a list": (b"[]", "application/json", METADATA_ERROR),
    "a string": (b'"x"', "application/json", METADATA_ERROR),
    "nothing": (b"", "application/json", METADATA_ERROR),
    "two objects": (b"{}{}", "application/json", METADATA_ERROR),
    "a repeated member": (b'{"scope":"a","scope":"b"}', "application/json", METADATA_ERROR),
    "a repeated member inside": (b'{"jwks":{"keys":[],"keys":[]}}', "application/json", METADATA_ERROR),
    "no number": (b'{"default_max_age":NaN}', "application/json", METADATA_ERROR),
    "another encoding": ('{"client_name":"é"}'.encode("utf-16"), "application/json", METADATA_ERROR),
    "a lone surrogate": (b'{"client_name":"\\ud800"}', "application/json", METADATA_ERROR),
    "too deep": (b'{"a":' + b"[" * 64 + b"]" * 64 + b"}", "application/json", METADATA_ERROR),
}


@pytest.mark.requirement("DCR-1", proves="refused")
@pytest.mark.parametrize("body", BODIES)
async def test_anything_but_one_json_object_is_refused(house: RegistrationHouse, body: str) -> None:
    content, content_type, expected = BODIES[body]
    with nothing_kept(house):
        await refused(house, await posted(house, content, content_type), expected)


async def test_what_is_no_post_is_told_what_there_is(house: RegistrationHouse) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
        response = await posted(house, b"", None, method=method)
        assert (response.status_code, response.headers["allow"]) == (405, "POST")


async def test_parameters_in_the_url_are_refused_whatever_else_is_right(house: RegistrationHouse) -> None:
    token = house.token()
    with nothing_kept(house):
        body = json.dumps(house.registrant().described()).encode()
        response = await posted(house, body, "application/json", url=f"{REGISTER}?access_token={token}")
        await refused(house, response, (400, "invalid_request"))


# --- DCR-4: what is answered


@pytest.mark.requirement("DCR-4", proves="holds")
async def test_the_answer_says_all_that_was_registered_and_how_to_manage_it(house: RegistrationHouse) -> None:
    agent = house.registrant()
    statement = agent.statement()
    response = await agent.register(statement=statement)
    assert (response.status_code, response.headers["cache-control"]) == (201, NO_STORE)
    told = response.json()
    assert told["client_id"] in house.kept
    assert told["client_id_issued_at"] == NOW
    assert told["registration_client_uri"] == f"{REGISTER}/{told['client_id']}"
    assert len(told["registration_access_token"]) == 43  # 256 bits
    assert told["software_statement"] == statement
    effective = {"client_name", "redirect_uris", "grant_types", "scope", "jwks", "token_endpoint_auth_method"}
    defaults = {
        "application_type": "web",
        "response_types": ["code"],
        "dpop_bound_access_tokens": True,
        "tls_client_certificate_bound_access_tokens": False,
        "id_token_signed_response_alg": "ES256",
        "subject_type": "public",
    }
    assert effective <= told.keys()
    assert {name: told[name] for name in defaults} == defaults
    assert sorted(told["grant_types"]) == sorted(GRANTS)


@pytest.mark.requirement("DCR-4", proves="refused")
async def test_nobody_is_told_a_secret_or_chooses_what_is_the_servers(house: RegistrationHouse) -> None:
    agent = house.registrant()
    ours = {
        "client_id": "mine",
        "client_id_issued_at": 1,
        "registration_access_token": "mine" * 12,
        "registration_client_uri": "https://evil.example/",
        "client_secret_expires_at": 0,
    }
    told = await agent.registered(**ours)
    assert not {"client_secret", "client_secret_expires_at"} & told.keys()
    assert all(told[name] != ours[name] for name in ours.keys() & told.keys())
    kept = house.kept[agent.client_id]
    assert told["registration_access_token"] not in repr(house.store.rows)
    assert kept.token_digest == digest_of(told["registration_access_token"])
    with nothing_kept(house):
        await refused(house, await agent.register(client_secret="s" * 40), METADATA_ERROR)


# --- DCR-6: errors


def _errors(house: RegistrationHouse, agent: Registrant) -> dict[str, dict[str, Any]]:
    stranger = SoftwareAuthority("https://stranger.example")
    return {
        "invalid_redirect_uri": {"statement": agent.statement(redirect_uris=["http://agent.example/callback"])},
        "invalid_client_metadata": {"statement": agent.statement(token_endpoint_auth_method="client_secret_basic")},
        "invalid_software_statement": {"statement": agent.authority.signed(agent.claims(), key=PeerKey.es256())},
        "unapproved_software_statement": {"statement": stranger.signed(agent.claims(iss=stranger.issuer))},
    }


@pytest.mark.requirement("DCR-6", proves="holds")
@pytest.mark.parametrize(
    "code",
    ["invalid_redirect_uri", "invalid_client_metadata", "invalid_software_statement", "unapproved_software_statement"],
)
async def test_each_error_has_its_code_and_a_sentence(house: RegistrationHouse, code: str) -> None:
    agent = house.registrant()
    with nothing_kept(house):
        response = await refused(house, await agent.register(**_errors(house, agent)[code]), (400, code))
    assert set(response.json()) == {"error", "error_description"}


@pytest.mark.requirement("DCR-6", proves="refused")
@pytest.mark.parametrize("value", ["<script>alert(1)</script>", "naïve ünïcode", 'quote " and \\', "\u202egnp.exe"])
@pytest.mark.parametrize("member", ["redirect_uris", "jwks_uri", "application_type", "token_endpoint_auth_method"])
async def test_no_error_says_again_what_came_in(house: RegistrationHouse, member: str, value: str) -> None:
    agent = house.registrant()
    with nothing_kept(house):
        asked = {**agent.described(), member: [value] if member == "redirect_uris" else value}
        response = await agent.register(statement=None, token=house.token(), **asked)
        assert response.status_code == 400
        await refused(house, response, (400, str(error_of(response))))
    assert value not in response.text
    assert json.dumps(value)[1:-1] not in response.text


# --- DCR-16: how many


@pytest.mark.requirement("DCR-16", proves="refused")
@pytest.mark.parametrize("quota", ["of a day", "of a source", "of a software"])
async def test_beyond_a_quota_there_is_no_client_and_a_time_to_wait(quota: str) -> None:
    per_source = 3 if quota == "of a source" else 600
    house = RegistrationHouse(policy=replace(POLICY, registrations_per_source=per_source))
    house.trust(clients_per_day=3 if quota == "of a day" else 100, clients_per_software=3 if "soft" in quota else 100)
    for number in range(3):
        await house.registrant(seed=20 + number).registered()
    with nothing_kept(house):
        response = await house.registrant(seed=30).register()
        await refused(house, response, (429, "invalid_request"))
        assert int(response.headers["retry-after"]) > 0
    assert len(house.kept) == 3


async def test_under_the_quotas_everybody_is_let_in_and_each_ends_by_itself() -> None:
    """Another day, another source, another software: none of them is held up by what others did."""
    house = RegistrationHouse(policy=replace(POLICY, registrations_per_source=1))
    house.trust(clients_per_day=3, clients_per_software=1)
    await house.registrant(seed=40).registered()
    assert (await house.registrant(seed=41, software_id="two").register()).status_code == 429
    house.source = "192.0.2.77"
    await house.registrant(seed=42, software_id="two").registered()
    house.clock.advance(seconds(REGISTRATIONS_WINDOW) + 1)
    await house.registrant(seed=43, software_id="three").registered()
    house.source = "192.0.2.78"
    assert (await house.registrant(seed=44, software_id="four").register()).status_code == 429
    house.clock.advance(seconds(CLIENTS_PER_DAY_WINDOW) + 1)
    await house.registrant(seed=45, software_id="four").registered()


async def test_one_that_was_never_used_makes_room_and_one_that_was_does_not(house: RegistrationHouse) -> None:
    house.trust(clients_per_software=1)
    first, second = house.registrant(seed=50), house.registrant(seed=51)
    await first.registered()
    assert (await second.register()).status_code == 429  # younger than a registration takes
    house.clock.advance(seconds(UNFINISHED_REGISTRATION) + 1)
    await second.registered()
    assert set(house.kept) == {second.client_id}
    assert (await first.manage("GET")).status_code == 401
    await second.client_credentials()
    house.clock.advance(seconds(UNFINISHED_REGISTRATION) + 1)
    assert (await house.registrant(seed=52).register()).status_code == 429
    assert set(house.kept) == {second.client_id}


async def test_whoever_fails_too_often_is_not_listened_to_and_others_are(
    house: RegistrationHouse,
) -> None:
    agent = house.registrant()
    for _ in range(100):
        assert (await agent.register(statement="no.statement.x")).status_code == 400
    response = await agent.register(statement="no.statement.x")
    assert (response.status_code, response.headers["retry-after"]) == (429, "60")
    assert (await agent.register()).status_code == 429
    house.source = "192.0.2.99"
    await agent.registered()


# --- DCR-17: never in the place of another


@pytest.mark.requirement("DCR-17", proves="holds")
async def test_two_registrations_are_two_clients(house: RegistrationHouse) -> None:
    house.trust(uses_per_statement=2)
    first, second = house.registrant(), house.registrant()
    statement = first.statement()
    await first.registered(statement=statement)
    await second.registered(statement=statement)
    assert first.client_id != second.client_id
    assert first.information["registration_access_token"] != second.information["registration_access_token"]
    assert set(house.kept) == {first.client_id, second.client_id}


@pytest.mark.requirement("DCR-17", proves="refused")
async def test_a_client_id_in_the_request_takes_nobodys_place(house: RegistrationHouse) -> None:
    victim, thief = house.registrant(), house.registrant(seed=666)
    await victim.registered()
    before = house.kept[victim.client_id]
    for taken in (victim.client_id, "agent"):
        await thief.registered(client_id=taken)
        assert thief.client_id not in {victim.client_id, "agent"}
    assert house.kept[victim.client_id] == before
    assert house.store.clients["agent"].client_name == "The agent"


# --- where it is told of


async def test_the_metadata_name_the_endpoint_and_its_alias(house: RegistrationHouse) -> None:
    document = (await house.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()
    assert document["registration_endpoint"] == REGISTER
    assert document["mtls_endpoint_aliases"]["registration_endpoint"] == f"{MUTUAL_TLS_URL}/register"


async def test_no_key_of_anybody_reads_an_answer_as_a_statement(house: RegistrationHouse) -> None:
    """What is kept of a statement is what came, byte for byte, and verifies with the authority's key alone."""
    agent = house.registrant()
    told = await agent.registered()
    unverified = jws.parse_compact(
        told["software_statement"],
        algorithms=frozenset({"ES256"}),
        types=frozenset({"JWT"}),
        type_required=False,
        max_length=16_384,
    )
    (key,) = house.authority.members()["jwks"]["keys"]
    assert jws.verify(unverified, [jwk.parse_public(key)]).claims["redirect_uris"] == [REDIRECT_URI]
