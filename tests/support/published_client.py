"""A client that publishes its keys behind a jwks_uri, at a house that fetches them through a fake or over real TLS."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

from fapi_as.adapters.client_keys import PublishedKeys
from fapi_as.ports import Fetch
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.fetched_document import FetchedDocument
from tests.support.fapi_client import FapiClient
from tests.support.house import House
from tests.support.peer_keys import PeerKey

JWKS_URI: Final = "https://client.example/jwks.json"


def key_set(*keys: dict[str, Any]) -> bytes:
    """The document that a client publishes."""
    return json.dumps({"keys": list(keys)}).encode()


def published(*keys: dict[str, Any], max_age: int | None = None) -> FetchedDocument:
    """The same as the Fetch port brings it."""
    return FetchedDocument(body=key_set(*keys), max_age=max_age)


def fetching(house: House, fetch: Fetch) -> None:
    """Let the house have the keys of its clients through this."""
    clock = house.clock
    house.context = replace(house.context, client_keys=PublishedKeys(fetch, monotonic=lambda: float(clock.now())))


def publishes(house: House, jwks_uri: str = JWKS_URI, **changes: Any) -> FapiClient:
    """The client `agent`, registered anew with its keys by reference."""
    agent = house.agent
    members = agent.registration(scope="accounts:read transfers:write", jwks_uri=jwks_uri, **changes)
    del members["jwks"]
    version = house.store.clients["agent"].version + 1
    house.store.put_client(parse_client(members, client_id="agent", version=version))
    return agent


def uses(agent: FapiClient, key: PeerKey, kid: str) -> None:
    """Sign assertions with this key under this name from now on."""
    agent.client_key, agent.kid = key, kid
