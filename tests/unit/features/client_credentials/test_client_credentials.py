"""POST /token on a client's own behalf: one resource, no person, no refresh token."""

from __future__ import annotations

from typing import Any

import pytest

from fapi_as.protocol.effects import HandleKind
from tests.support.fapi_client import Refused
from tests.support.house import RESOURCE, House

SHOP = "https://shop.example/mcp"


async def refused(house: House, **changes: Any) -> tuple[int, str | None, str | None]:
    with pytest.raises(Refused) as raised:
        await house.agent.client_credentials(**changes)
    assert house.signer.signed == []
    return raised.value.status, raised.value.error, house.last_detail


@pytest.mark.requirement("OA-CC-1", proves="holds")
async def test_a_client_is_its_own_subject_and_gets_no_refresh_token(house: House) -> None:
    tokens = await house.agent.client_credentials()
    assert (tokens.scope, tokens.refresh_token, tokens.expires_in) == ("accounts:read", None, 300)
    claims = house.signer.signed[-1][1]
    assert (claims["sub"], claims["client_id"], claims["aud"]) == ("agent", "agent", RESOURCE)
    assert claims["cnf"] == {"jkt": house.agent.dpop_key.thumbprint}
    assert {"auth_time", "acr"}.isdisjoint(claims)
    assert house.store.handles_of(HandleKind.REFRESH_TOKEN) == ()


@pytest.mark.requirement("OA-CC-1", proves="refused")
async def test_a_client_that_is_not_registered_for_it_is_refused(house: House) -> None:
    house.change_client(grant_types=frozenset({"authorization_code"}))
    assert await refused(house) == (400, "unauthorized_client", "grant_type is not registered for the client")


async def test_without_a_scope_it_is_everything_that_client_and_resource_share(house: House) -> None:
    house.change_client(scope=frozenset({"transfers:write", "accounts:read", "orders:read"}))
    assert (await house.agent.client_credentials(scope=...)).scope == "accounts:read transfers:write"


async def test_without_a_resource_the_registered_default_is_meant(house: House) -> None:
    house.change_client(default_resource=RESOURCE)
    await house.agent.client_credentials(resource=...)
    assert house.signer.signed[-1][1]["aud"] == RESOURCE


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"resource": ...}, (400, "invalid_target", "no resource or several")),
        ({"resource": [RESOURCE, SHOP]}, (400, "invalid_target", "no resource or several")),
        ({"resource": SHOP}, (400, "invalid_target", "unknown resource")),
        ({"scope": "admin"}, (400, "invalid_scope", "scope not allowed")),
        ({"scope": "accounts:read accounts:write"}, (400, "invalid_scope", "scope not allowed")),
        ({"scope": "accounts:read,transfers:write"}, (400, "invalid_scope", "scope not allowed")),
        ({"scope": '"'}, (400, "invalid_scope", "scope syntax")),
    ],
)
async def test_nothing_that_is_not_registered(
    house: House, changes: dict[str, Any], answer: tuple[int, str, str]
) -> None:
    assert await refused(house, **changes) == answer


async def test_a_scope_of_the_resource_that_the_client_may_not_have_is_refused(house: House) -> None:
    house.change_client(scope=frozenset({"orders:read"}))
    assert await refused(house, scope="accounts:read") == (400, "invalid_scope", "scope not allowed")


async def test_a_scope_of_the_client_that_means_nothing_at_the_resource_is_refused(house: House) -> None:
    house.resource(version=2, scopes={"other": "Something else"})
    assert await refused(house, scope="accounts:read") == (400, "invalid_scope", "scope not allowed")


async def test_a_client_without_any_scope_at_the_resource_is_refused(house: House) -> None:
    house.change_client(scope=frozenset({"orders:read"}))
    answer = await refused(house, scope=...)
    assert answer == (400, "invalid_scope", "no granted scope is left for this resource")


async def test_a_resource_may_shorten_its_access_tokens(house: House) -> None:
    house.resource(version=2, access_token_lifetime=60)
    assert (await house.agent.client_credentials()).expires_in == 60


async def test_a_resource_that_changes_in_the_last_moment_loses(house: House) -> None:
    await house.agent.push()  # learns the nonce
    commit = house.store.commit

    async def after_a_change(decision: Any, stamp: Any) -> Any:
        house.resource(version=2)
        return await commit(decision, stamp)

    house.store.commit = after_a_change  # type: ignore[method-assign]  # an operator between the read and the write
    with pytest.raises(Refused) as raised:
        await house.agent.client_credentials()
    assert (raised.value.error, house.last_detail) == ("invalid_target", "the resource changed")


async def test_the_evidence_names_the_token_that_was_given(house: House) -> None:
    await house.agent.client_credentials()
    fact, claims = house.store.facts[-1], house.signer.signed[-1][1]
    assert (fact.event.value, fact.client_id, fact.subject) == ("token.issued", "agent", "agent")
    assert (fact.authorization_id, fact.jkt) == (claims["authorization_id"], house.agent.dpop_key.thumbprint)
    assert (fact.resource, fact.scope) == (RESOURCE, "accounts:read")
