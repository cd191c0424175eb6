"""One registered client whose assertions are presented and judged, without a server around it."""

from __future__ import annotations

from typing import Any, Final

import pytest

from fapi_as.protocol import client_assertion
from fapi_as.protocol.client import AuthenticatedClient, RegisteredClient
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.errors import InvalidClient, status_of
from tests.support.fakes import ISSUER, NOW
from tests.support.fapi_messages import FapiMessages
from tests.support.peer_keys import PeerKey

AGENT: Final = "agent"
KEY: Final = PeerKey.es256(seed=71)
OTHER_KEY: Final = PeerKey.es256(seed=72)


def peer(key: PeerKey = KEY, **changes: Any) -> FapiMessages:
    return FapiMessages(issuer=ISSUER, client_id=AGENT, client_key=key, now=lambda: NOW, **changes)


def registered(key: PeerKey = KEY, **changes: Any) -> RegisteredClient:
    metadata = peer(key).registration(scope="accounts:read", **changes)
    return parse_client(metadata, client_id=AGENT, version=1)


CLIENT: Final = registered()


def judged(
    assertion: str, client: RegisteredClient | None = CLIENT, *, client_id: str | None = None, now: int = NOW
) -> AuthenticatedClient:
    presented = client_assertion.present(assertion, client_id=client_id)
    keys = () if client is None else client.keys
    return client_assertion.authenticate(presented, client, keys, issuer=ISSUER, now=now)


def accepted(*, now: int = NOW, **lies: Any) -> AuthenticatedClient:
    with peer().lying(**lies) as lying:
        return judged(lying.assertion(), now=now)


def refused(*, client: RegisteredClient | None = CLIENT, now: int = NOW, **lies: Any) -> str:
    """The private reason; what the wire sees is always the same."""
    with peer().lying(**lies) as lying:
        assertion = lying.assertion()
    with pytest.raises(InvalidClient) as raised:
        judged(assertion, client, now=now)
    assert (raised.value.error, status_of(raised.value)) == ("invalid_client", 401)
    assert raised.value.description == "client authentication failed"
    return raised.value.detail
