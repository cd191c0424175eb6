"""The keys with which an issuer signs for its clients: where they come from, how long and how often."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from fapi_as.agent.errors import AgentError, AnswerRejected, MetadataRejected, RedirectRefused, ResponseRejected
from fapi_as.agent.steps import ANSWER_LIMIT, Answer
from rs_kit.protocol.jws import SigningKey
from tests.support.agent_peer import CLIENT_KEY, NOW, Hands, agent_of, run_call
from tests.support.agent_refusals import refused
from tests.support.signing_peer import ED25519_KEY, ISSUER_KEY, JWKS, SigningPeer, signing_identity

SIGNED = (signing_identity(),)


def rotated(peer: SigningPeer) -> SigningKey:
    key = SigningKey.from_private_key(ed25519.Ed25519PrivateKey.generate(), kid="as-new")
    peer.published, peer.key = [ISSUER_KEY, key], key
    return key


def again(agent: Any, peer: SigningPeer) -> None:
    """One more flow of the same agent."""
    peer.expire()
    peer.refresh_alive = False
    run_call(agent, peer)


ED_SIGNED = (signing_identity(authorization_signed_response_alg="Ed25519"),)


def test_keys_are_kept_for_five_minutes_and_not_longer() -> None:
    peer, hands = SigningPeer(), Hands()
    agent = agent_of(hands, identities=SIGNED)
    run_call(agent, peer)
    hands.time = peer.time = NOW + 299
    again(agent, peer)
    assert len(peer.requests_to(JWKS)) == 1
    hands.time = peer.time = NOW + 300
    again(agent, peer)
    assert len(peer.requests_to(JWKS)) == 2


def test_a_key_that_the_issuer_took_back_is_believed_five_minutes_at_most() -> None:
    peer, hands = SigningPeer(), Hands()
    agent = agent_of(hands, identities=SIGNED)
    run_call(agent, peer)
    peer.published = [ED25519_KEY]
    hands.time = peer.time = NOW + 300
    with pytest.raises(ResponseRejected):
        again(agent, peer)


def test_an_unknown_kid_has_the_keys_fetched_again() -> None:
    peer, hands = SigningPeer(key=ED25519_KEY), Hands()
    agent = agent_of(hands, identities=ED_SIGNED)
    run_call(agent, peer)
    rotated(peer)
    hands.time = peer.time = NOW + 30
    again(agent, peer)
    assert len(peer.requests_to(JWKS)) == 2


def test_an_unknown_kid_has_the_keys_fetched_again_only_after_a_pause() -> None:
    peer, hands = SigningPeer(key=ED25519_KEY), Hands()
    agent = agent_of(hands, identities=ED_SIGNED)
    run_call(agent, peer)
    rotated(peer)
    peer.published = []
    hands.time = peer.time = NOW + 30
    with pytest.raises(ResponseRejected):
        again(agent, peer)
    for seconds in (31, 45, 59):
        hands.time = peer.time = NOW + seconds
        with pytest.raises(ResponseRejected):
            again(agent, peer)
    assert len(peer.requests_to(JWKS)) == 2


def test_a_clock_that_was_set_back_does_not_keep_old_keys() -> None:
    peer, hands = SigningPeer(), Hands()
    agent = agent_of(hands, identities=SIGNED)
    run_call(agent, peer)
    hands.time = peer.time = NOW - 10_000
    again(agent, peer)
    assert len(peer.requests_to(JWKS)) == 2


def test_one_bad_key_in_the_set_does_not_take_the_others_with_it() -> None:
    peer = SigningPeer()
    keys = [{"kty": "oct", "k": "AA"}, {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, ISSUER_KEY.public_jwk()]
    body = json.dumps({"keys": keys}).encode()
    peer.overrides[JWKS] = lambda _: Answer(
        status=200, headers=(("content-type", "application/jwk-set+json"),), body=body
    )
    assert run_call(agent_of(identities=SIGNED), peer).status == 200


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(status=404), AnswerRejected),
        (Answer(status=500), AnswerRejected),
        (Answer(status=302, headers=(("location", "https://evil.example/jwks"),)), RedirectRefused),
        (Answer(status=200, body=b"{}", headers=(("content-type", "text/html"),)), AnswerRejected),
        (Answer(status=200, body=b"{}", headers=(("content-type", "application/json"),)), AnswerRejected),
        (
            Answer(status=200, body=b'{"keys": [1]}', headers=(("content-type", "application/json"),)),
            AnswerRejected,
        ),
        (
            Answer(
                status=200,
                body=json.dumps({"keys": [CLIENT_KEY.public_jwk()] * 33}).encode(),
                headers=(("content-type", "application/json"),),
            ),
            AnswerRejected,
        ),
        (
            Answer(status=200, body=b"{" + b" " * ANSWER_LIMIT + b"}", headers=(("content-type", "application/json"),)),
            AnswerRejected,
        ),
    ],
)
def test_keys_that_cannot_be_had_end_the_flow_with_a_sentence(answer: Answer, expected: type[AgentError]) -> None:
    peer = SigningPeer()
    peer.overrides[JWKS] = lambda _: answer
    refused(expected, peer, identities=SIGNED)
    assert peer.requests_to("/token") == []


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: {"jwks_uri": "https://evil.example/jwks"}, MetadataRejected),
        (lambda: {"jwks_uri": None}, MetadataRejected),
        (lambda: {"jwks_uri": 7}, MetadataRejected),
    ],
)
def test_keys_come_from_the_issuer_and_from_nowhere_else(
    make: Callable[[], dict[str, Any]], expected: type[AgentError]
) -> None:
    peer = SigningPeer(metadata=make())
    refused(expected, peer, identities=SIGNED)
    assert not any("evil" in request.url for request in peer.seen)


def test_a_server_without_a_key_set_cannot_answer_with_a_signature() -> None:
    peer = SigningPeer()
    del peer.metadata["jwks_uri"]
    assert "jwks_uri" in str(refused(MetadataRejected, peer, identities=SIGNED))
