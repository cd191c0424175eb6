"""Parameters that come twice, in another place, or under a name that some parser takes for another."""

from __future__ import annotations

import json

import pytest

from fapi_as.protocol.authorization_request import ValidatedAuthorizationRequest
from fapi_as.protocol.effects import HandleKind
from tests.support.fakes import ISSUER
from tests.support.fapi_client import FapiClient, Message
from tests.support.house import House
from tests.support.house_oracles import changes


@pytest.fixture
def house() -> House:
    return House()


async def _learn_nonce(house: House) -> None:
    await house.agent.client_credentials()


def _request(client: FapiClient, endpoint: str) -> Message:
    if endpoint == "/par":
        return client.push_request(code_verifier="v" * 43, state="state")
    return client.credentials_request()


@pytest.mark.attack("HTT-13")
@pytest.mark.parametrize("endpoint", ["/par", "/token"])
@pytest.mark.parametrize("query", ["scope=transfers%3Awrite", "scope=accounts%3Aread", "unknown=1", "client_id=other"])
async def test_a_parameter_in_the_url_of_a_post_is_refused(house: House, endpoint: str, query: str) -> None:
    await _learn_nonce(house)
    _, headers, body = _request(house.agent, endpoint)
    with changes(house):
        response = await house.agent.send(Message(f"{ISSUER}{endpoint}?{query}", headers, body))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


@pytest.mark.attack("HTT-14")
@pytest.mark.parametrize("endpoint", ["/par", "/token"])
@pytest.mark.parametrize("more", ["scope=accounts%3Aread", "scope=transfers%3Awrite", "s%63ope=x", "scope", "scope="])
async def test_a_parameter_that_comes_twice_is_refused_however_it_is_spelt(
    house: House, endpoint: str, more: str
) -> None:
    await _learn_nonce(house)
    url, headers, body = _request(house.agent, endpoint)
    with changes(house):
        response = await house.agent.send(Message(url, headers, body + b"&" + more.encode()))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


@pytest.mark.attack("HTT-14")
@pytest.mark.parametrize(
    "more",
    ["SCOPE=transfers%3Awrite", "scope[]=x", "scope.0=x", "%20scope=x", "a%3Bscope=x", "a;scope=x", "a=1;scope=x"],
)
async def test_a_name_that_only_looks_alike_is_another_name_and_ignored(house: House, more: str) -> None:
    await _learn_nonce(house)
    url, headers, body = _request(house.agent, "/token")
    response = await house.agent.send(Message(url, headers, body + b"&" + more.encode()))
    assert response.status_code == 200
    assert json.loads(response.content)["scope"] == "accounts:read"


@pytest.mark.attack("HTT-14")
@pytest.mark.parametrize("semicolon", [";", "%3B"])
async def test_a_semicolon_is_data_of_the_value_in_which_it_stands(house: House, semicolon: str) -> None:
    await _learn_nonce(house)
    url, headers, body = house.agent.push_request(code_verifier="v" * 43, state=...)
    more = f"&state=s{semicolon}scope=transfers:write"
    with changes(house, mints={HandleKind.REQUEST_URI: 1}):
        assert (await house.agent.send(Message(url, headers, body + more.encode()))).status_code == 201
    (kept,) = house.store.handles_of(HandleKind.REQUEST_URI)
    pushed = ValidatedAuthorizationRequest.from_bytes(kept.payload)
    assert (pushed.state, pushed.scope) == ("s;scope=transfers:write", ("accounts:read",))


@pytest.mark.attack("HTT-14")
async def test_a_semicolon_in_a_scope_makes_one_unknown_scope_of_two(house: House) -> None:
    await _learn_nonce(house)
    url, headers, body = house.agent.credentials_request(scope=...)
    with changes(house):
        response = await house.agent.send(Message(url, headers, body + b"&scope=accounts:read;transfers:write"))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_scope")
