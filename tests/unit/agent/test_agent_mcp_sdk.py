"""The official MCP client with AgentAuth, at an official MCP server behind rs_kit: all in one process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from cryptography.hazmat.primitives.asymmetric import ec
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from fapi_as.agent import AgentAuth
from fapi_as.agent.steps import Answer, Request
from rs_kit.adapters.clock import SystemClock
from rs_kit.adapters.issuer_keys import StaticIssuerKeys
from rs_kit.adapters.mcp import protect
from rs_kit.adapters.observer import LoggingObserver
from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.guard import Guard
from rs_kit.protocol import jws
from rs_kit.protocol.jwk import parse_public
from rs_kit.protocol.jws import SigningKey
from rs_kit.protocol.tool_policy import ToolPolicy
from tests.support.agent_peer import ISSUER, RESOURCE, Peer, header, opened, settings

ISSUER_KEY = SigningKey.from_private_key(ec.generate_private_key(ec.SECP256R1()), kid="issuer-1")
POLICY = ToolPolicy(base=("accounts:read",), tools={"get_balance": ("accounts:read",), "transfer": ("payments:write",)})


class MintingPeer(Peer):
    """The scripted peer with tokens that a real guard accepts."""

    def answer(self, request: Request) -> Answer:
        if request.url.endswith("/token"):
            asked = self.pushed[next(reversed(self.pushed))]
            self.token_document["access_token"] = self._minted(header(request, "dpop"), asked["scope"])
        return super().answer(request)

    def _minted(self, proof: str, scope: str) -> str:
        now = SystemClock().now()
        claims = {
            "iss": ISSUER,
            "sub": "alice",
            "aud": RESOURCE,
            "client_id": "agent",
            "scope": scope,
            "iat": now,
            "exp": now + 300,
            "jti": str(next(self.numbers)),
            "cnf": {"jkt": parse_public(opened(proof)[0]["jwk"]).thumbprint},
        }
        return jws.sign(ISSUER_KEY, claims, typ="at+jwt")


@asynccontextmanager
async def bank(peer: MintingPeer) -> AsyncIterator[httpx2.AsyncClient]:
    """An httpx2 client whose transport ends at the guarded bank."""
    server = MCPServer("bank")

    @server.tool()
    def get_balance() -> str:
        token = get_access_token()
        return f"7 EUR for {token.subject if token else None}"

    @server.tool()
    def transfer(amount: int) -> str:
        return f"{amount} EUR moved"

    app = server.streamable_http_app(
        json_response=True,
        stateless_http=True,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    guard = Guard(
        resource=RESOURCE,
        issuer=ISSUER,
        keys=StaticIssuerKeys(ISSUER, {"keys": [ISSUER_KEY.public_jwk()]}),
        used_once=MemoryUsedOnce(),
        tools=POLICY,
        nonce_key=bytes(32),
        clock=SystemClock(),
        observer=LoggingObserver(),
    )
    guarded = protect(app, guard)

    def at_server(request: httpx2.Request) -> httpx2.Response:
        headers = tuple((name.lower(), value) for name, value in request.headers.items())
        seen = Request(method=request.method, url=str(request.url), headers=headers, body=request.content)
        if "oauth-protected-resource" in str(request.url):
            raise AssertionError("the metadata is the bank's own")
        answer = peer.answer(seen)
        return httpx2.Response(answer.status, headers=list(answer.headers), content=answer.body)

    async def authorize(url: str) -> str:
        return peer.callback(url).url

    to_bank = httpx2.ASGITransport(app=guarded)
    back_channel = httpx2.AsyncClient(
        mounts={"https://bank.example": to_bank, "https://as.example": httpx2.MockTransport(at_server)}
    )
    auth = AgentAuth(settings(), back_channel=back_channel, authorize=authorize)
    async with server.session_manager.run(), httpx2.AsyncClient(transport=to_bank, auth=auth) as client:
        yield client


async def called(client: httpx2.AsyncClient, tool: str, **arguments: object) -> str:
    async with Client(streamable_http_client(RESOURCE, http_client=client)) as mcp:
        result = await mcp.call_tool(tool, arguments)
    return " ".join(block.text for block in result.content if block.type == "text")


async def test_a_tool_is_called_for_the_person_who_allowed_it() -> None:
    peer = MintingPeer()
    async with bank(peer) as client:
        assert await called(client, "get_balance") == "7 EUR for alice"
    assert len(peer.visited) == 1


async def test_a_tool_that_needs_more_is_called_after_the_person_allowed_more() -> None:
    peer = MintingPeer()
    async with bank(peer) as client:
        await called(client, "get_balance")
        assert await called(client, "transfer", amount=3) == "3 EUR moved"
    assert [pushed["scope"] for pushed in peer.pushed.values()] == ["accounts:read", "accounts:read payments:write"]
