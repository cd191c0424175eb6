"""The agent at peers that want it to crash, to hang, to show a secret or to believe the wrong server."""

from __future__ import annotations

import time

import httpx2
import pytest

from fapi_as.agent import AgentAuth, InsecureAddress, RedirectRefused, ResponseRejected, Unreachable
from fapi_as.agent.authorization import checked_response
from fapi_as.agent.challenge import chosen
from fapi_as.agent.steps import Answer, Call, Callback, Request
from tests.support.agent_peer import ISSUER, REDIRECT_URI, RESOURCE, Peer, agent_of, identity, run_call, settings


@pytest.mark.parametrize("member", ["token_endpoint", "pushed_authorization_request_endpoint"])
@pytest.mark.parametrize(
    "url",
    [
        "https://as.example/{tenant}",
        "https://as.example/%zz",
        "https://as.example:/token",
        "https://as.example:0/token",
        "https://as%2eexample/token",
        "https://[fe80::1%25eth0]/token",
        "https://*/token",
    ],
)
def test_an_endpoint_that_no_proof_can_name_is_refused_by_a_sentence(member: str, url: str) -> None:
    peer = Peer(metadata={member: url})
    with pytest.raises(InsecureAddress):
        run_call(agent_of(), peer)

    assert peer.requests_to("/par") == []


@pytest.mark.requirement("PRM-12", proves="refused")
def test_port_zero_is_not_the_default_port_of_the_resource() -> None:
    peer = Peer(challenge='DPoP resource_metadata="https://bank.example:0/metadata"')
    with pytest.raises(InsecureAddress):
        run_call(agent_of(), peer)

    assert peer.seen == []


@pytest.mark.attack("EXH-12")
@pytest.mark.parametrize("value", ["DPoP" + " " * 16_000 + "=", "DPoP" + "\t" * 16_000 + "=", "D a=" + ", " * 8_000])
def test_a_challenge_of_blanks_is_read_in_no_time(value: str) -> None:
    started = time.process_time()
    chosen((value,) * 6)

    assert time.process_time() - started < 0.2


@pytest.mark.parametrize("text", ["\udc80", "\u00e9"])
def test_a_response_address_that_is_no_address_is_refused_by_a_sentence(text: str) -> None:
    url = f"{REDIRECT_URI}?iss={ISSUER}&state={text}&code=x"
    with pytest.raises(ResponseRejected):
        checked_response(url, redirect_uri=REDIRECT_URI, state="s", issuer=ISSUER)


def test_steps_do_not_show_what_they_carry() -> None:
    steps = (
        Call(authorization="DPoP seekrit", proof="seekrit"),
        Request(method="POST", url=ISSUER, headers=(("dpop", "seekrit"),), body=b"code=seekrit"),
        Answer(status=200, headers=(("dpop-nonce", "seekrit"),), body=b"seekrit"),
        Callback(url=f"{REDIRECT_URI}?code=seekrit"),
    )

    assert "seekrit" not in repr(steps)


async def authorize(peer: Peer, url: str) -> str:
    return peer.callback(url).url


@pytest.mark.parametrize("location", ["https://bank.example/elsewhere", "https://evil.example/mcp"])
async def test_an_answer_that_came_by_a_redirect_is_not_the_answer_of_the_resource(location: str) -> None:
    peer = Peer()

    def at_server(request: httpx2.Request) -> httpx2.Response:
        headers = tuple((name.lower(), value) for name, value in request.headers.items())
        seen = Request(method=request.method, url=str(request.url), headers=headers, body=request.content)
        answer = peer.answer(seen)
        return httpx2.Response(answer.status, headers=list(answer.headers), content=answer.body)

    def at_resource(request: httpx2.Request) -> httpx2.Response:
        if str(request.url) != RESOURCE:
            return httpx2.Response(401, headers={"dpop-nonce": "planted", "www-authenticate": "DPoP"})
        if request.headers.get("authorization") is None:
            return httpx2.Response(401, headers={"www-authenticate": peer.challenge})
        return httpx2.Response(307, headers={"location": location})

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(at_server)) as back_channel:
        auth = AgentAuth(settings(), back_channel=back_channel, authorize=lambda url: authorize(peer, url))
        transport = httpx2.MockTransport(at_resource)
        async with httpx2.AsyncClient(transport=transport, auth=auth, follow_redirects=True) as client:
            with pytest.raises(RedirectRefused):
                await client.post(RESOURCE)

    assert auth.agent.tokens is not None
    assert len(peer.visited) == 1


async def test_an_address_that_the_http_client_cannot_read_is_an_unreachable_server() -> None:
    unreadable = "https://256.1.1.1"  # four numbers, and no IPv4 address
    peer = Peer()

    def at_server(request: httpx2.Request) -> httpx2.Response:
        answer = peer.answer(Request(method=request.method, url=str(request.url)))
        return httpx2.Response(answer.status, headers=list(answer.headers), content=answer.body)

    def at_resource(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(401, headers={"www-authenticate": peer.challenge})

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(at_server)) as back_channel:
        peer.metadata["pushed_authorization_request_endpoint"] = f"{unreadable}/par"
        told = settings(identities=(identity(endpoint_origins=(unreadable,)),))
        auth = AgentAuth(told, back_channel=back_channel, authorize=lambda url: authorize(peer, url))
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(at_resource), auth=auth) as client:
            with pytest.raises(Unreachable, match="did not answer: InvalidURL"):
                await client.post(RESOURCE)
