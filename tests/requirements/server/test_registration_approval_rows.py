"""Who lets a client in (RFC 7591 §3): a statement or a token, and what may be signed beside it."""

from __future__ import annotations

from typing import Any, Final

import pytest

from fapi_as.protocol.audit_events import AuditEvent
from tests.support.fakes import ISSUER, NOW
from tests.support.fapi_client import error_of
from tests.support.house import PASSWORD
from tests.support.peer_keys import PeerKey
from tests.support.registration_house import (
    METADATA_ERROR,
    REGISTER,
    RegistrationHouse,
    nothing_kept,
    posted,
    refused,
)
from tests.support.registration_scene import SOFTWARE, Registrant


@pytest.fixture
def house() -> RegistrationHouse:
    return RegistrationHouse()


# --- DCR-2, DCR-3: an approval


@pytest.mark.requirement("DCR-2", proves="holds")
@pytest.mark.parametrize("approval", ["statement", "token"])
async def test_a_statement_or_an_initial_access_token_lets_a_client_in(house: RegistrationHouse, approval: str) -> None:
    agent = house.registrant()
    if approval == "statement":
        await agent.registered()
    else:
        await agent.registered(statement=None, token=house.token(), **agent.described())
    (fact,) = house.store.facts_of(AuditEvent.CLIENT_REGISTERED)
    assert fact.client_id == agent.client_id
    approver = house.authority.issuer if approval == "statement" else "token:invitation"
    assert (fact.detail or "").startswith(f"approved by {approver}")
    tokens = await agent.obtain(username="alice", password=PASSWORD)
    assert tokens.access_token


UNAPPROVED: Final[dict[str, tuple[Any, str | None, str | None]]] = {
    "nothing": (..., None, "neither"),
    "another scheme": ("Basic YTpi", None, "no credentials of our scheme"),
    "an unknown token": (f"Bearer {'y' * 43}", "invalid_token", "unknown or revoked"),
    "a registration access token": ("Bearer {rat}", "invalid_token", "unknown or revoked"),
    "a token behind the wrong scheme": ("DPoP {token}", "invalid_token", "scheme"),
}


@pytest.mark.requirement("DCR-2", proves="refused")
@pytest.mark.parametrize("lie", UNAPPROVED)
async def test_without_an_approval_there_is_a_challenge_and_no_client(house: RegistrationHouse, lie: str) -> None:
    said, error, reason = UNAPPROVED[lie]
    other = house.registrant()
    known = await other.registered()
    agent = house.registrant(seed=2)
    if said is not ...:
        said = said.format(rat=known["registration_access_token"], token=house.token())
    with nothing_kept(house), agent.lying(authorization=said):
        response = await agent.register(statement=None, **agent.described())
        await refused(house, response, (401, "invalid_token"), reason)
    challenges = response.headers.get_list("www-authenticate")
    assert [challenge.partition(" ")[0] for challenge in challenges] == ["DPoP", "Bearer"]
    assert all(("error=" in challenge) == (error is not None) for challenge in challenges)


MALFORMED: Final = ["Bearer", "Bearer ", "Bearer  two", "Bearer a b", "Bearer a,b", "", " ", "Bearer \x7f", "bearer=x"]


@pytest.mark.parametrize("said", MALFORMED)
async def test_a_malformed_authorization_is_refused_and_no_defect(house: RegistrationHouse, said: str) -> None:
    agent = house.registrant()
    with nothing_kept(house), agent.lying(authorization=said):
        response = await agent.register(statement=None, **agent.described())
        assert (response.status_code, error_of(response)) in {(400, "invalid_request"), (401, "invalid_token")}


async def test_two_approvals_in_one_request_are_refused(house: RegistrationHouse) -> None:
    agent = house.registrant()
    with nothing_kept(house):
        await refused(house, await agent.register(token=house.token()), METADATA_ERROR, "a statement and a token")
    assert (await agent.register()).status_code == 201


@pytest.mark.requirement("DCR-3", proves="holds")
async def test_an_initial_access_token_lets_in_as_many_as_it_says_within_its_policy(house: RegistrationHouse) -> None:
    token = house.token(uses=2, scope=["accounts:read"], redirect_hosts=["agent.example"])
    for number in range(2):
        agent = house.registrant(seed=100 + number, scope="accounts:read")
        await agent.registered(statement=None, token=token, **agent.described())
    assert len(house.kept) == 2
    assert token.encode() not in repr(house.store.rows).encode()


async def _used_up(house: RegistrationHouse, agent: Registrant) -> dict[str, Any]:
    token = house.token()
    await house.registrant(seed=5).registered(statement=None, token=token, **house.registrant(seed=5).described())
    return {"token": token}


async def _over(house: RegistrationHouse, agent: Registrant) -> dict[str, Any]:
    token = house.token(seconds=60)
    house.clock.advance(60)
    return {"token": token}


async def _revoked(house: RegistrationHouse, agent: Registrant) -> dict[str, Any]:
    token = house.token()
    house.store.suspend("token:invitation")
    return {"token": token}


async def _another_host(house: RegistrationHouse, agent: Registrant) -> dict[str, Any]:
    return {"token": house.token(redirect_hosts=["bank.example"])}


async def _more_scope(house: RegistrationHouse, agent: Registrant) -> dict[str, Any]:
    return {"token": house.token(scope=["accounts:read"])}


async def _another_grant(house: RegistrationHouse, agent: Registrant) -> dict[str, Any]:
    return {"token": house.token(grant_types=["authorization_code"])}


async def _bound_to_another_key(house: RegistrationHouse, agent: Registrant) -> dict[str, Any]:
    agent.binds = True
    return {"token": house.token(jkt=PeerKey.es256(seed=4242).thumbprint)}


async def _bound_and_stolen(house: RegistrationHouse, agent: Registrant) -> dict[str, Any]:
    return {"token": house.token(jkt=agent.dpop_key.thumbprint)}


BAD_TOKENS: Final = {
    "used up": (_used_up, (401, "invalid_token")),
    "over": (_over, (401, "invalid_token")),
    "revoked": (_revoked, (401, "invalid_token")),
    "another host": (_another_host, (400, "invalid_redirect_uri")),
    "more scope": (_more_scope, METADATA_ERROR),
    "another grant": (_another_grant, METADATA_ERROR),
    "bound to another key": (_bound_to_another_key, (401, "invalid_token")),
    "bound, as a bearer token": (_bound_and_stolen, (401, "invalid_token")),
}


@pytest.mark.requirement("DCR-3", proves="refused")
@pytest.mark.parametrize("case", BAD_TOKENS)
async def test_an_initial_access_token_is_worth_nothing_beyond_what_it_says(
    house: RegistrationHouse, case: str
) -> None:
    prepare, expected = BAD_TOKENS[case]
    agent = house.registrant()
    what = await prepare(house, agent)
    with nothing_kept(house):
        response = await agent.register(statement=None, **what, **agent.described())
        await refused(house, response, expected)
    assert ("www-authenticate" in response.headers) == (expected[0] == 401)


async def test_a_token_that_is_bound_to_a_key_needs_its_proof_and_binds_what_it_lets_in(
    house: RegistrationHouse,
) -> None:
    agent = house.registrant()
    agent.binds = True
    token = house.token(jkt=agent.dpop_key.thumbprint)
    await agent.registered(statement=None, token=token, **agent.described())
    assert house.kept[agent.client_id].token_jkt == agent.dpop_key.thumbprint
    assert (await agent.manage("GET")).status_code == 200


# --- SSA-7: signed as a whole


@pytest.mark.requirement("SSA-7", proves="holds")
@pytest.mark.parametrize("approval", ["statement", "token"])
async def test_a_signed_registration_is_understood_and_may_be_demanded(house: RegistrationHouse, approval: str) -> None:
    house.trust(signed_request=True)
    agent = house.registrant()
    if approval == "statement":
        await agent.registered(sign=True)
    else:
        token = house.token(signed_request=True)
        asked = agent.described(software_id=SOFTWARE)
        await agent.registered(sign=True, statement=None, token=token, **asked)
    assert not {"iss", "aud", "iat", "exp", "jti"} & agent.information.keys()
    assert (await agent.client_credentials()).access_token


SIGNED_LIES: Final[dict[str, dict[str, Any]]] = {
    "no iss": {"iss": ...},
    "another software": {"iss": "software-2"},
    "the client as iss": {"iss": "agent"},
    "no aud": {"aud": ...},
    "another aud": {"aud": "https://other.example"},
    "our endpoint as aud": {"aud": REGISTER},
    "several aud": {"aud": [ISSUER, "https://other.example"]},
    "no jti": {"jti": ...},
    "no exp": {"exp": ...},
    "over": {"iat": NOW - 120, "exp": NOW - 11},
    "for too long": {"exp": NOW + 301},
    "from tomorrow": {"iat": NOW + 31, "exp": NOW + 60},
    "not yet": {"nbf": NOW + 31},
    "a subject": {"sub": SOFTWARE},
    "another key": {"key": PeerKey.es256(seed=31337)},
}


@pytest.mark.requirement("SSA-7", proves="refused")
@pytest.mark.parametrize("lie", SIGNED_LIES)
async def test_a_signed_registration_that_does_not_hold_registers_nobody(house: RegistrationHouse, lie: str) -> None:
    agent = house.registrant()
    asked = {"software_statement": agent.statement()}
    signed = agent.signed_request(asked, **SIGNED_LIES[lie]).encode()
    with nothing_kept(house):
        await refused(house, await posted(house, signed, "application/jwt"), METADATA_ERROR, "signed registration")
    assert (await posted(house, agent.signed_request(asked).encode(), "application/jose")).status_code == 201


async def test_a_signed_registration_is_taken_once_however_often_its_statement_may_be_used(
    house: RegistrationHouse,
) -> None:
    house.trust(uses_per_statement=5)
    agent = house.registrant()
    signed = agent.signed_request({"software_statement": agent.statement()}).encode()
    assert (await posted(house, signed, "application/jwt")).status_code == 201
    with nothing_kept(house):
        response = await posted(house, signed, "application/jwt")
        await refused(house, response, METADATA_ERROR, "signed registration: sent before")


async def test_where_a_signature_is_demanded_a_plain_request_is_refused(house: RegistrationHouse) -> None:
    house.trust(signed_request=True)
    with nothing_kept(house):
        await refused(house, await house.registrant().register(), METADATA_ERROR, "not signed")
