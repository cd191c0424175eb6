"""The agent at servers that lie with their keys, their responses and their ID tokens, over real TLS.

`place.caller()` judges all that arrived anywhere when it ends (tests/support/hostile_place.py).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from fapi_as.agent.errors import (
    AgentError,
    AnswerRejected,
    InsecureAddress,
    MetadataRejected,
    RedirectRefused,
    ResponseRejected,
    TokenRejected,
    Unreachable,
)
from fapi_as.agent.steps import ANSWER_LIMIT
from tests.support.hostile_place import SERVER, STRANGER, endless, reply, silence
from tests.support.mutual_place import MutualPlace, mutual_place
from tests.support.signing_peer import JWKS, OTHER_KEY, SigningPeer, signing_identity

JSON = ("content-type", "application/json")
OPENID = ("accounts:read", "openid")


@pytest.fixture
async def place() -> AsyncIterator[MutualPlace]:
    async with mutual_place() as found:
        yield found


def peer_of(place: MutualPlace) -> SigningPeer:
    assert isinstance(place.peer, SigningPeer)
    return place.peer


async def call(place: MutualPlace, **changes: Any) -> int:
    settings = place.settings(identities=(signing_identity(issuer=place.issuer, **changes),), scope=OPENID)
    async with place.caller(settings, place.trust) as client:
        return (await client.post(place.resource)).status_code


async def stopped(place: MutualPlace, expected: type[AgentError]) -> None:
    """The call ends with this error, no code was redeemed when the response was wrong, and the stranger saw nothing."""
    with pytest.raises(expected) as caught:
        await call(place)
    assert len(str(caught.value).split()) > 4
    assert place.at(STRANGER) == []
    place.judge()


async def test_among_honest_servers_signed_messages_bring_a_person_and_leak_nothing(place: MutualPlace) -> None:
    assert await call(place) == 200
    assert [one.path for one in place.at(SERVER)] == [
        "/.well-known/oauth-authorization-server",
        "/par",
        JWKS,
        "/token",
    ]
    assert place.at(STRANGER) == []


@pytest.mark.parametrize("status", [302, 307])
async def test_40_a_key_set_that_is_somewhere_else(place: MutualPlace, status: int) -> None:
    place.replies[JWKS] = reply(status, ("location", f"{place.stranger}/jwks"))
    await stopped(place, RedirectRefused)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("{stranger}/jwks", MetadataRejected),
        ("https://169.254.169.254/latest", MetadataRejected),
        ("http://localhost/jwks", InsecureAddress),
        ("file:///etc/passwd", InsecureAddress),
        ("{issuer}/jwks#x", InsecureAddress),
    ],
)
async def test_41_metadata_that_has_the_keys_fetched_from_a_stranger(
    place: MutualPlace, address: str, expected: type[AgentError]
) -> None:
    place.peer.metadata["jwks_uri"] = address.format(stranger=place.stranger, issuer=place.issuer)
    await stopped(place, expected)
    assert place.peer.visited == []


async def test_42_a_key_set_without_an_end(place: MutualPlace) -> None:
    place.replies[JWKS] = reply(200, JSON, body=b'{"keys": [' + b" " * ANSWER_LIMIT + b"]}")
    await stopped(place, AnswerRejected)
    place.replies[JWKS] = reply(200, JSON, ("content-encoding", "gzip"), body=gzip.compress(b" " * 1_000_000))
    await stopped(place, AnswerRejected)


@pytest.mark.parametrize("drips", [True, False])
async def test_43_a_key_set_that_never_comes(place: MutualPlace, drips: bool) -> None:
    place.patience = timedelta(seconds=1)
    place.wire[JWKS] = endless("200 OK\r\ncontent-type: application/json", b" ", pause=0.1) if drips else silence()
    await stopped(place, Unreachable)


async def test_44_a_response_that_a_stranger_signed_with_the_name_of_the_key(place: MutualPlace) -> None:
    peer_of(place).response_key = OTHER_KEY
    await stopped(place, ResponseRejected)
    assert place.at(SERVER, "/token") == []


@pytest.mark.parametrize(
    "change",
    [
        {"plain": True},
        {"swapped": True},
        {"outside": {"code": "of-the-thief"}},
        {"response_lies": {"iss": "https://evil.example"}},
        {"response_lies": {"aud": "another-agent"}},
        {"response_lies": {"exp": 1}},
        {"response_lies": {"state": "of-the-thief"}},
        {"header_lies": {"alg": "none"}},
    ],
)
async def test_45_a_response_that_is_not_the_signed_answer_to_this_request(
    place: MutualPlace, change: dict[str, Any]
) -> None:
    for name, value in change.items():
        setattr(place.peer, name, value)
    await stopped(place, ResponseRejected)
    assert place.at(SERVER, "/token") == []


@pytest.mark.parametrize(
    "lies",
    [
        {"iss": "https://evil.example"},
        {"aud": ["agent", "another-agent"]},
        {"azp": "another-agent"},
        {"exp": 1},
        {"iat": 1},
        {"nonce": "of-the-thief"},
        {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
    ],
)
async def test_46_an_id_token_that_is_not_of_this_sign_in(place: MutualPlace, lies: dict[str, Any]) -> None:
    peer_of(place).id_token_lies = lies
    await stopped(place, TokenRejected)
    assert place.bank_certificates() == []  # no call carried a token


async def test_47_an_id_token_that_a_stranger_signed_with_the_name_of_the_key(place: MutualPlace) -> None:
    peer_of(place).id_token_key = OTHER_KEY
    await stopped(place, TokenRejected)
    assert place.bank_certificates() == []


async def test_48_a_key_set_whose_keys_are_private_or_weak_verifies_nothing(place: MutualPlace) -> None:
    weak = {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "as-1"}
    place.replies[JWKS] = reply(200, JSON, body=json.dumps({"keys": [weak, {"kty": "oct", "k": "AAAA"}]}).encode())
    await stopped(place, ResponseRejected)


async def test_49_aliases_that_send_codes_and_refresh_tokens_to_a_stranger(place: MutualPlace) -> None:
    # without a certificate they are nobody's business; tests/system/test_agent_certificates.py has those with one
    place.peer.metadata["mtls_endpoint_aliases"] = {"token_endpoint": f"{place.stranger}/token"}
    assert await call(place) == 200
    assert place.at(STRANGER) == []
