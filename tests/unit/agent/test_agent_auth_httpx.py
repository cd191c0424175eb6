"""The httpx2 face: the core's steps on real requests, over a transport that is the scripted peer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest

from fapi_as.agent import AgentAuth, BrowserNeeded, MemoryTokenStore, Misconfigured, TokenSet, Unreachable
from fapi_as.agent.errors import AnswerRejected, AuthorizationDenied, RedirectRefused
from fapi_as.agent.steps import ANSWER_LIMIT, Answer, Call, Request
from tests.support.agent_peer import ISSUER, RESOURCE, Peer, settings


def to_response(answer: Answer) -> httpx2.Response:
    return httpx2.Response(answer.status, headers=list(answer.headers), content=answer.body)


class Scene:
    """An AgentAuth between two clients whose transports end at a Peer."""

    def __init__(self, peer: Peer | None = None, store: MemoryTokenStore | None = None) -> None:
        self.peer = peer or Peer()
        self.back_channel = httpx2.AsyncClient(transport=httpx2.MockTransport(self.at_server))
        self.auth = AgentAuth(settings(), back_channel=self.back_channel, authorize=self.authorize, store=store)
        self.client = httpx2.AsyncClient(transport=httpx2.MockTransport(self.at_resource), auth=self.auth)
        self.bodies: list[bytes] = []

    async def authorize(self, url: str) -> str:
        await asyncio.sleep(0)
        return self.peer.callback(url).url

    def at_server(self, request: httpx2.Request) -> httpx2.Response:
        seen = Request(
            method=request.method,
            url=str(request.url),
            headers=tuple((name.lower(), value) for name, value in request.headers.items()),
            body=request.content,
        )
        return to_response(self.peer.answer(seen))

    def at_resource(self, request: httpx2.Request) -> httpx2.Response:
        self.bodies.append(request.content)
        call = Call(authorization=request.headers.get("authorization"), proof=request.headers.get("dpop"))
        return to_response(self.peer.resource_answer(call))


async def test_a_request_is_answered_after_the_whole_flow_with_the_body_it_had() -> None:
    scene = Scene(Peer(server_nonce="a", resource_nonce="b"))

    response = await scene.client.post(RESOURCE, json={"jsonrpc": "2.0"})

    assert response.status_code == 200
    assert scene.bodies == [b'{"jsonrpc":"2.0"}'] * 3
    assert "authorization" not in scene.peer.seen[0].headers


async def test_many_requests_at_once_bother_the_person_once() -> None:
    scene = Scene()

    responses = await asyncio.gather(*(scene.client.post(RESOURCE, json=number) for number in range(20)))

    assert {response.status_code for response in responses} == {200}
    assert len(scene.peer.visited) == 1
    assert len(scene.peer.requests_to("/token")) == 1


@pytest.mark.parametrize("failure", ["denied", "broken"])
async def test_many_calls_at_once_share_the_failure_of_the_one_flow(failure: str) -> None:
    scene = Scene()
    if failure == "denied":
        scene.peer.response = {"error": "access_denied", "code": None}
    else:
        scene.peer.overrides["/token"] = lambda _: Answer(status=500)

    answers = await asyncio.gather(*(scene.client.post(RESOURCE) for _ in range(20)), return_exceptions=True)

    assert all(isinstance(answer, AuthorizationDenied | AnswerRejected) for answer in answers)
    assert len(scene.peer.visited) == 1
    with pytest.raises((AuthorizationDenied, AnswerRejected)):
        await scene.client.post(RESOURCE)
    assert len(scene.peer.visited) == 2


async def test_a_call_that_is_given_up_does_not_take_those_with_it_that_waited() -> None:
    scene, asked = Scene(), asyncio.Event()

    def first(request: Request) -> Answer:
        del scene.peer.overrides["/par"]
        asked.set()
        return scene.peer.answer(request)

    scene.peer.overrides["/par"] = first
    calls = [asyncio.ensure_future(scene.client.post(RESOURCE)) for _ in range(5)]
    await asked.wait()
    calls[0].cancel()

    answers = await asyncio.gather(*calls, return_exceptions=True)

    assert isinstance(answers[0], asyncio.CancelledError)
    assert [answer.status_code for answer in answers[1:] if isinstance(answer, httpx2.Response)] == [200] * 4


async def test_nothing_of_the_callers_client_reaches_the_authorization_server() -> None:
    scene = Scene()
    scene.client.cookies.set("session", "of-the-resource")
    scene.client.headers["x-own"] = "1"

    await scene.client.post(RESOURCE)

    for request in scene.peer.seen:
        assert not {"cookie", "x-own", "authorization"} & {name for name, _ in request.headers}


async def test_tokens_outlive_the_object_in_the_store() -> None:
    store, peer = MemoryTokenStore(), Peer()
    await Scene(peer, store).client.post(RESOURCE)

    response = await Scene(peer, store).client.post(RESOURCE)

    assert response.status_code == 200
    assert len(peer.visited) == 1


@pytest.mark.requirement("FAPI2-CL-6", proves="refused")
async def test_a_crash_between_the_answer_and_the_store_leaves_the_old_refresh_token_to_try() -> None:
    class Crashing(MemoryTokenStore):
        crash = False

        async def save(self, resource: str, tokens: TokenSet | None) -> None:
            if self.crash:
                raise OSError("power cut")
            await super().save(resource, tokens)

    store, peer = Crashing(), Peer()
    first = Scene(peer, store)
    await first.client.post(RESOURCE)
    held = await store.load(RESOURCE)
    peer.expire()
    store.crash = True
    with pytest.raises(OSError, match="power cut"):
        await first.client.post(RESOURCE)

    store.crash = False
    peer.expire()
    assert await store.load(RESOURCE) is held
    assert (await Scene(peer, store).client.post(RESOURCE)).status_code == 200
    old = [r.body for r in peer.requests_to("/token") if b"grant_type=refresh_token" in r.body]
    assert held is not None
    assert held.refresh_token is not None
    assert [held.refresh_token.reveal().encode() in body for body in old] == [True, True]
    assert len(peer.visited) == 1


async def test_a_failed_flow_is_told_to_the_caller_and_the_next_call_may_try_again() -> None:
    scene = Scene(Peer(response={"code": None, "error": "access_denied"}))
    with pytest.raises(AuthorizationDenied, match="access_denied"):
        await scene.client.post(RESOURCE)

    scene.peer.response.clear()
    assert (await scene.client.post(RESOURCE)).status_code == 200


async def test_without_a_browser_the_sentence_says_so() -> None:
    scene = Scene()
    auth = AgentAuth(settings(), back_channel=scene.back_channel)
    with pytest.raises(BrowserNeeded, match="a person has to allow this"):
        await scene.client.post(RESOURCE, auth=auth)


async def test_a_redirect_of_the_server_is_not_followed_even_by_a_client_that_would() -> None:
    scene = Scene()
    scene.back_channel.follow_redirects = True
    scene.peer.overrides["/par"] = lambda _: Answer(status=307, headers=(("location", f"{ISSUER}/token"),))

    with pytest.raises(RedirectRefused):
        await scene.client.post(RESOURCE)
    assert scene.peer.requests_to("/token") == []


async def test_an_endless_answer_is_read_no_further_than_the_limit() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1024
            yield b" " * 1024

    def at_server(request: httpx2.Request) -> httpx2.Response:
        del request
        return httpx2.Response(200, headers={"content-type": "application/json"}, content=endless())

    back_channel = httpx2.AsyncClient(transport=httpx2.MockTransport(at_server))
    scene = Scene()
    with pytest.raises(AnswerRejected, match="larger"):
        await scene.client.post(RESOURCE, auth=AgentAuth(settings(), back_channel=back_channel))
    assert read <= ANSWER_LIMIT + 2048


@pytest.mark.parametrize(
    "failure", [httpx2.ConnectError("no"), httpx2.ReadTimeout("slow"), httpx2.RemoteProtocolError("what")]
)
async def test_a_server_that_cannot_be_reached_is_named(failure: Exception) -> None:
    def broken(request: httpx2.Request) -> httpx2.Response:
        del request
        raise failure

    scene = Scene()
    auth = AgentAuth(settings(), back_channel=httpx2.AsyncClient(transport=httpx2.MockTransport(broken)))
    with pytest.raises(Unreachable, match=r"bank\.example did not answer"):
        await scene.client.post(RESOURCE, auth=auth)


def redirected(scene: Scene, location: str) -> Callable[[httpx2.Request], httpx2.Response]:
    def handler(request: httpx2.Request) -> httpx2.Response:
        if str(request.url) == RESOURCE and request.headers.get("authorization"):
            return httpx2.Response(307, headers={"location": location})
        return scene.at_resource(request)

    return handler


async def test_a_redirect_that_copies_our_headers_does_not_take_the_token_along() -> None:
    scene = Scene()
    other = "https://bank.example/elsewhere"
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(redirected(scene, other)), auth=scene.auth)
    response = await client.post(RESOURCE, follow_redirects=False)
    assert response.next_request is not None
    assert response.next_request.headers["authorization"].startswith("DPoP ")  # httpx2 keeps it within an origin

    await client.send(response.next_request)  # as the MCP transport does

    assert scene.peer.calls[-1] == Call(authorization=None, proof=None)


async def test_what_a_caller_sends_elsewhere_stays_as_it_was() -> None:
    scene = Scene()
    scene.peer.resource_answers = [Answer(status=200)]

    await scene.client.get("https://other.example/", headers={"authorization": "Basic eDp5"})

    assert scene.peer.calls == [Call(authorization="Basic eDp5", proof=None)]


def test_a_blocking_client_is_told_to_be_another() -> None:
    scene = Scene()
    client = httpx2.Client(transport=httpx2.MockTransport(scene.at_resource))
    with client, pytest.raises(Misconfigured, match="AsyncClient"):
        client.get(RESOURCE, auth=scene.auth)
