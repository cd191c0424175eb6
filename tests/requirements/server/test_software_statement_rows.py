"""Software statements at the registration endpoint: what is told of one, how often it counts, and our policy."""

from __future__ import annotations

from typing import Any, Final

import pytest

from fapi_as.protocol.authority_registration import parse_authority
from tests.support.client_members import ec_jwk
from tests.support.registration_attack import METADATA, NO_STATEMENT, REDIRECT_URI, UNAPPROVED, refused
from tests.support.registration_house import RegistrationHouse
from tests.support.registration_scene import WIDE, Registrant

URIS: Final = ["https://agent.example/callback", "https://agent.example/other"]


@pytest.fixture
def house() -> RegistrationHouse:
    return RegistrationHouse()


@pytest.mark.requirement("SSA-4", proves="holds")
async def test_the_statement_comes_back_byte_for_byte_and_its_claims_beside_it(house: RegistrationHouse) -> None:
    agent = house.registrant()
    claims = agent.claims(logo_uri="https://agent.example/logo", **{"client_name#fr": "Agent honnête"})
    # an order in which nobody here would write it
    statement = agent.authority.signed(dict(reversed(claims.items())), typ="JWT")
    told = await agent.registered(statement=statement)
    read = (await agent.manage("GET")).json()
    for answer in (told, read):
        assert answer["software_statement"] == statement
        asserted = agent.described() | {"logo_uri": "https://agent.example/logo", "client_name#fr": "Agent honnête"}
        asserted |= {"software_id": agent.software_id, "software_version": "1.0"}
        same = {name: answer[name] for name in asserted if name not in {"jwks", "grant_types", "scope"}}
        assert same == {name: asserted[name] for name in same}
        assert set(answer["grant_types"]) == set(asserted["grant_types"])
        assert set(answer["scope"].split()) == set(asserted["scope"].split())
    assert house.kept[agent.client_id].statement == statement


@pytest.mark.requirement("SSA-4", proves="refused")
@pytest.mark.parametrize("change", ["the claims of another one", "one more character", "the signature of another one"])
async def test_a_statement_that_is_not_the_one_that_was_signed_registers_nobody(
    house: RegistrationHouse, change: str
) -> None:
    agent = house.registrant()
    sent = agent.statement()
    header, _, signature = sent.split(".")
    other = agent.statement(software_id="software-2").split(".")[1]
    changed = {
        "the claims of another one": f"{header}.{other}.{signature}",
        "one more character": f"{sent}A",
        "the signature of another one": f"{'.'.join(agent.statement().split('.')[:2])}.{signature}",
    }[change]
    await refused(house, agent.register(statement=changed), NO_STATEMENT)


@pytest.mark.requirement("SSA-5", proves="holds")
async def test_one_statement_serves_as_many_instances_as_the_policy_says(house: RegistrationHouse) -> None:
    house.trust(uses_per_statement=3)
    statement = house.registrant().statement(jwks=...)
    agents = [house.registrant(seed=60 + number) for number in range(3)]
    for agent in agents:
        await agent.registered(statement=statement, grant_types=["authorization_code"], jwks=agent.jwks())
    assert len({agent.client_id for agent in agents}) == len(house.kept) == 3
    keys = [agent.information["jwks"]["keys"][0]["x"] for agent in agents]
    assert len(set(keys)) == 3  # each has its own key


@pytest.mark.requirement("SSA-5", proves="refused")
@pytest.mark.parametrize("uses", [1, 2])
async def test_a_statement_that_is_used_up_lets_nobody_in(house: RegistrationHouse, uses: int) -> None:
    house.trust(uses_per_statement=uses)
    statement = house.registrant().statement()
    for _ in range(uses):
        await house.registrant().registered(statement=statement)
    await refused(house, house.registrant(seed=99).register(statement=statement), NO_STATEMENT, "used before")
    assert len(house.kept) == uses


async def test_a_refused_registration_uses_nothing_of_a_statement(house: RegistrationHouse) -> None:
    agent = house.registrant()
    statement = agent.statement()
    for lie in ({"client_name": "Another"}, {"scope": "admin"}, {"redirect_uris": ["https://evil.example/"]}):
        assert (await agent.register(statement=statement, **lie)).status_code == 400
    await agent.registered(statement=statement)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"redirect_uris": [*URIS, "https://agent.example/third"]}, REDIRECT_URI),
        ({"client_name": "Good Bank"}, METADATA),
        ({"client_name#fr": "Bonne Banque"}, METADATA),
        ({"scope": "accounts:read transfers:write admin"}, METADATA),
        ({"jwks": {"keys": [ec_jwk()]}}, METADATA),
        ({"jwks_uri": "https://agent.example/keys"}, METADATA),
        ({"software_id": "software-2"}, METADATA),
        ({"software_version": "2.0"}, METADATA),
    ],
)
async def test_what_contradicts_a_statement_registers_nobody(
    house: RegistrationHouse, asked: dict[str, Any], expected: tuple[int, str]
) -> None:
    agent = house.registrant()
    await refused(house, agent.register(statement=agent.statement(redirect_uris=URIS), **asked), expected)


async def test_a_part_of_what_the_statement_says_is_registered(house: RegistrationHouse) -> None:
    agent = house.registrant()
    narrow = {"redirect_uris": URIS[:1], "scope": "accounts:read", "grant_types": ["authorization_code"]}
    told = await agent.registered(statement=agent.statement(redirect_uris=URIS), **narrow)
    assert {name: told[name] for name in narrow} == narrow


async def test_an_authority_that_may_not_assert_it_approves_nothing(house: RegistrationHouse) -> None:
    members = house.authority.members(policy=WIDE, may_assert=["redirect_uris", "jwks"])
    house.store.approvers.put_authority(parse_authority(members, version=9))
    agent = house.registrant()
    await refused(house, agent.register(), UNAPPROVED, "may not assert")
    described = agent.described(redirect_uris=..., jwks=...)
    told = await agent.registered(statement=agent.statement(**dict.fromkeys(described, ...)), **described)
    assert told["client_name"] == "Honest agent"


async def test_a_statement_that_was_found_is_worth_nothing_to_the_finder(house: RegistrationHouse) -> None:
    owner, thief = house.registrant(), house.registrant(seed=666)
    found = owner.statement(redirect_uris=..., jwks=...)
    thief.redirect_uri = "https://evil.example/callback"
    mine = {"redirect_uris": [thief.redirect_uri], "jwks": thief.jwks()}
    await refused(house, thief.register(statement=found, **mine), REDIRECT_URI, "nobody vouches")
    no_people = {"grant_types": ["client_credentials"], "redirect_uris": [], "jwks": thief.jwks()}
    await refused(house, thief.register(statement=found, **no_people), METADATA)


async def test_a_statement_for_a_key_is_for_whoever_proves_it(house: RegistrationHouse) -> None:
    owner, thief = house.registrant(), house.registrant(seed=666)
    owner.binds = thief.binds = True
    statement = owner.statement(cnf={"jkt": owner.dpop_key.thumbprint})
    await refused(house, thief.register(statement=statement), NO_STATEMENT, "cnf.jkt")
    await owner.registered(statement=statement)
    assert house.kept[owner.client_id].token_jkt == owner.dpop_key.thumbprint


async def test_what_the_policy_dictates_is_told(house: RegistrationHouse) -> None:
    house.trust(sender_constraints=["mtls"])
    told = await house.registrant().registered()
    assert (told["dpop_bound_access_tokens"], told["tls_client_certificate_bound_access_tokens"]) == (True, True)


@pytest.mark.parametrize(
    ("policy", "about"),
    [
        ({"scope": ["accounts:read"]}, "scope"),
        ({"token_endpoint_auth_methods": ["tls_client_auth"]}, "token_endpoint_auth_method"),
        ({"algorithms": ["PS256"]}, "jwks"),
        ({"refresh_tokens": False}, "grant_types"),
        ({"reserved_names": ["honest agents of the bank", "HONE5T"]}, None),
    ],
)
async def test_what_an_authority_signs_is_still_under_our_policy(
    house: RegistrationHouse, policy: dict[str, Any], about: str | None
) -> None:
    house.trust(**policy)
    agent: Registrant = house.registrant()
    if about is None:  # the authority gave it this name
        assert (await agent.register()).status_code == 201
        return
    answer = await refused(house, agent.register(), METADATA)
    assert about in answer.json()["error_description"]
