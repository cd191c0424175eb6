"""How long one request waits for documents of others, and that what it gives up on goes on for everybody else."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from fapi_as.adapters import patience
from fapi_as.adapters.client_keys import PublishedKeys
from fapi_as.protocol.client import KeysUnavailable, RegisteredClient
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.fetched_document import FetchedDocument
from tests.support.fake_fetch import FakeFetch
from tests.support.peer_keys import PeerKey

FIRST, SECOND = "https://first.example/jwks", "https://second.example/jwks"


class SlowFetch(FakeFetch):
    """Every document takes this long."""

    seconds = 0.2

    async def get(self, url: str, *, max_bytes: int, entity_tag: str | None = None) -> FetchedDocument:
        found = await super().get(url, max_bytes=max_bytes)
        await asyncio.sleep(self.seconds)
        return found


def client(url: str) -> RegisteredClient:
    members = {
        "client_name": "Agent",
        "token_endpoint_auth_method": "private_key_jwt",
        "grant_types": ["client_credentials"],
        "scope": "accounts:read",
        "jwks_uri": url,
    }
    return parse_client(members, client_id=url, version=1)


@pytest.fixture
def fetch(monkeypatch: pytest.MonkeyPatch) -> SlowFetch:
    monkeypatch.setattr(patience, "SECONDS", 0.3)
    keys = FetchedDocument(body=json.dumps({"keys": [PeerKey.es256(seed=53).jwk(kid="one")]}).encode(), max_age=None)
    return SlowFetch(documents={FIRST: keys, SECOND: keys})


async def test_documents_one_after_another_share_the_patience_of_their_request(fetch: SlowFetch) -> None:
    keys = PublishedKeys(fetch)
    started = time.monotonic()
    patience.begin()
    assert (await keys.keys(client(FIRST), "one")).keys
    with pytest.raises(KeysUnavailable, match="take too long"):
        await keys.keys(client(SECOND), "one")
    assert 0.25 < time.monotonic() - started < 0.39  # 0.4 would be all of both


async def test_what_a_request_gives_up_on_serves_the_next_one(fetch: SlowFetch) -> None:
    keys = PublishedKeys(fetch)
    patience.begin()
    await keys.keys(client(FIRST), "one")
    other = asyncio.create_task(keys.keys(client(SECOND), "one"))
    with pytest.raises(KeysUnavailable):
        await other
    patience.begin()
    assert (await keys.keys(client(SECOND), "one")).keys
    assert fetch.asked == [FIRST, SECOND]


async def test_each_request_has_a_patience_of_its_own(fetch: SlowFetch) -> None:
    """One that has waited takes nothing from those beside it, nor from the next one on its connection."""
    keys = PublishedKeys(fetch)

    async def request(url: str) -> None:
        patience.begin()
        assert (await keys.keys(client(url), "one")).keys

    await asyncio.gather(request(FIRST), request(FIRST))
    await request(SECOND)


async def test_whoever_has_nothing_left_still_gets_what_is_at_hand(fetch: SlowFetch) -> None:
    keys = PublishedKeys(fetch)
    await keys.keys(client(FIRST), "one")
    patience.begin()
    await asyncio.sleep(0.31)
    assert (await keys.keys(client(FIRST), "one")).keys
    assert (await keys.keys(client(FIRST), "unknown")).keys  # looked for, and not waited for
