"""The official MCP server behind rs_kit, and scripted authorization servers that mint tokens for it, in one process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2
from cryptography.hazmat.primitives.asymmetric import ec
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from typing_extensions import override

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

ISSUER_KEY: Final = SigningKey.from_private_key(ec.generate_private_key(ec.SECP256R1()), kid="issuer-1")
POLICY: Final = ToolPolicy(
    base=("accounts:read",), tools={"get_balance": ("accounts:read",), "transfer": ("payments:write",)}
)
CALL: Final = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {"name": "get_balance", "arguments": {}},
}
ACCEPT: Final = {"accept": "application/json, text/event-stream"}


@dataclass
class MintingPeer(Peer):
    """The scripted peer with tokens that a real guard accepts, when it knows this issuer and its key."""

    issuer: str = ISSUER
    key: SigningKey = ISSUER_KEY
    injected: str | None = None

    @override
    def __post_init__(self) -> None:
        places = {"authorization_endpoint": "authorize", "token_endpoint": "token"}
        endpoints = {**places, "pushed_authorization_request_endpoint": "par"}
        own = {name: f"{self.issuer}/{path}" for name, path in endpoints.items()}
        self.metadata = {"issuer": self.issuer, **own, **self.metadata}
        self.response = {"iss": self.issuer, **self.response}
        super().__post_init__()

    @override
    def answer(self, request: Request) -> Answer:
        if request.url.endswith("/token"):
            asked = self.pushed[next(reversed(self.pushed))]
            self.token_document["access_token"] = self.injected or self._minted(header(request, "dpop"), asked["scope"])
        return super().answer(request)

    def _minted(self, proof: str, scope: str) -> str:
        now = SystemClock().now()
        claims = {
            "iss": self.issuer,
            "sub": "alice",
            "aud": RESOURCE,
            "client_id": "agent",
            "scope": scope,
            "iat": now,
            "exp": now + 300,
            "jti": str(next(self.numbers)),
            "cnf": {"jkt": parse_public(opened(proof)[0]["jwk"]).thumbprint},
        }
        return jws.sign(self.key, claims, typ="at+jwt")


@dataclass
class Bank(httpx2.AsyncBaseTransport):
    """The way to the guarded bank; it remembers what went there."""

    inner: httpx2.ASGITransport
    peers: Mapping[str, MintingPeer]
    authorization_servers: list[str] | None  # what its metadata says; None leaves it to the guard
    sent: list[httpx2.Request] = field(default_factory=list)
    turn_away: int = 0  # so many calls with a token are refused unseen

    @override
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        content = await request.aread()
        self.sent.append(httpx2.Request(request.method, request.url, headers=request.headers, content=content))
        if self.authorization_servers is not None and "oauth-protected-resource" in request.url.path:
            document = {"resource": RESOURCE, "authorization_servers": self.authorization_servers}
            return httpx2.Response(200, json=document)
        if self.turn_away and "authorization" in request.headers:
            self.turn_away -= 1
            return httpx2.Response(401, headers={"www-authenticate": 'DPoP error="invalid_token"'})
        return await self.inner.handle_async_request(request)

    @property
    def calls(self) -> list[httpx2.Request]:
        """What went there with a token."""
        return [request for request in self.sent if "authorization" in request.headers]

    async def again(self, request: httpx2.Request) -> httpx2.Response:
        """The very same bytes once more, as a thief sends them."""
        copied = httpx2.Request(request.method, request.url, headers=request.headers, content=request.content)
        async with httpx2.AsyncClient(transport=self.inner) as thief:
            return await thief.send(copied)

    def client(self, **changes: Any) -> httpx2.AsyncClient:
        """A caller's client with an agent."""
        return httpx2.AsyncClient(transport=self, auth=self.auth(**changes), headers=ACCEPT)

    def auth(self, **changes: Any) -> AgentAuth:
        servers = {issuer: httpx2.MockTransport(_at(peer)) for issuer, peer in self.peers.items()}
        back_channel = httpx2.AsyncClient(mounts={"https://bank.example": self, **servers})
        return AgentAuth(settings(**changes), back_channel=back_channel, authorize=self._authorize)

    async def _authorize(self, url: str) -> str:
        return next(peer for issuer, peer in self.peers.items() if url.startswith(issuer)).callback(url).url


@asynccontextmanager
async def bank(*peers: MintingPeer) -> AsyncIterator[Bank]:
    """A bank that trusts the first of these authorization servers and names all of them, the last one first."""
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
        issuer=peers[0].issuer,
        keys=StaticIssuerKeys(peers[0].issuer, {"keys": [peers[0].key.public_jwk()]}),
        used_once=MemoryUsedOnce(),
        tools=POLICY,
        nonce_key=bytes(32),
        clock=SystemClock(),
        observer=LoggingObserver(),
    )
    inner = httpx2.ASGITransport(app=protect(app, guard))
    by_issuer = {peer.issuer: peer for peer in peers}
    async with server.session_manager.run():
        named = [peer.issuer for peer in reversed(peers)] if len(peers) > 1 else None
        yield Bank(inner=inner, peers=by_issuer, authorization_servers=named)


def _at(peer: MintingPeer) -> Any:
    def handler(request: httpx2.Request) -> httpx2.Response:
        headers = tuple((name.lower(), value) for name, value in request.headers.items())
        seen = Request(method=request.method, url=str(request.url), headers=headers, body=request.content)
        answer = peer.answer(seen)
        return httpx2.Response(answer.status, headers=list(answer.headers), content=answer.body)

    return handler
