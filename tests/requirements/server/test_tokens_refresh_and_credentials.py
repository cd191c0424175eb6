"""client_credentials and refresh at the token endpoint: who may, with what, for how long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from tests.support.house import RESOURCE, House
from tests.support.peer_keys import PeerKey
from tests.support.token_scene import ALGORITHMS, claims_of, keyed, obtained, refresh_token_of, refused, warm

SHOP = "https://shop.example/mcp"
BOTH = "accounts:read transfers:write"


# --- client_credentials


@pytest.mark.requirement("CC-1", proves="holds")
@pytest.mark.parametrize("name", ALGORITHMS)
async def test_a_client_of_any_algorithm_gets_a_token_for_itself_alone(house: House, name: str) -> None:
    client = keyed(house, name)
    tokens = await client.client_credentials()
    assert tokens.refresh_token is None
    assert "id_token" not in tokens.response.json()
    claims = claims_of(tokens.access_token)
    assert claims["sub"] == claims["client_id"] == client.client_id


@pytest.mark.requirement("CC-1", proves="refused")
@pytest.mark.parametrize(
    ("registered", "asked", "error"),
    [
        ({"grant_types": frozenset({"authorization_code"})}, {}, "unauthorized_client"),
        ({"scope": frozenset({"transfers:write"})}, {}, "invalid_scope"),
        ({}, {"scope": "accounts:write"}, "invalid_scope"),
        ({}, {"resource": SHOP}, "invalid_target"),
    ],
)
async def test_what_is_not_registered_for_the_client_is_refused(
    house: House, registered: dict[str, Any], asked: dict[str, Any], error: str
) -> None:
    await warm(house.agent)
    house.change_client(**registered)
    await refused(house, lambda: house.agent.client_credentials(**asked), 400, error)


# --- RT-1: the client's, with a proof each time, not rotated


@pytest.mark.requirement("RT-1", proves="holds")
@pytest.mark.parametrize("name", ALGORITHMS)
async def test_a_refresh_takes_the_client_and_any_key_of_its_choice(house: House, name: str) -> None:
    client = keyed(house, name)
    value = refresh_token_of(await obtained(house, client))
    key = PeerKey.ed25519()
    first, second = await client.refresh(value), await client.refresh(value, key=key)
    assert first.refresh_token is second.refresh_token is None
    assert claims_of(first.access_token)["cnf"] == {"jkt": client.dpop_key.thumbprint}
    assert claims_of(second.access_token)["cnf"] == {"jkt": key.thumbprint}


@pytest.mark.requirement("RT-1", proves="refused")
@pytest.mark.parametrize(
    ("lie", "status", "error"),
    [
        ({"form": {"client_assertion": ..., "client_assertion_type": ...}}, 401, "invalid_client"),
        ({"assertion_key": PeerKey.es256(seed=666)}, 401, "invalid_client"),
        ({"proof": ...}, 400, "invalid_dpop_proof"),
        ({"proof_key": PeerKey.es256(seed=666)}, 400, "invalid_dpop_proof"),
    ],
    ids=["no assertion", "another's assertion", "no proof", "another's proof"],
)
async def test_a_refresh_without_the_client_or_a_key_is_refused(
    house: House, lie: dict[str, Any], status: int, error: str
) -> None:
    value = refresh_token_of(await obtained(house))
    with house.agent.lying(**lie):
        await refused(house, lambda: house.agent.refresh(value), status, error)
    assert (await house.agent.refresh(value)).access_token


# --- RT-2: narrowing


@pytest.mark.requirement("RT-2", proves="holds")
async def test_a_narrower_refresh_leaves_the_grant_as_it_was(house: House) -> None:
    value = refresh_token_of(await obtained(house, scope=BOTH))
    before = house.store.handles_of(HandleKind.REFRESH_TOKEN)
    assert (await house.agent.refresh(value, scope="transfers:write", resource=RESOURCE)).scope == "transfers:write"
    assert (await house.agent.refresh(value)).scope == BOTH
    assert house.store.handles_of(HandleKind.REFRESH_TOKEN) == before


@pytest.mark.requirement("RT-2", proves="refused")
@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"scope": BOTH}, "invalid_scope"),
        ({"scope": "accounts:read openid"}, "invalid_scope"),
        ({"resource": SHOP}, "invalid_target"),
        ({"resource": [RESOURCE, RESOURCE]}, "invalid_target"),
        ({"authorization_details": '[{"type":"payment"}]'}, "invalid_authorization_details"),
    ],
)
async def test_a_wider_refresh_is_refused(house: House, asked: dict[str, Any], error: str) -> None:
    value = refresh_token_of(await obtained(house))
    await refused(house, lambda: house.agent.refresh(value, **asked), 400, error)
    assert (await house.agent.refresh(value)).scope == "accounts:read"


# --- RT-3: its end


@pytest.mark.requirement("RT-3", proves="holds")
async def test_a_refresh_token_that_is_in_use_lives_until_its_absolute_end(house: House) -> None:
    value = refresh_token_of(await obtained(house))
    for _ in range(29):
        house.clock.advance(timedelta(days=1))
        assert (await house.agent.refresh(value)).access_token
    house.clock.advance(timedelta(days=1) - timedelta(seconds=1))
    assert (await house.agent.refresh(value)).access_token


@pytest.mark.requirement("RT-3", proves="refused")
@pytest.mark.parametrize(
    "what", ["absolute", "idle", "user disabled", "user removed", "password changed", "authorization ended"]
)
async def test_whatever_ended_the_grant_ends_its_refresh_token(house: House, what: str) -> None:
    value = refresh_token_of(await obtained(house))
    (kept,) = house.store.handles_of(HandleKind.REFRESH_TOKEN)
    match what:
        case "absolute":
            for _ in range(3):
                house.clock.advance(timedelta(days=10))
                if house.clock.now() < kept.delete_after:
                    await house.agent.refresh(value)
        case "idle":
            house.clock.advance(timedelta(days=14))
        case "user disabled":
            house.change_user(disabled=True)
        case "user removed":
            house.store.users.clear()
        case "password changed":
            house.change_user(password_hash="another")
        case _:
            house.store.rows.revoked.add(str(kept.authorization_id))
    await warm(house.agent)
    await refused(house, lambda: house.agent.refresh(value), 400, "invalid_grant")


# --- confidential clients only


@pytest.mark.parametrize("method", ["none", "client_secret_basic", "client_secret_post", "client_secret_jwt"])
def test_a_client_without_a_key_of_its_own_cannot_be_registered(house: House, method: str) -> None:
    registration = house.agent.registration(token_endpoint_auth_method=method)
    with pytest.raises(InvalidClientMetadata):
        parse_client(registration, client_id="public", version=1)
