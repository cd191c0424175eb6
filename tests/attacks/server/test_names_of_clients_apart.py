"""Names of clients: those that we make, those that operators pin, those that are documents, and those of people."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fapi_as.adapters.entropy import SystemEntropy
from fapi_as.protocol.client_document import is_document_url
from fapi_as.protocol.client_metadata import parse_client, require_client_id
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from tests.support.command_line import CLIENT, CommandLine
from tests.support.document_scene import CLIENT_ID, KEY, OTHER_KEY, DocumentPlace, described
from tests.support.fapi_client import Refused
from tests.support.registration_house import RegistrationHouse
from tests.support.standing_still import refused_push

URLS = [CLIENT_ID, CLIENT_ID.upper(), "HTTPS://agents.example/a", "https:", "https://", "http://agents.example/a"]


@pytest.mark.requirement("CIMD-11", proves="holds")
async def test_no_name_that_we_make_is_that_of_a_document() -> None:
    assert not any(is_document_url(SystemEntropy().identifier()) for _ in range(10_000))
    house = RegistrationHouse()
    registrant = house.registrant()
    information = await registrant.registered()
    assert not is_document_url(information["client_id"])


@pytest.mark.requirement("CIMD-11", proves="refused")
@pytest.mark.attack("XPA-17")
@pytest.mark.parametrize("client_id", URLS)
def test_no_operator_can_pin_the_name_of_a_document(tmp_path: Path, client_id: str) -> None:
    line = CommandLine(directory=tmp_path)
    assert line.run("init").code == 0
    assert "client_id" in line.refused("client", "add", "-", stdin=json.dumps({**CLIENT, "client_id": client_id}))
    assert line.json("client", "list") == []
    with pytest.raises(InvalidClientMetadata):
        require_client_id(client_id)


@pytest.mark.requirement("CIMD-11", proves="refused")
@pytest.mark.attack("XPA-17")
async def test_a_planted_row_with_the_name_of_a_document_is_never_asked_for() -> None:
    place = DocumentPlace()
    members = {
        **described(),
        "jwks_uri": None,
        "jwks": {"keys": [OTHER_KEY.jwk(kid="first")]},
        "scope": "accounts:read",
    }
    place.house.store.put_client(parse_client(members, client_id=CLIENT_ID, version=1))
    assert (await place.agent.push()).request_uri
    assert await refused_push(place.house, client=place.peer(key=OTHER_KEY)) == (401, "invalid_client")
    off = DocumentPlace(documents=None)
    off.house.store.put_client(replace(place.house.store.clients[CLIENT_ID]))
    assert await refused_push(off.house, client=off.peer(key=OTHER_KEY)) == (401, "invalid_client")


@pytest.mark.attack("XPA-17")
async def test_a_client_that_is_a_document_acts_for_nobody_but_people() -> None:
    """So no access token has its name as `sub`, whatever the subjects of people look like."""
    place = DocumentPlace()
    place.publish(grant_types=["authorization_code", "client_credentials"])
    with pytest.raises(Refused) as raised:
        await place.peer(key=KEY).client_credentials()
    assert (raised.value.status, raised.value.error) == (400, "unauthorized_client")


@pytest.mark.attack("XPA-17")
async def test_a_client_that_registers_itself_chooses_no_name() -> None:
    house = RegistrationHouse()
    for name in (house.alice.subject, "agent", CLIENT_ID):
        registrant = house.registrant()
        information = await registrant.registered(client_id=name)
        assert information["client_id"] != name
    assert house.store.clients["agent"].client_name == "The agent"
