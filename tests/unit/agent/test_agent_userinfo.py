"""What the agent lets itself be told about its person, and by whom."""

from __future__ import annotations

import time
from typing import Any

import httpx2
import pytest

from fapi_as.agent import AgentAuth
from fapi_as.agent.errors import (
    AgentError,
    AnswerRejected,
    MetadataRejected,
    Misconfigured,
    ServerRefused,
    TokenRejected,
)
from fapi_as.agent.steps import Answer, Request
from tests.support.agent_peer import ISSUER, as_json, form, header, identity, opened, settings
from tests.support.signing_peer import ED25519_KEY, OTHER_KEY, SigningPeer

SIGNED = (identity(userinfo_signed_response_alg="ES256"),)


async def told(peer: SigningPeer, **changes: Any) -> dict[str, Any]:
    def at_server(request: httpx2.Request) -> httpx2.Response:
        headers = tuple((name.lower(), value) for name, value in request.headers.items())
        answer = peer.answer(
            Request(method=request.method, url=str(request.url), headers=headers, body=request.content)
        )
        return httpx2.Response(answer.status, headers=list(answer.headers), content=answer.body)

    async def authorize(url: str) -> str:
        return peer.callback(url).url

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(at_server)) as back_channel:
        chosen = settings(**{"resource": ISSUER, "scope": ("openid", "profile"), **changes})
        auth = AgentAuth(chosen, back_channel=back_channel, authorize=authorize)
        peer.time = int(time.time())
        await auth.sign_in()
        return await auth.userinfo()


@pytest.mark.requirement("OIDC-56", proves="holds")
async def test_what_is_told_about_the_person_of_the_id_token_is_taken() -> None:
    peer = SigningPeer(server_nonce="n1")
    assert await told(peer) == {"sub": "alice", "name": "Alice"}

    assert {form(request)["resource"] for request in peer.seen if request.method == "POST"} == {ISSUER}
    last = peer.requests_to("/userinfo")[-1]
    assert header(last, "authorization").startswith("DPoP opaque-")
    assert opened(header(last, "dpop"))[1]["htu"] == f"{ISSUER}/userinfo"
    assert "ath" in opened(header(last, "dpop"))[1]


@pytest.mark.parametrize("in_a_challenge", [False, True])
async def test_a_nonce_that_userinfo_demands_is_learnt_from_the_body_or_the_challenge(in_a_challenge: bool) -> None:
    peer = SigningPeer(server_nonce="n1", userinfo_nonce="n2", told_in_a_challenge=in_a_challenge)
    assert await told(peer) == {"sub": "alice", "name": "Alice"}
    assert [opened(header(sent, "dpop"))[1]["nonce"] for sent in peer.requests_to("/userinfo")] == ["n1", "n2"]


@pytest.mark.requirement("OIDC-56", proves="refused")
@pytest.mark.parametrize("subject", ["mallory", "Alice", "", None, 7])
@pytest.mark.parametrize("signed", [False, True])
async def test_what_is_told_about_anybody_else_is_thrown_away(subject: object, signed: bool) -> None:
    peer = SigningPeer(userinfo_lies={"sub": subject}, userinfo_signed=signed)
    with pytest.raises(TokenRejected, match="another person"):
        await told(peer, identities=SIGNED if signed else (identity(),))


async def test_a_signed_answer_is_taken_where_it_was_registered() -> None:
    claims = await told(SigningPeer(userinfo_signed=True), identities=SIGNED)
    assert (claims["sub"], claims["aud"]) == ("alice", "agent")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"userinfo_lies": {"iss": "https://evil.example"}}, TokenRejected),
        ({"userinfo_lies": {"aud": "another-agent"}}, TokenRejected),
        ({"userinfo_signed": False}, AnswerRejected),
    ],
)
async def test_a_signed_answer_for_another_or_an_unsigned_one_is_refused(
    change: dict[str, Any], expected: type[AgentError]
) -> None:
    with pytest.raises(expected):
        await told(SigningPeer(**{"userinfo_signed": True, **change}), identities=SIGNED)


@pytest.mark.parametrize("key", [OTHER_KEY, ED25519_KEY])
async def test_an_answer_that_the_issuer_did_not_sign_is_refused(key: Any) -> None:
    peer = SigningPeer()
    body = peer.signed({"iss": ISSUER, "aud": "agent", "sub": "alice"}, key).encode()
    peer.overrides["/userinfo"] = lambda _: Answer(
        status=200, headers=(("content-type", "application/jwt"),), body=body
    )
    with pytest.raises(TokenRejected, match="cannot be believed"):
        await told(peer, identities=SIGNED)


async def test_a_refusal_and_a_missing_endpoint_are_told() -> None:
    peer = SigningPeer()
    peer.overrides["/userinfo"] = lambda _: as_json(403, {"error": "insufficient_scope"})
    with pytest.raises(ServerRefused, match="403 insufficient_scope"):
        await told(peer)
    peer = SigningPeer()
    del peer.metadata["userinfo_endpoint"]
    with pytest.raises(MetadataRejected, match="userinfo_endpoint"):
        await told(peer)
    with pytest.raises(MetadataRejected, match="another server"):
        await told(SigningPeer(metadata={"userinfo_endpoint": "https://evil.example/userinfo"}))


async def test_tokens_of_another_resource_or_without_an_id_token_ask_for_nothing() -> None:
    peer = SigningPeer()
    with pytest.raises(Misconfigured, match="issuer itself"):
        await told(peer, resource="https://bank.example/mcp")
    with pytest.raises(Misconfigured, match="openid"):
        await told(peer, scope=("profile",))
    assert peer.requests_to("/userinfo") == []
