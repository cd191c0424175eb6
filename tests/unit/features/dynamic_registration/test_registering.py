"""POST /register where the world changes, a certificate is asked for, or something cannot be had."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest

from fapi_as.kernel.messages import EndpointRequest, Json
from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.authority_registration import parse_authority
from fapi_as.protocol.errors import ProtocolError
from fapi_as.protocol.policy import Policy
from tests.support.certificates import self_signed
from tests.support.fakes import ISSUER
from tests.support.fapi_client import error_of
from tests.support.registration_house import (
    MUTUAL_TLS_URL,
    POLICY,
    REGISTER,
    ChangingStore,
    RegistrationHouse,
    changing,
)
from tests.support.registration_scene import SOFTWARE, WIDE, Registrant

YEAR: Final = 365 * 24 * 3600


@pytest.fixture
def house() -> RegistrationHouse:
    return RegistrationHouse(store=ChangingStore())


@pytest.mark.parametrize("change", ["another policy", "suspended", "the statement is withdrawn"])
async def test_an_authority_that_changed_meanwhile_approved_nobody(house: RegistrationHouse, change: str) -> None:
    agent, issuer = house.registrant(), house.authority.issuer
    claims = agent.claims()
    changing(house).meanwhile = {
        "another policy": lambda: house.trust(scope=["accounts:read"]),
        "suspended": lambda: house.store.suspend(issuer),
        "the statement is withdrawn": lambda: house.store.withdraw("statement", issuer, claims["jti"], version=77),
    }[change]
    response = await agent.register(statement=house.authority.signed(claims))
    assert (response.status_code, error_of(response)) == (400, "unapproved_software_statement")
    assert not house.kept
    assert house.last_detail == "statement: the authority changed"


@pytest.mark.parametrize("change", ["revoked", "used up", "another policy"])
async def test_an_initial_access_token_that_changed_meanwhile_let_in_nobody(
    house: RegistrationHouse, change: str
) -> None:
    token, agent = house.token(), house.registrant()
    changing(house).meanwhile = {
        "revoked": lambda: house.store.suspend("token:invitation"),
        "used up": lambda: house.store.rows.registrations.uses_left.update({"token:invitation": 0}),
        "another policy": lambda: house.token(scope=["accounts:read"]),
    }[change]
    response = await agent.register(statement=None, token=token, **agent.described())
    assert (response.status_code, error_of(response)) == (401, "invalid_token")
    assert all('error="invalid_token"' in each for each in response.headers.get_list("www-authenticate"))
    assert not house.kept


async def test_a_proof_that_was_used_meanwhile_registers_nobody(house: RegistrationHouse) -> None:
    agent = house.registrant()
    agent.binds = True
    await agent.registered()
    house.trust(uses_per_statement=9)
    with agent.lying(jti="the same again"):
        await agent.registered()
        response = await agent.register()
    assert (response.status_code, error_of(response)) == (400, "invalid_dpop_proof")
    assert len(house.kept) == 2


async def test_a_statement_is_used_up_for_its_whole_life_however_long_it_is(house: RegistrationHouse) -> None:
    """A window that is counted back from today would have forgotten its first use by now."""
    agent = house.registrant()
    statement = agent.statement(exp=house.clock.now() + YEAR)
    await agent.registered(statement=statement)
    house.clock.advance(YEAR - 60)
    response = await agent.register(statement=statement)
    assert (response.status_code, error_of(response)) == (400, "invalid_software_statement")
    assert house.last_detail == "statement: used before"


async def test_a_statement_registers_as_many_as_the_policy_says(house: RegistrationHouse) -> None:
    house.trust(uses_per_statement=2)
    agent = house.registrant()
    statement = agent.statement()
    for status in (201, 201, 400):
        assert (await agent.register(statement=statement)).status_code == status
    other = agent.claims(jti=agent.claims()["jti"] + "x")
    assert (await agent.register(statement=house.authority.signed(other))).status_code == 201


async def test_what_was_refused_uses_nothing_up(house: RegistrationHouse) -> None:
    agent = house.registrant()
    statement = agent.statement()
    assert (await agent.register(statement=statement, client_name="Your bank")).status_code == 400
    house.store.unavailable = True
    response = await agent.register(statement=statement)
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    house.store.unavailable = False
    token = house.token()
    assert (await agent.register(statement=None, token=token)).status_code == 400
    await agent.registered(statement=statement)
    await agent.registered(statement=None, token=token, **agent.described())


async def test_an_authority_whose_keys_cannot_be_had_approves_nobody(house: RegistrationHouse) -> None:
    uri = "https://authority.example/jwks"
    members = house.authority.members(jwks=..., jwks_uri=uri, policy=WIDE)
    house.store.approvers.put_authority(parse_authority(members, version=50))
    response = await house.registrant().register()
    assert (response.status_code, error_of(response)) == (400, "invalid_software_statement")
    assert house.last_detail == "statement: jwks_uri is not fetched"


async def test_a_signed_request_of_software_whose_keys_cannot_be_had_is_refused(house: RegistrationHouse) -> None:
    agent = house.registrant()
    claims = agent.claims(jwks=..., jwks_uri="https://agent.example/jwks")
    response = await agent.register(statement=house.authority.signed(claims), sign=True)
    assert (response.status_code, error_of(response)) == (400, "invalid_client_metadata")
    assert house.last_detail == "signed registration: jwks_uri is not fetched"
    assert response.json()["error_description"] == "the keys of the software cannot be had"


# --- certificates


def over_mutual_tls(house: RegistrationHouse, **what: Any) -> Registrant:
    agent = house.registrant(**what)
    agent.shown = self_signed()
    agent.metadata["registration_endpoint"] = f"{MUTUAL_TLS_URL}/register"
    return agent


async def test_where_a_certificate_is_demanded_nobody_registers_without_one(house: RegistrationHouse) -> None:
    house.trust(mutual_tls=True)
    response = await house.registrant().register()
    assert (response.status_code, error_of(response)) == (401, "invalid_token")
    assert response.json()["error_description"] == "a client certificate is required, see mtls_endpoint_aliases"
    assert response.headers.get_list("www-authenticate")
    assert not house.kept
    agent = over_mutual_tls(house)
    told = await agent.registered()
    assert told["registration_client_uri"] == f"{MUTUAL_TLS_URL}/register/{agent.client_id}"
    assert (await agent.manage("GET")).json() == told


async def test_an_update_needs_the_certificate_that_a_registration_needs(house: RegistrationHouse) -> None:
    house.trust(mutual_tls=True)
    agent = over_mutual_tls(house)
    await agent.registered()
    elsewhere = f"{REGISTER}/{agent.client_id}"
    response = await agent.manage("PUT", agent.replacement(), url=elsewhere)
    assert (response.status_code, error_of(response)) == (401, "invalid_token")
    assert (await agent.manage("GET", url=elsewhere)).status_code == 200
    assert (await agent.manage("PUT", agent.replacement())).status_code == 200


@pytest.mark.parametrize("shown", ["another", None])
async def test_a_statement_for_one_certificate_is_worth_nothing_with_another(
    house: RegistrationHouse, shown: str | None
) -> None:
    agent = over_mutual_tls(house)
    mine = agent.shown
    statement = agent.statement(cnf={"x5t#S256": mine.x5t})
    agent.shown = None if shown is None else self_signed()
    response = await agent.register(statement=statement)
    assert (response.status_code, error_of(response)) == (400, "invalid_software_statement")
    agent.shown = mine
    await agent.registered(statement=statement)


async def test_a_statement_for_one_key_comes_with_its_proof(house: RegistrationHouse) -> None:
    agent = house.registrant()
    statement = agent.statement(cnf={"jkt": agent.dpop_key.thumbprint})
    response = await agent.register(statement=statement)
    assert (response.status_code, error_of(response)) == (400, "invalid_software_statement")
    agent.binds = True
    await agent.registered(statement=statement)
    assert house.kept[agent.client_id].token_jkt == agent.dpop_key.thumbprint


@pytest.mark.parametrize("lie", [{"htu": f"{ISSUER}/token"}, {"ath": "x" * 43}, {"htm": "PUT"}, {"iat": 1}])
async def test_a_wrong_proof_registers_nobody_though_none_was_needed(
    house: RegistrationHouse, lie: dict[str, Any]
) -> None:
    agent = house.registrant()
    agent.binds = True
    await agent.registered()
    token = house.token(jkt=agent.dpop_key.thumbprint)
    with agent.lying(**lie):
        by_statement = await agent.register() if "ath" not in lie else None
        by_token = await agent.register(statement=None, token=token, **agent.described())
    if by_statement is not None:
        assert (by_statement.status_code, error_of(by_statement)) == (400, "invalid_dpop_proof")
    assert (by_token.status_code, error_of(by_token)) == (401, "invalid_dpop_proof")
    assert [each.partition(" ")[0] for each in by_token.headers.get_list("www-authenticate")] == ["DPoP"]
    assert len(house.kept) == 1


# --- what is registered is bound to where


async def test_a_statement_for_another_server_opens_none(house: RegistrationHouse) -> None:
    agent = house.registrant()
    for audience in ("https://other.example", f"{ISSUER}/t/acme", f"{ISSUER}/", ["https://other.example"]):
        response = await agent.register(statement=agent.statement(aud=audience))
        assert (response.status_code, error_of(response)) == (400, "invalid_software_statement")
    await agent.registered(statement=agent.statement(aud=[ISSUER, "https://other.example"]))


async def test_each_tenant_manages_its_clients_at_its_own_address(house: RegistrationHouse) -> None:
    acme = replace(house.context, policy=Policy(tenant="acme", issuer=f"{ISSUER}/t/acme"))
    agent = house.registrant()
    message = agent.register_request(b'{"software_statement":"%b"}' % agent.statement().encode())
    request = EndpointRequest(
        method="POST",
        path="/register",
        headers=tuple((name.encode(), value.encode()) for name, value in message.headers),
        body=message.body,
        now=house.clock.now(),
        correlation_id="c",
        source="192.0.2.1",
    )
    answer = await house.endpoints["/register"].methods["POST"](acme, request)
    assert isinstance(answer, Json)
    assert answer.payload["registration_client_uri"] == f"{ISSUER}/t/acme/register/{answer.payload['client_id']}"


async def test_the_fact_of_a_registration_says_who_approved_it_and_holds_no_secret(house: RegistrationHouse) -> None:
    agent = house.registrant()
    claims = agent.claims(jti="statement-7")
    told = await agent.registered(statement=house.authority.signed(claims))
    (fact,) = house.store.facts_of(AuditEvent.CLIENT_REGISTERED)
    assert fact.detail == f"approved by {house.authority.issuer} for {SOFTWARE} with statement statement-7"
    assert told["registration_access_token"] not in repr(house.store.facts)


async def through_a_proxy(house: RegistrationHouse, statement: str, certificate: bytes | None) -> str:
    """What becomes of a registration whose address is everybody's."""
    request = EndpointRequest(
        method="POST",
        path="/register",
        headers=((b"content-type", b"application/json"),),
        body=b'{"software_statement":"%b"}' % statement.encode(),
        now=house.clock.now(),
        correlation_id="c",
        source="192.0.2.1",
        peer_certificate=certificate,
        proxied=True,
    )
    try:
        answer = await house.endpoints["/register"].methods["POST"](house.context, request)
    except ProtocolError as error:
        return type(error).__name__
    return str(isinstance(answer, Json))


async def test_a_stranger_behind_the_proxy_of_all_keeps_nobody_from_registering(house: RegistrationHouse) -> None:
    """The address is everybody's there; a certificate tells one peer from another."""
    agent = house.registrant()
    mine, others = self_signed().der, self_signed().der
    for certificate in (None, others):
        for _ in range(101):
            last = await through_a_proxy(house, "no.statement.x", certificate)
        assert last == ("InvalidSoftwareStatement" if certificate is None else "TooManyRequests")
    assert await through_a_proxy(house, agent.statement(), others) == "TooManyRequests"
    assert await through_a_proxy(house, agent.statement(), mine) == "True"
    assert await through_a_proxy(house, agent.statement(), None) == "True"


async def test_who_registers_much_through_the_proxy_of_all_keeps_nobody_from_it_either() -> None:
    house = RegistrationHouse(policy=replace(POLICY, registrations_per_source=1))
    agent, mine, others = house.registrant(), self_signed().der, self_signed().der
    for certificate, expected in (
        (others, ["True", "TooManyRequests"]),
        (None, ["True", "True"]),  # as many as its approver may bring
        (mine, ["True", "TooManyRequests"]),
    ):
        assert [await through_a_proxy(house, agent.statement(), certificate) for _ in range(2)] == expected
