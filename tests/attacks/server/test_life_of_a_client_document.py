"""A client that is a document, from its first use to its end, over the real application, store, fetch and TLS."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from fapi_as.adapters import client_documents
from fapi_as.adapters.fetch import HttpsFetch
from fapi_as.adapters.store.approvals import Approvals
from fapi_as.protocol.policy import DocumentPolicy
from tests.support.browser import Callback, Page
from tests.support.document_host import DocumentHost, document, document_host
from tests.support.document_scene import HOST, KEY, OTHER_KEY, described, lead_here
from tests.support.estate import ROOT, Estate, Worker, moved
from tests.support.fakes import ISSUER
from tests.support.fapi_client import FapiClient, Refused
from tests.support.house import PASSWORD, RESOURCE, SCOPES
from tests.support.published_client import key_set

AFTER = "/signed-out"


@dataclass(kw_only=True)
class Life:
    """Two workers of one estate that fetch from `host`, and the client that is a document there."""

    estate: Estate
    host: DocumentHost
    client_id: str
    workers: list[Worker]
    agent: FapiClient

    def publish(self, **changes: object) -> None:
        members = described(self.client_id, scope=" ".join((*SCOPES, "openid", "profile")), **changes)
        members["post_logout_redirect_uris"] = [self.host.url(AFTER, HOST)]
        self.host.answers["/assistant.json"] = document(json.dumps(members).encode())


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DocumentHost]:
    lead_here(monkeypatch)
    with document_host(tmp_path, HOST) as host:
        host.answers["/keys.json"] = document(key_set(KEY.jwk(kid="first")))
        yield host


@pytest.fixture
async def life(estate: Estate, host: DocumentHost) -> AsyncIterator[Life]:
    client_id = host.url("/assistant.json", HOST)
    scope = frozenset({*SCOPES, "openid", "profile"})
    policy = DocumentPolicy(hosts=frozenset({urlsplit(client_id).netloc}), scope=scope)
    fetches = [HttpsFetch(ca_file=host.ca_file, allowed_private_hosts=[HOST]) for _ in range(2)]
    workers = [estate.worker(fetch=fetch, documents=policy) for fetch in fetches]
    agent = FapiClient(
        workers[0].http,
        issuer=ISSUER,
        client_id=client_id,
        client_key=KEY,
        kid="first",
        resource=RESOURCE,
        scope="openid profile accounts:read",
        redirect_uri=host.url("/callback", HOST),
        now=estate.clock.now,
    )
    life = Life(estate=estate, host=host, client_id=client_id, workers=workers, agent=agent)
    life.publish()
    yield life
    for fetch in fetches:
        fetch.close()


def beside_the_issuer(client: FapiClient) -> FapiClient:
    """The same client, whose access token is for the userinfo endpoint, too."""
    client.resource = None
    return client


@pytest.mark.attack("CIM-08")
async def test_first_use_code_refresh_userinfo_and_logout_at_two_workers(life: Life) -> None:
    agent = beside_the_issuer(life.agent)
    agent.scope = "openid profile"
    pushed = await agent.push()
    done = await agent.authorize(pushed, username="alice", password=PASSWORD)
    moved(agent, life.workers[1])
    tokens = await agent.redeem(done, pushed)
    told = await agent.call(tokens, f"{ISSUER}/userinfo")
    assert (told.status_code, told.json()["sub"]) == (200, f"subject-{ROOT}")
    hint = tokens.response.json()["id_token"]
    query = urlencode({"id_token_hint": hint, "post_logout_redirect_uri": life.host.url(AFTER, HOST)})
    after = await agent.browser.open(f"{ISSUER}/logout?{query}", stop_at=life.host.url(AFTER, HOST))
    if isinstance(after, Page):
        after = await agent.browser.submit(after, "logout-submit", stop_at=life.host.url(AFTER, HOST))
    assert isinstance(after, Callback)
    assert after.location == life.host.url(AFTER, HOST)
    assert life.host.asked("/assistant.json") == 2  # once for each worker


async def test_a_refresh_token_outlives_the_document_at_hand_and_not_the_one_that_was_consented_to(life: Life) -> None:
    agent = life.agent
    agent.scope = "accounts:read"
    tokens = await agent.obtain(username="alice", password=PASSWORD)
    life.estate.clock.advance(3600)
    life.host.answers["/keys.json"] = document(key_set(OTHER_KEY.jwk(kid="second")))
    agent.client_key, agent.kid = OTHER_KEY, "second"
    assert (await moved(agent, life.workers[1]).refresh(tokens.refresh_token or "")).access_token
    life.publish(client_name="Somebody else")
    life.estate.clock.advance(3600)
    with pytest.raises(Refused) as raised:
        await agent.refresh(tokens.refresh_token or "")
    assert (raised.value.status, raised.value.error) == (400, "invalid_grant")
    life.publish()
    life.estate.clock.advance(3600)
    assert (await agent.refresh(tokens.refresh_token or "")).access_token  # the refusal took nothing away


async def test_a_client_that_an_operator_blocks_is_nobody_at_every_worker_at_once(life: Life) -> None:
    agent = beside_the_issuer(life.agent)
    agent.scope = "openid profile"
    tokens = await agent.obtain(username="alice", password=PASSWORD)
    other = moved(agent, life.workers[1])
    assert (await other.call(tokens, f"{ISSUER}/userinfo")).status_code == 200
    approvals = Approvals.open(life.estate.url, ROOT)
    approvals.block_document(life.client_id, life.estate.stamp())
    for worker in life.workers:
        moved(agent, worker)
        assert (await agent.call(tokens, f"{ISSUER}/userinfo")).status_code == 401
        with pytest.raises(Refused) as raised:
            await agent.push()
        assert (raised.value.status, raised.value.error) == (401, "invalid_client")
    approvals.unblock_document(life.client_id, life.estate.stamp())
    assert (await agent.push()).request_uri
    assert (await agent.call(tokens, f"{ISSUER}/userinfo")).status_code == 401  # what was ended stays ended


async def flooded(life: Life, worker: Worker) -> None:
    """Strangers have made up so many names at the host that a worker asks for no more of them."""
    outcomes = []
    for number in range(client_documents.PER_HOST_IN_WINDOW + 1):
        made_up = life.host.url(f"/{number}.json", HOST)
        stranger = FapiClient(
            worker.http, issuer=ISSUER, client_id=made_up, client_key=OTHER_KEY, now=life.estate.clock.now
        )
        with pytest.raises(Refused) as raised:
            await stranger.push(scope="accounts:read")
        outcomes.append(raised.value.status)
    assert outcomes[-1] == 429


@pytest.mark.attack("CIM-10")
async def test_a_flood_keeps_nobody_out_whom_a_person_allowed_something(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_documents, "PER_HOST_IN_WINDOW", 3)
    agent = life.agent
    agent.scope = "accounts:read"
    tokens = await agent.obtain(username="alice", password=PASSWORD)
    await flooded(life, life.workers[1])
    assert (await moved(agent, life.workers[1]).refresh(tokens.refresh_token or "")).access_token


@pytest.mark.attack("CIM-10")
async def test_a_flood_keeps_nobody_from_the_page_of_a_request_that_was_pushed(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_documents, "PER_HOST_IN_WINDOW", 3)
    agent = life.agent
    agent.scope = "accounts:read"
    pushed = await agent.push()
    await flooded(life, life.workers[1])
    moved(agent, life.workers[1])
    done = await agent.authorize(pushed, username="alice", password=PASSWORD)
    assert (await agent.redeem(done, pushed)).access_token


@pytest.mark.attack("CIM-10")
async def test_a_client_id_that_nobody_has_proved_makes_no_page_fetch_anything(life: Life) -> None:
    """The signed-out page knows applications by their ID tokens; a name alone is anybody's word."""
    for path in ("/logout", "/authorize", "/login", "/consent"):
        query = urlencode({"client_id": life.client_id, "request_uri": "urn:ietf:params:oauth:request_uri:none"})
        response = await life.workers[0].http.get(f"{ISSUER}{path}?{query}")
        assert response.status_code < 500
    assert life.host.connections == 0


@pytest.mark.attack("CIM-11")
async def test_what_another_tenant_publishes_is_no_client_here(life: Life) -> None:
    for path in ("/t/acme/jwks", "/jwks", "/t/acme/.well-known/oauth-authorization-server"):
        stranger = FapiClient(
            life.workers[0].http, issuer=ISSUER, client_id=f"{ISSUER}{path}", client_key=KEY, now=life.estate.clock.now
        )
        with pytest.raises(Refused) as raised:
            await stranger.push(scope="accounts:read")
        assert (raised.value.status, raised.value.error) == (401, "invalid_client")
    assert life.host.connections == 0
