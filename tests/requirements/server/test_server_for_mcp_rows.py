"""What MCP clients and protected resources rely on at the authorization server, and keys that must not be doubled."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fapi_as.adapters.keys import Keyring, Sealing, UnusableSealingKey
from fapi_as.adapters.store import migrate
from fapi_as.agent.errors import MetadataRejected
from fapi_as.protocol.audit_events import Stamp
from tests.support.agent_peer import Peer, agent_of, run_call
from tests.support.agent_refusals import refused
from tests.support.fakes import ISSUER, NOW, FrozenClock
from tests.support.fapi_client import Refused
from tests.support.house import RESOURCE, House
from tests.support.standing_still import a_code, everything, ready, refused_push, refused_redemption
from tests.support.token_scene import claims_of

OTHER = "https://shop.example/mcp"
STAMP = Stamp(at=NOW, correlation_id="c", endpoint="keys", source="test")


@pytest.fixture
async def house() -> House:
    house = House()
    house.resource(OTHER)
    return await ready(house)


async def metadata(house: House) -> dict[str, Any]:
    answer = await house.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")
    document: dict[str, Any] = answer.json()
    return document


# --- RFC 9728 §4: the resources that this server is one for


@pytest.mark.requirement("PRM-11", proves="holds")
async def test_every_resource_is_listed_and_a_client_that_looks_goes_on(house: House) -> None:
    assert (await metadata(house))["protected_resources"] == [RESOURCE, OTHER]
    for resource in (RESOURCE, OTHER):
        assert (await house.agent.client_credentials(resource=resource)).access_token


@pytest.mark.requirement("PRM-11", proves="refused")
async def test_a_resource_that_is_not_listed_is_none_and_who_does_not_look_gets_nothing_for_it(house: House) -> None:
    house.store.remove_resource(OTHER)
    assert OTHER not in (await metadata(house))["protected_resources"]  # a client that looks ends here
    assert await refused_push(house, form={"resource": OTHER}) == (400, "invalid_target")
    before = everything(house)
    with pytest.raises(Refused) as raised:
        await house.agent.client_credentials(resource=OTHER)
    assert (raised.value.status, raised.value.error) == (400, "invalid_target")
    assert everything(house) == before


# --- MCP authorization: what a client requires of the document


@pytest.mark.requirement("MCP-12", proves="holds")
async def test_the_document_has_what_an_mcp_client_needs_and_a_client_gets_through_with_it(house: House) -> None:
    document = await metadata(house)
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["authorization_response_iss_parameter_supported"] is True
    assert document == (await house.http.get(f"{ISSUER}/.well-known/openid-configuration")).json()
    peer = Peer(metadata=document)
    assert run_call(agent_of(), peer).status == 200


@pytest.mark.requirement("MCP-12", proves="refused")
@pytest.mark.parametrize("value", [None, [], ["plain"]], ids=["removed", "empty", "only plain"])
async def test_without_pkce_in_the_document_an_mcp_client_sends_nobody_here(house: House, value: object) -> None:
    document = await metadata(house) | {"code_challenge_methods_supported": value}
    peer = Peer(metadata=document)
    refused(MetadataRejected, peer)
    assert peer.visited == []
    assert peer.requests_to("/par") == []


# --- RFC 8707 as MCP has it: `resource` in both requests


@pytest.mark.requirement("MCP-13", proves="holds")
async def test_the_resource_is_named_in_both_requests_or_the_one_that_was_granted(house: House) -> None:
    done, pushed = await a_code(house, resource=[RESOURCE, OTHER])
    both = await house.agent.redeem(done, pushed, resource=OTHER)
    assert claims_of(both.access_token)["aud"] == OTHER
    done, pushed = await a_code(house)
    granted = await house.agent.redeem(done, pushed)
    assert claims_of(granted.access_token)["aud"] == RESOURCE


@pytest.mark.requirement("MCP-13", proves="refused")
async def test_of_several_that_were_granted_one_must_be_named_and_no_other_may_be(house: House) -> None:
    done, pushed = await a_code(house, resource=[RESOURCE, OTHER])
    assert await refused_redemption(house, done, pushed) == (400, "invalid_target")
    assert await refused_redemption(house, done, pushed, resource=f"{OTHER}/") == (400, "invalid_target")
    assert await refused_redemption(house, done, pushed, resource=[RESOURCE, OTHER]) == (400, "invalid_target")
    assert (await house.agent.redeem(done, pushed, resource=RESOURCE)).access_token
    assert await refused_push(house, form={"resource": ...}) == (400, "invalid_target")


# --- FAPI 2.0 §5.4.2: a kid names one key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    migrate(f"sqlite:///{tmp_path}/store.db")
    return tmp_path / "store.db"


@pytest.fixture
def keyring(path: Path) -> Iterator[Keyring]:
    with closing(Keyring.open(f"sqlite:///{path}", sealing=Sealing(b"s" * 32), clock=FrozenClock())) as keyring:
        keyring.ensure("default", STAMP)
        keyring.rotate("default", STAMP)
        yield keyring


@pytest.mark.requirement("FAPI2-JWKS-3", proves="refused")
@pytest.mark.parametrize("broken", ["kid doubled", "kid missing", "use", "alg"])
def test_a_key_set_that_doubles_a_kid_or_lacks_a_member_stops_the_start_and_is_not_served(
    path: Path, keyring: Keyring, broken: str
) -> None:
    keyring.ensure("default", STAMP)  # two keys, and a start is fine
    assert len({key["kid"] for key in _published(keyring)}) == 2
    with closing(sqlite3.connect(path)) as connection, connection:
        (first, jwk_of_first), (second, jwk_of_second) = connection.execute(
            "SELECT kid, public_jwk FROM signing_key ORDER BY active_from"
        ).fetchall()
        assert json.loads(jwk_of_first)["kid"] == first
        members = json.loads(jwk_of_second)
        changed = {
            "kid doubled": members | {"kid": first},
            "kid missing": {name: value for name, value in members.items() if name != "kid"},
            "use": members | {"use": "enc"},
            "alg": members | {"alg": "PS256"},
        }[broken]
        connection.execute("UPDATE signing_key SET public_jwk = ? WHERE kid = ?", (json.dumps(changed), second))
    with (
        closing(Keyring.open(f"sqlite:///{path}", sealing=Sealing(b"s" * 32), clock=FrozenClock())) as later,
        pytest.raises(UnusableSealingKey, match=second),
    ):
        later.ensure("default", STAMP)
    with (
        closing(Keyring.open(f"sqlite:///{path}", sealing=Sealing(b"s" * 32), clock=FrozenClock())) as worker,
        pytest.raises(UnusableSealingKey, match=second),
    ):
        worker.signer("default").public_jwks()


def _published(keyring: Keyring) -> list[dict[str, str]]:
    keys: Any = keyring.signer("default").public_jwks()["keys"]
    return list(keys)
