"""A client whose keys lie behind a jwks_uri, at real workers that fetch them over real TLS."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import httpx2
import pytest

from tests.support.authorization_server import (
    REDIRECT_URI,
    SCOPE,
    AuthorizationServer,
    arguments,
    ready,
    register,
    token_over,
)
from tests.support.document_host import DocumentHost, document, document_host
from tests.support.fapi_client import FapiClient, Refused
from tests.support.load import at_once
from tests.support.peer_keys import PeerKey
from tests.support.processes import free_port, running

WORKERS = 2
FIRST, SECOND = PeerKey.es256(seed=81), PeerKey.ed25519(seed=82)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentHost]:
    with document_host(tmp_path_factory.mktemp("client")) as host:
        yield host


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, host: DocumentHost) -> Iterator[AuthorizationServer]:
    directory = tmp_path_factory.mktemp("served")
    registered = register(directory)
    registered.commands.change("#allowed_private_hosts = []", 'allowed_private_hosts = ["localhost"]')
    registered.commands.change('# ca_file = "authorities.pem"', f'ca_file = "{host.ca_file}"')
    places = {name: host.url(f"/{name}") for name in ("changing", "stormed")}
    places["away"] = f"https://localhost:{free_port()}/jwks"
    for client_id, jwks_uri in places.items():
        members = {
            "client_id": client_id,
            "client_name": "A client that publishes its keys",
            "token_endpoint_auth_method": "private_key_jwt",
            "redirect_uris": [REDIRECT_URI],
            "grant_types": ["authorization_code", "client_credentials"],
            "scope": SCOPE,
            "jwks_uri": jwks_uri,
        }
        registered.commands.json("client", "add", "-", stdin=json.dumps(members))
    with running(registered.serving(WORKERS), directory) as server:
        yield registered.running(server)


def publisher(served: AuthorizationServer, http: httpx2.AsyncClient, client_id: str) -> FapiClient:
    """One of the clients above, with its first key."""
    agent = FapiClient(http, **arguments(served.issuer, client_id, FIRST))
    agent.kid = "first"
    return agent


def publishes(host: DocumentHost, client_id: str, *keys: dict[str, object]) -> None:
    body = json.dumps({"keys": keys}).encode()
    host.answers[f"/{client_id}"] = document(body, content_type=b"application/jwk-set+json")


async def refused(agent: FapiClient) -> tuple[int, str]:
    with pytest.raises(Refused) as raised:
        await agent.client_credentials()
    return raised.value.response.status_code, raised.value.error


async def test_a_client_changes_its_keys_where_it_publishes_them(
    served: AuthorizationServer, host: DocumentHost
) -> None:
    publishes(host, "changing", FIRST.jwk(kid="first"))
    async with served.http() as http:
        agent = publisher(served, http, "changing")
        assert (await agent.client_credentials()).access_token
        publishes(host, "changing", FIRST.jwk(kid="first"), SECOND.jwk(kid="second"))
        agent.client_key, agent.kid = SECOND, "second"
        for _ in range(10):  # at both workers
            assert (await agent.client_credentials()).access_token
        publishes(host, "changing", SECOND.jwk(kid="second"))
        for command in ("disable", "enable"):  # what an operator does who cannot wait for five minutes
            served.commands.json("client", command, "changing")
        agent.client_key, agent.kid = FIRST, "first"
        for _ in range(4):
            assert await refused(agent) == (401, "invalid_client")
        agent.client_key, agent.kid = SECOND, "second"
        assert (await agent.client_credentials()).access_token


async def test_a_client_whose_host_is_away_is_nobody_and_the_operator_is_told_why(
    served: AuthorizationServer,
) -> None:
    async with served.http() as http:
        with pytest.raises(Refused) as raised:
            await publisher(served, http, "away").client_credentials()
        assert (await served.client(http).client_credentials()).access_token  # nobody else notices
    answer = raised.value.response
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert "jwks" not in answer.text
    (fact,) = served.commands.json("explain", answer.headers["x-correlation-id"])
    assert fact["detail"].startswith("keys: ConnectionRefusedError")


@pytest.mark.attack("SSR-10")
async def test_500_assertions_with_unknown_kids_cost_each_worker_one_fetch_and_others_are_served(
    served: AuthorizationServer, host: DocumentHost
) -> None:
    publishes(host, "stormed", FIRST.jwk(kid="first"))
    async with served.http() as http:
        agent, other = publisher(served, http, "stormed"), served.client(http)
        lines = await served.connections(50)
        storm = []
        for number in range(500):
            agent.kid = f"made-up-{number}"
            storm.append(ready(agent.credentials_request()))
        told: Counter[int] = Counter()
        for begin in range(0, 500, 50):
            told.update(reply.status for reply in await at_once(lines, storm[begin : begin + 50]))
            assert (await token_over(lines[0], other)).status == 200
        for line in lines:
            await line.close()
    assert set(told) <= {401, 429}  # CA-6
    assert told[401] >= 100
    assert 1 <= host.asked("/stormed") <= WORKERS
