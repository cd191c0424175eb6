"""A bank as an MCP server: the official SDK, unmodified, behind the guard, and a peer that is right until told to lie.

The peer signs with bare `cryptography`; nothing of the kit vouches for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, Protocol

import httpx2
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from rs_kit.adapters.issuer_keys import StaticIssuerKeys
from rs_kit.adapters.mcp import protect
from rs_kit.adapters.observer import LoggingObserver
from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.guard import Guard
from rs_kit.ports import AuthorizedCall, IssuerKeys, Observer, Refusal, UsedOnce
from rs_kit.protocol import nonce
from rs_kit.protocol.confirmation import SenderConstraint
from rs_kit.protocol.http import HttpRequest
from rs_kit.protocol.tool_policy import ToolPolicy
from rs_kit.testing import RecordingObserver
from tests.support.fakes import NONCE_KEY, FrozenClock
from tests.support.peer_keys import PeerKey, b64
from tests.support.server_oracles import saw_bank

ISSUER: Final = "https://as.bank.example"
RESOURCE: Final = "https://mcp.bank.example/mcp"
VERSION: Final = "2026-07-28"
WINDOW: Final = 120
SCOPES: Final = "mcp:use accounts:read"
ISSUER_KEY: Final = PeerKey.es256(seed=11)
AGENT_KEY: Final = PeerKey.es256(seed=12)
TOOLS: Final = ToolPolicy(
    tools={"get_balance": ["accounts:read"], "transfer": ["payments:write"], "whoami": [], "follow": []},
    base=["mcp:use"],
)


class _Absent:
    """A member that is left out."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = _Absent()

_numbers = itertools.count(1)


def rpc(method: str = "tools/call", **params: Any) -> dict[str, Any]:
    """One JSON-RPC request of the current protocol version."""
    meta = {"io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {}}
    return {"jsonrpc": "2.0", "id": 7, "method": method, "params": {**params, "_meta": meta}}


def tool_call(name: str = "get_balance", **arguments: Any) -> dict[str, Any]:
    return rpc(name=name, arguments=arguments)


def as_body(message: Any) -> bytes:
    return message if isinstance(message, bytes) else json.dumps(message).encode()


def ath(token: str) -> str:
    return b64(hashlib.sha256(token.encode()).digest())


class Peer:
    """An agent: `token` and `proof` are right unless an argument says otherwise; ABSENT leaves a member out."""

    def __init__(self, clock: FrozenClock, key: PeerKey = AGENT_KEY) -> None:
        self.clock = clock
        self.key = key

    def token(self, *, header: Mapping[str, Any] | None = None, key: PeerKey = ISSUER_KEY, **claims: Any) -> str:
        now = self.clock.now()
        said = {
            "iss": ISSUER,
            "aud": RESOURCE,
            "sub": "alice",
            "client_id": "agent-1",
            "scope": SCOPES,
            "iat": now,
            "exp": now + 300,
            "jti": f"token-{next(_numbers)}",
            "cnf": {"jkt": self.key.thumbprint},
            **claims,
        }
        return key.sign(_without({"typ": "at+jwt", "kid": "as-1", **(header or {})}), _without(said))

    def nonce(self, key: PeerKey | None = None, *, windows_ago: int = 0) -> str:
        return nonce.issue(
            NONCE_KEY,
            now=self.clock.now() - windows_ago * WINDOW,
            jkt=(key or self.key).thumbprint,
            window_seconds=WINDOW,
        )

    def proof(
        self, token: str, *, header: Mapping[str, Any] | None = None, key: PeerKey | None = None, **claims: Any
    ) -> str:
        signer = key or self.key
        said = {
            "jti": f"proof-{next(_numbers)}",
            "htm": "POST",
            "htu": RESOURCE,
            "iat": self.clock.now(),
            "ath": ath(token),
            "nonce": self.nonce(signer),
            **claims,
        }
        return signer.sign(_without({"typ": "dpop+jwt", "jwk": signer.jwk(), **(header or {})}), _without(said))

    def headers(
        self, token: str | None = None, proof: str | None = None, *, scheme: str = "DPoP", **more: str
    ) -> list[tuple[str, str]]:
        token = self.token() if token is None else token
        proof = self.proof(token) if proof is None else proof
        pairs = [("authorization", f"{scheme} {token}"), ("dpop", proof), ("content-type", "application/json")]
        return [*pairs, *((name.replace("_", "-"), value) for name, value in more.items())]

    def bearer(self, token: str, *, scheme: str = "Bearer", **more: str) -> list[tuple[str, str]]:
        """The headers of a call whose token is bound to a certificate alone."""
        return [pair for pair in self.headers(token, "", scheme=scheme, **more) if pair[0] != "dpop"]


class Bank:
    """The MCP server, its guard, and what its tools have done."""

    def __init__(
        self,
        *,
        used_once: UsedOnce | None = None,
        keys: IssuerKeys | None = None,
        observer: Observer | None = None,
        tools: ToolPolicy = TOOLS,
        issuer: str = ISSUER,
        resource: str = RESOURCE,
        **more: Any,
    ) -> None:
        self.clock = FrozenClock()
        self.peer = Peer(self.clock)
        self.observer = RecordingObserver()
        self.used_once = MemoryUsedOnce() if used_once is None else used_once
        self.guard = Guard(
            resource=resource,
            issuer=issuer,
            keys=StaticIssuerKeys(ISSUER, {"keys": [ISSUER_KEY.jwk(kid="as-1")]}) if keys is None else keys,
            used_once=self.used_once,
            tools=tools,
            nonce_key=NONCE_KEY,
            clock=self.clock,
            observer=RecordingAndLogging(self.observer) if observer is None else observer,
            **more,
        )
        self.base = tools.base
        self.constraint: SenderConstraint = more.get("sender_constraint", SenderConstraint.DPOP)
        self.resource = resource
        self.done: list[str] = []
        self.seen: list[dict[str, str]] = []  # the headers that tools were shown
        self.news: asyncio.Queue[str | None] = asyncio.Queue()  # what `follow` tells, until there is None

    def request(
        self,
        headers: list[tuple[str, str]] | None = None,
        message: Any = None,
        *,
        method: str = "POST",
        path: str = "/mcp",
        certificate: bytes | None = None,
    ) -> HttpRequest:
        """A request for `Guard.admit`."""
        pairs = self.peer.headers() if headers is None else headers
        body = b"" if method != "POST" else as_body(tool_call() if message is None else message)
        return HttpRequest(
            method, path, tuple((name.encode(), value.encode("latin-1")) for name, value in pairs), body, certificate
        )

    def server(self) -> MCPServer:
        """The application that knows nothing of the guard."""
        server = MCPServer("bank", log_level="ERROR")

        @server.tool()
        async def get_balance(context: Context[Any, Any]) -> str:
            self.seen.append(dict(context.headers or {}))
            return self.do("get_balance")

        @server.tool()
        def transfer(amount: int = 0) -> str:
            return self.do(f"transfer {amount}")

        @server.tool()
        async def follow(context: Context[Any, Any]) -> str:
            while (news := await self.news.get()) is not None:
                await context.report_progress(1, message=news)
            return "followed"

        @server.tool()
        def whoami() -> str:
            token = get_access_token()
            if token is None:
                return "nobody"
            facts = {"sub": token.subject, "client": token.client_id, "scopes": token.scopes, "token": token.token}
            return json.dumps(facts | {"resource": token.resource, "iss": (token.claims or {}).get("iss")})

        return server

    def do(self, what: str) -> str:
        """Run a tool."""
        self.done.append(what)
        return what

    def sdk_application(self, *, stateless: bool = True, json_response: bool = True) -> Any:
        """The SDK's own ASGI application; its sessions begin with its lifespan."""
        return self.server().streamable_http_app(
            stateless_http=stateless,
            json_response=json_response,
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )

    @contextlib.asynccontextmanager
    async def serving(self, **options: Any) -> AsyncIterator[Line]:
        """The whole thing in this process, down to ASGI; tests.support.kit_over_http has the rest of the way."""
        inner = self.sdk_application()
        app = protect(inner, self.guard, **options)
        async with (
            inner.router.lifespan_context(inner),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="https://mcp.bank.example") as http,
        ):
            yield Line(self, http)


class Http(Protocol):
    """What a line needs of an HTTP client."""

    async def request(
        self, method: str, url: str, *, headers: list[tuple[bytes, bytes]], content: bytes | None
    ) -> httpx2.Response:
        """One request and its answer."""


class RecordingAndLogging:
    """An observer that a test can ask, and that writes the log in which no secret may stand."""

    def __init__(self, recording: RecordingObserver) -> None:
        self._both: tuple[Observer, ...] = (recording, LoggingObserver())

    def admitted(self, call: AuthorizedCall) -> None:
        for observer in self._both:
            observer.admitted(call)

    def refused(self, refusal: Refusal) -> None:
        for observer in self._both:
            observer.refused(refusal)


class Line:
    """An HTTP client that sends exactly the headers that it is told to."""

    def __init__(self, bank: Bank, http: Http, *, path: str = "/mcp") -> None:
        self.bank = bank
        self.http = http
        self.path = path

    async def send(
        self,
        headers: list[tuple[str, str]] | None = None,
        message: Any = None,
        *,
        method: str = "POST",
        path: str = "/mcp",
        version: str | None = VERSION,
    ) -> httpx2.Response:
        """One request; by default a good get_balance with the headers of the current protocol version."""
        pairs = list(self.bank.peer.headers() if headers is None else headers)
        message = tool_call() if message is None and method == "POST" else message
        names = {name.lower() for name, _ in pairs}
        if version is not None and "mcp-protocol-version" not in names:
            pairs.append(("mcp-protocol-version", version))
        if isinstance(message, dict) and version == VERSION:
            for name, value in (
                ("mcp-method", message.get("method")),
                ("mcp-name", (message.get("params") or {}).get("name")),
            ):
                if name not in names and isinstance(value, str):
                    pairs.append((name, value))
        if "accept" not in names:
            pairs.append(("accept", "application/json, text/event-stream"))
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in pairs]
        content = None if message is None else as_body(message)
        response = await self.http.request(method, path, headers=encoded, content=content)
        saw_bank(self.bank, response)
        return response


def _without(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not ABSENT}
