"""One generated request, to three servers: one bare, one behind the kit, one with nothing but the second line inside.

What runs behind the kit is what the kit decided on, what the bare server would have run, and within the grant.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from rs_kit.adapters.asgi import CALL
from rs_kit.adapters.mcp import McpIdentity, protect
from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.ports import AuthorizedCall
from rs_kit.protocol.access_token import VerifiedAccessToken
from rs_kit.protocol.tool_policy import ToolPolicy
from tests.properties.rpc_cases import LEGACY, SESSION, Case, cases
from tests.support import asgi_peer
from tests.support.guarded_bank import RESOURCE, Bank, rpc
from tests.support.tool_servers import NAMES, application

SCOPES: Final = tuple(f"tool:{number}" for number in range(len(NAMES)))
POLICY: Final = ToolPolicy(
    tools={name: [scope] for name, scope in zip(NAMES, SCOPES, strict=True)},
    base=["mcp:use"],
    methods={"resources/read": ["mcp:use"], "prompts/get": ["mcp:use"], "completion/complete": ["mcp:use"]},
)
GRANTS: Final = 10
REFUSALS: Final = frozenset({400, 401, 403, 404, 405, 415})
MOST: Final = 30  # seconds that one request may take
HELLO: Final = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": LEGACY[0], "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
READY: Final = {"jsonrpc": "2.0", "method": "notifications/initialized"}


class CountingUsedOnce(MemoryUsedOnce):
    """A replay store that says how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    async def take(self, namespace: str, digest: bytes, *, until: int, now: int) -> bool:
        self.asked += 1
        return await super().take(namespace, digest, until=until, now=now)


@dataclass
class Outcome:
    """What one case led to; the message of a failure."""

    case: Case
    granted: set[str]
    status: int
    bare: list[str]
    kit: list[str]
    inside: list[str]
    admitted: list[AuthorizedCall]


@dataclass
class Server:
    """A server with sessions and without; the sessionless one answers what names no session."""

    stateless: Any
    stateful: Any
    ran: list[str]
    session: bytes = b""

    async def ask(self, case: Case, credentials: list[tuple[bytes, bytes]]) -> tuple[int, list[str]]:
        """Status, and which tools ran."""
        self.ran.clear()
        # the kit is given names as they were written; to a server behind a listener they are in lower case
        lower = bytes if credentials else bytes.lower
        headers = [(lower(name), self.session if value == SESSION else value) for name, value in case.headers]
        status = await self._send(
            self.stateful if case.era == "session" else self.stateless, case, headers + credentials
        )
        return status, list(self.ran)

    async def open(self, credentials: Any) -> None:
        """A session, for the cases that are in one."""
        plain = [(b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream")]
        answer = await _call(self.stateful, "POST", plain + credentials(), json.dumps(HELLO).encode())
        self.session = dict(answer.pairs)[b"mcp-session-id"]
        named = [*plain, (b"mcp-session-id", self.session), (b"mcp-protocol-version", LEGACY[0].encode())]
        assert (await _call(self.stateful, "POST", named + credentials(), json.dumps(READY).encode())).status == 202

    @staticmethod
    async def _send(app: Any, case: Case, headers: list[tuple[bytes, bytes]]) -> int:
        answer = await _call(app, case.method, headers, case.body)
        for _ in range(5):
            await asyncio.sleep(0)  # what an answered notification started
        return answer.status if answer.messages else 0  # a stream whose client has left before it began


async def _call(app: Any, method: str, headers: list[tuple[bytes, bytes]], body: bytes) -> asgi_peer.AsgiAnswer:
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": body, "more_body": False})
    for _ in range(100):
        inbox.put_nowait({"type": "http.disconnect"})  # nobody waits for a stream
    async with asyncio.timeout(MOST):
        return await asgi_peer.call_with(app, asgi_peer.scope(method, "/mcp", headers), inbox)


class Trial:
    """Three servers of a kind, and a count of what they did."""

    def __init__(self, kind: str, seed: int) -> None:
        self.kind = kind
        self.store = CountingUsedOnce()
        self.bank = Bank(tools=POLICY, used_once=self.store, legacy_streams=True)
        self.counts: Counter[str] = Counter()
        self._draw = Random(seed)
        self._seed = seed
        self._grants = [self._grant(1 + number % (len(SCOPES) - 1)) for number in range(GRANTS)]
        self._scopes: frozenset[str] = frozenset()
        self._verified: dict[frozenset[str], VerifiedAccessToken] = {}
        self.bare: Server
        self.kit: Server
        self.inside: Server

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Trial]:
        """While the servers live; they log what they think of each case."""
        disabled = logging.root.manager.disable
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(logging.disable, disabled)
            logging.disable(logging.CRITICAL)
            self.bare = await self._server(stack)
            self.kit = await self._server(stack)
            self.kit.stateless = protect(self.kit.stateless, self.bank.guard)
            self.kit.stateful = protect(self.kit.stateful, self.bank.guard)
            self.inside = await self._server(stack, inside=POLICY)
            self.inside.stateless = self._with_identity(self.inside.stateless)
            self.inside.stateful = self._with_identity(self.inside.stateful)
            for token, scopes in self._grants:
                asking = self.bank.request(self.bank.peer.headers(token), rpc("tools/list"))
                self._verified[scopes] = (await self.bank.guard.admit(asking)).token
            await self._open_sessions()
            yield self

    async def run(self, number: int) -> None:
        """So many cases; each is judged.

        Raises:
            AssertionError: two of the servers disagree, or something ran that was not granted.
        """
        source = cases(self._seed, NAMES)
        for _ in range(number):
            await self._judge(next(source))

    async def _judge(self, case: Case) -> None:
        token, self._scopes = self._draw.choice(self._grants)
        granted = {name for name, scope in zip(NAMES, SCOPES, strict=True) if scope in self._scopes}
        admissions, asked = len(self.bank.observer.admissions), self.store.asked
        _, bare = await self.bare.ask(case, [])
        status, kit = await self.kit.ask(case, self._credentials(token, case.method))
        _, inside = await self.inside.ask(case, [])
        admitted = self.bank.observer.admissions[admissions:]
        self._count(case, status, admitted, bare)
        outcome = Outcome(case, granted, status, bare, kit, inside, admitted)
        assert granted.issuperset(kit), outcome
        assert inside == [tool for tool in bare if tool in granted], outcome
        assert self.store.asked - asked == len(admitted) <= 1, outcome  # a proof is spent by what is otherwise good
        if admitted:
            assert kit == bare, outcome
            assert kit in ([], [admitted[0].target] if admitted[0].rpc_method == "tools/call" else []), outcome
        else:
            assert kit == [], outcome
            assert status in REFUSALS, outcome
        assert not case.honest or case.tool not in granted or kit == [case.tool], outcome
        self.counts["ran behind the kit"] += bool(kit)
        self.counts["refused as outside the grant, ran at the bare server"] += not granted.issuperset(bare)
        self.counts["refused as ambiguous, ran at the bare server"] += granted.issuperset(bare) and bare != kit
        if case.method == "DELETE":
            await self._open_sessions()

    def _count(self, case: Case, status: int, admitted: list[AuthorizedCall], bare: list[str]) -> None:
        self.counts.update(["cases", f"era {case.era}", "admitted" if admitted else f"refused {status}"])
        self.counts["ran at the bare server"] += bool(bare)

    async def _open_sessions(self) -> None:
        token, self._scopes = self._grants[0]
        await self.bare.open(list)
        await self.kit.open(lambda: self._credentials(token, "POST"))
        await self.inside.open(list)

    async def _server(self, stack: contextlib.AsyncExitStack, inside: ToolPolicy | None = None) -> Server:
        ran: list[str] = []
        apps = [application(self.kind, ran, inside=inside, stateless=stateless) for stateless in (True, False)]
        for app in apps:
            await stack.enter_async_context(app.router.lifespan_context(app))
        return Server(*apps, ran)

    def _with_identity(self, app: Any) -> Any:
        """The caller's identity without the guard, as another middleware might have it."""
        identified = McpIdentity(app)

        async def shim(scope: Any, receive: Any, send: Any) -> None:
            token = self._verified[self._scopes]
            await identified({**scope, CALL: AuthorizedCall(token, RESOURCE, None, None, ())}, receive, send)

        return shim

    def _grant(self, tools: int) -> tuple[str, frozenset[str]]:
        scopes = frozenset({"mcp:use", *self._draw.sample(SCOPES, tools)})
        return self.bank.peer.token(scope=" ".join(sorted(scopes))), scopes

    def _credentials(self, token: str, method: str) -> list[tuple[bytes, bytes]]:
        proof = self.bank.peer.proof(token, htm=method)
        return [(b"authorization", b"DPoP " + token.encode()), (b"dpop", proof.encode())]
