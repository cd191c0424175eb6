"""The agent where other libraries expect an authentication of their own: httpx, the MCP SDK's provider, FastMCP."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from fapi_as.agent import AgentAuth, McpProviderAuth, Misconfigured, ResponseRejected, for_httpx
from fapi_as.agent.steps import Call, Request
from tests.support.agent_peer import ISSUER, REDIRECT_URI, RESOURCE, Peer, identity, opened, settings


def transports(peer: Peer) -> tuple[httpx2.MockTransport, httpx2.MockTransport]:
    """To the resource, and to the servers of the back channel."""

    def at_server(request: httpx2.Request) -> httpx2.Response:
        headers = tuple((name.lower(), value) for name, value in request.headers.items())
        seen = Request(method=request.method, url=str(request.url), headers=headers, body=request.content)
        answer = peer.answer(seen)
        return httpx2.Response(answer.status, headers=list(answer.headers), content=answer.body)

    def at_resource(request: httpx2.Request) -> httpx2.Response:
        call = Call(authorization=request.headers.get("authorization"), proof=request.headers.get("dpop"))
        answer = peer.resource_answer(call)
        return httpx2.Response(answer.status, headers=list(answer.headers))

    return httpx2.MockTransport(at_resource), httpx2.MockTransport(at_server)


class Browser:
    """The two handlers that an application wrote for the MCP SDK's provider."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.came_back: dict[str, str] = {}

    async def redirect(self, url: str) -> None:
        query = self.peer.callback(url).url.partition("?")[2]
        self.came_back = dict(httpx2.QueryParams(query).items())

    async def callback(self) -> Any:
        members = {"code": None, "state": None, "iss": None, **self.came_back}
        return SimpleNamespace(**members)


async def called(peer: Peer, make: Callable[[httpx2.AsyncClient, Browser], httpx2.Auth]) -> httpx2.Response:
    to_resource, to_servers = transports(peer)
    async with httpx2.AsyncClient(transport=to_servers) as back_channel:
        auth = make(back_channel, Browser(peer))
        async with httpx2.AsyncClient(transport=to_resource, auth=auth) as client:
            return await client.post(RESOURCE, json={"jsonrpc": "2.0"})


def in_the_place_of_the_provider(back_channel: httpx2.AsyncClient, browser: Browser, **changes: Any) -> McpProviderAuth:
    return McpProviderAuth(
        settings(**changes),
        back_channel=back_channel,
        redirect_handler=browser.redirect,
        callback_handler=browser.callback,
    )


async def test_the_handlers_of_an_mcp_client_bring_a_token_that_is_bound() -> None:
    peer = Peer(server_nonce="a", resource_nonce="b")

    response = await called(peer, in_the_place_of_the_provider)

    assert response.status_code == 200
    assert peer.calls[-1].authorization is not None
    assert peer.calls[-1].authorization.startswith("DPoP ")
    assert opened(peer.calls[-1].proof or "")[1]["htu"] == RESOURCE


@pytest.mark.parametrize("response", [{"iss": "https://evil.example"}, {"iss": None}, {"state": "x"}, {"state": None}])
async def test_what_the_handlers_bring_back_is_checked_like_any_response(response: dict[str, str | None]) -> None:
    peer = Peer(response=response)

    with pytest.raises(ResponseRejected):
        await called(peer, in_the_place_of_the_provider)
    assert peer.requests_to("/token") == []


async def test_a_redirect_uri_with_a_query_of_its_own_is_put_together_again() -> None:
    peer, uri = Peer(), f"{REDIRECT_URI}?app=1"
    known = (identity(redirect_uri=uri),)

    response = await called(peer, lambda back, browser: in_the_place_of_the_provider(back, browser, identities=known))

    assert response.status_code == 200
    assert peer.pushed[next(iter(peer.pushed))]["redirect_uri"] == uri


async def test_handlers_that_cannot_tell_two_redirect_uris_apart_are_refused_at_start() -> None:
    two = (identity(), identity(issuer=f"{ISSUER}/2", redirect_uri=f"{REDIRECT_URI}/2"))

    with pytest.raises(Misconfigured, match="one redirect_uri"):
        await called(Peer(), lambda back, browser: in_the_place_of_the_provider(back, browser, identities=two))


async def test_handlers_that_have_no_place_for_a_signed_response_are_refused_at_start() -> None:
    known = (identity(authorization_signed_response_alg="ES256"),)

    with pytest.raises(Misconfigured, match="no signed response"):
        await called(Peer(), lambda back, browser: in_the_place_of_the_provider(back, browser, identities=known))


async def test_a_client_of_httpx_gets_an_auth_of_httpx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", httpx2)  # the library it was forked from, with the same names
    peer = Peer(server_nonce="a", resource_nonce="b")

    def make(back_channel: httpx2.AsyncClient, browser: Browser) -> httpx2.Auth:
        async def authorize(url: str) -> str:
            return browser.peer.callback(url).url

        auth = for_httpx(AgentAuth(settings(), back_channel=back_channel, authorize=authorize))
        assert isinstance(auth, httpx2.Auth)
        assert not isinstance(auth, AgentAuth)
        return auth

    assert (await called(peer, make)).status_code == 200
    assert len(peer.visited) == 1


async def test_a_blocking_client_of_httpx_is_told_to_be_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", httpx2)
    to_resource, to_servers = transports(Peer())
    async with httpx2.AsyncClient(transport=to_servers) as back_channel:
        auth = for_httpx(AgentAuth(settings(), back_channel=back_channel))
        with httpx2.Client(transport=to_resource) as client, pytest.raises(Misconfigured, match="AsyncClient"):
            client.post(RESOURCE, auth=auth)


async def test_without_httpx_the_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    async with httpx2.AsyncClient() as back_channel:
        with pytest.raises(Misconfigured, match="httpx is not installed"):
            for_httpx(AgentAuth(settings(), back_channel=back_channel))
