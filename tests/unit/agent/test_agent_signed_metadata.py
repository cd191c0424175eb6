"""Signed metadata of a resource (RFC 9728 §2.2), which the agent does not use: never in the way, never believed."""

from __future__ import annotations

from typing import Any

import pytest

from fapi_as.agent.errors import IssuerNotAllowed
from tests.support.agent_peer import ISSUER, RESOURCE, Peer, agent_of, run_call
from tests.support.agent_refusals import refused
from tests.support.peer_keys import PeerKey, b64, compact

OTHER = "https://evil.example"
KEY = PeerKey.es256(seed=15)


def signed(**claims: Any) -> str:
    """What a resource might sign about itself."""
    said = {"iss": RESOURCE, "resource": RESOURCE, "authorization_servers": [ISSUER], **claims}
    return KEY.sign({"typ": "JWT", "kid": "rs-1"}, said)


@pytest.mark.requirement("PRM-6", proves="holds")
def test_a_document_that_says_the_same_once_more_and_signed_is_used() -> None:
    peer, agent = Peer(), agent_of()
    peer.resource_document["signed_metadata"] = signed()
    assert run_call(agent, peer).status == 200
    assert agent.tokens is not None
    assert agent.tokens.issuer == ISSUER


@pytest.mark.requirement("PRM-6", proves="refused")
@pytest.mark.parametrize(
    "value",
    [
        signed(authorization_servers=[OTHER]),
        signed(iss=OTHER, authorization_servers=[OTHER], signed_metadata="again"),
        compact({"alg": "none"}, {"iss": RESOURCE, "authorization_servers": [OTHER]}, b""),
        f"{b64(b'{}')}.x.y",
        "",
        None,
        7,
        {"authorization_servers": [OTHER]},
    ],
    ids=["another server", "inside itself", "unsigned", "broken", "empty", "null", "number", "object"],
)
def test_what_only_the_signed_part_says_changes_nothing(value: object) -> None:
    peer, agent = Peer(), agent_of()
    peer.resource_document["signed_metadata"] = value
    assert run_call(agent, peer).status == 200
    assert agent.tokens is not None
    assert agent.tokens.issuer == ISSUER
    assert not [request for request in peer.seen if OTHER in request.url]


def test_a_document_that_names_its_servers_in_the_signed_part_only_names_none() -> None:
    peer = Peer()
    del peer.resource_document["authorization_servers"]
    peer.resource_document["signed_metadata"] = signed()
    refused(IssuerNotAllowed, peer)
