"""What tests of the agent look for in the requests that its peer saw."""

from __future__ import annotations

from fapi_as.agent.steps import Answer, Request
from tests.support.agent_peer import (
    Peer,
)


def insufficient(scope: str) -> Answer:
    challenge = f'DPoP error="insufficient_scope", scope="{scope}"'
    return Answer(status=403, headers=(("www-authenticate", challenge),))


def back_channel(peer: Peer) -> list[Request]:
    return [*peer.requests_to("/par"), *peer.requests_to("/token")]
