"""An update is judged as a registration is: it leaves out nothing that is needed and says nothing that is ours."""

from __future__ import annotations

import json
from typing import Any, Final

import httpx2
import pytest

from fapi_as.protocol.profile import UPDATES_PER_CLIENT
from tests.support.peer_keys import PeerKey
from tests.support.registration_attack import (
    METADATA,
    NO_STATEMENT,
    TOO_MANY,
    UNAPPROVED,
    AttackedHouse,
    refused,
)
from tests.support.registration_scene import Registrant, SoftwareAuthority


@pytest.fixture
def house() -> AttackedHouse:
    return AttackedHouse()


@pytest.fixture
async def agent(house: AttackedHouse) -> Registrant:
    """The victim."""
    agent = house.registrant()
    await agent.registered()
    return agent


# --- DCR-18: an update that leaves out, or says too much


@pytest.mark.attack("DCR-18")
@pytest.mark.parametrize(
    "left_out", ["jwks", "redirect_uris", "token_endpoint_auth_method", "scope", "client_name", "client_id"]
)
async def test_an_update_that_leaves_out_what_is_needed_is_refused(house: AttackedHouse, left_out: str) -> None:
    agent = house.registrant()
    await agent.registered(statement=None, token=house.token(), **agent.described())
    expected = (400, "invalid_redirect_uri") if left_out == "redirect_uris" else METADATA
    await refused(house, agent.manage("PUT", agent.replacement(**{left_out: ...})), expected)
    await refused(house, agent.manage("PUT", {}), METADATA)
    await refused(house, agent.manage("PUT", {"client_id": agent.client_id}), METADATA)
    assert (await agent.client_credentials()).access_token


@pytest.mark.attack("DCR-18")
async def test_an_update_that_leaves_out_what_a_statement_says_keeps_it(
    house: AttackedHouse, agent: Registrant
) -> None:
    told = dict(agent.information)
    assert (await agent.manage("PUT", {"client_id": agent.client_id})).status_code == 200
    assert agent.information["jwks"] == told["jwks"]
    assert agent.information["redirect_uris"] == told["redirect_uris"]


UPDATES: Final[dict[str, tuple[dict[str, Any], tuple[int, str]]]] = {
    "another client_id": ({"client_id": "agent"}, METADATA),
    "no string": ({"client_id": 1}, METADATA),
    "a token of choice": ({"registration_access_token": "x" * 43}, METADATA),
    "an address of choice": ({"registration_client_uri": "https://evil.example/"}, METADATA),
    "a secret": ({"client_secret": "x" * 43}, METADATA),
    "a date": ({"client_id_issued_at": 0}, METADATA),
    "another key": ({"jwks": {"keys": [PeerKey.es256(seed=666).jwk(kid="client-key")]}}, METADATA),
    "another place": ({"redirect_uris": ["https://evil.example/"]}, (400, "invalid_redirect_uri")),
    "more scope": ({"scope": "accounts:read admin"}, METADATA),
    "another method": ({"token_endpoint_auth_method": "none"}, METADATA),
    "no binding": ({"dpop_bound_access_tokens": False}, METADATA),
    "other software": ({"software_id": "software-2"}, METADATA),
    "no statement": ({"software_statement": "x"}, NO_STATEMENT),
}


@pytest.mark.attack("DCR-18")
@pytest.mark.parametrize("update", UPDATES)
async def test_an_update_is_judged_as_a_registration_is(house: AttackedHouse, agent: Registrant, update: str) -> None:
    members, expected = UPDATES[update]
    before = house.kept[agent.client_id]
    await refused(house, agent.manage("PUT", agent.replacement(**members)), expected)
    assert house.kept[agent.client_id] == before
    assert (await agent.manage("GET")).status_code == 200


@pytest.mark.attack("DCR-18")
async def test_an_update_brings_no_statement_of_others_and_none_that_is_over(
    house: AttackedHouse, agent: Registrant
) -> None:
    other = house.registrant(seed=2, software_id="software-2")
    for statement in (other.statement(), agent.statement(software_id="software-2")):
        asked = agent.manage("PUT", {"client_id": agent.client_id, "software_statement": statement})
        await refused(house, asked, UNAPPROVED)
    another = house.trust(SoftwareAuthority("https://other.example", key=PeerKey.es256(seed=90_002)))
    statement = another.signed(agent.claims(iss=another.issuer))
    asked = agent.manage("PUT", {"client_id": agent.client_id, "software_statement": statement})
    await refused(house, asked, UNAPPROVED)
    spent = agent.information["software_statement"]
    assert (await agent.manage("PUT", agent.replacement())).status_code == 200  # the one on file counts again and again
    fresh = agent.statement()
    await agent.manage("PUT", agent.replacement(software_statement=fresh))
    await refused(house, agent.manage("PUT", agent.replacement(software_statement=spent)), NO_STATEMENT, "used before")
    await refused(house, house.registrant(seed=3).register(statement=fresh), NO_STATEMENT, "used before")
    house.clock.advance(3700)
    await refused(house, agent.manage("PUT", agent.replacement()), NO_STATEMENT, "expired")
    assert (await agent.manage("GET")).status_code == 200


@pytest.mark.attack("DCR-18")
async def test_an_update_that_was_signed_is_for_this_client_and_for_once(house: AttackedHouse) -> None:
    house.trust(signed_request=True, uses_per_statement=5)
    agent, other = house.registrant(), house.registrant()
    await agent.registered(sign=True)
    await other.registered(sign=True)
    signed = agent.signed_request(agent.replacement()).encode()

    async def put(who: Registrant, octets: bytes) -> httpx2.Response:
        message = who.manage_request("PUT", octets)
        headers = tuple(
            (name, "application/jwt" if name == "content-type" else value) for name, value in message.headers
        )
        return await who.send(message._replace(headers=headers), method="PUT")

    await refused(house, put(other, signed), METADATA)
    response = await put(agent, signed)
    assert response.status_code == 200, response.text
    agent.learn(response.json())
    await refused(house, put(agent, signed), METADATA, "sent before")
    await refused(house, agent.manage("PUT", agent.replacement()), METADATA, "not signed")
    forged = agent.signed_request(agent.replacement(), key=PeerKey.es256(seed=666)).encode()
    await refused(house, put(agent, forged), METADATA)


@pytest.mark.attack("DCR-15")
@pytest.mark.parametrize("bodies", ["doubled", "UTF-16", "deep", "list", "empty", "form"])
async def test_a_body_that_is_no_object_updates_nothing(house: AttackedHouse, agent: Registrant, bodies: str) -> None:
    whole = json.dumps(agent.replacement())
    octets = {
        "doubled": f'{{"client_id":"agent",{whole[1:]}'.encode(),
        "UTF-16": whole.encode("utf-16"),
        "deep": f'{whole[:-1]},"x":{"[" * 64}{"]" * 64}}}'.encode(),
        "list": f"[{whole}]".encode(),
        "empty": b"",
        "form": b"client_name=x",
    }[bodies]
    message = agent.manage_request("PUT", octets or b" ")
    await refused(house, agent.send(message._replace(body=octets), method="PUT"), METADATA)


@pytest.mark.attack("EXH-06")
async def test_a_client_that_updates_itself_for_ever_is_told_to_wait(house: AttackedHouse, agent: Registrant) -> None:
    """Each update is told of and makes every worker read its clients anew, so there are only so many of them."""
    for _ in range(UPDATES_PER_CLIENT):
        assert (await agent.manage("PUT", agent.replacement())).status_code == 200
    await refused(house, agent.manage("PUT", agent.replacement()), TOO_MANY)
    other = house.registrant(seed=2)
    await other.registered()
    assert (await other.manage("PUT", other.replacement())).status_code == 200
    assert (await agent.manage("GET")).status_code == 200
    house.clock.advance(3500)
    await refused(house, agent.manage("PUT", agent.replacement()), TOO_MANY)
    house.clock.advance(101)  # and its statement is just not over
    assert (await agent.manage("PUT", agent.replacement())).status_code == 200
