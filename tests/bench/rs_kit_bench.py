"""What the guard costs, beside the bare cost of its signatures, in slices of one run so that noise meets both alike.

`ratio_to_crypto` is the CPU time of as many `cryptography` verify calls (the same keys, messages and signatures, DER
already at hand) over ours. Clients, tokens and proofs are made before the clock starts; every proof is fresh.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable
from statistics import median, quantiles
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from rs_kit.adapters.asgi import RsKit
from rs_kit.adapters.mcp import protect
from rs_kit.guard import Guard
from rs_kit.protocol import base64url
from rs_kit.protocol.http import HttpRequest
from rs_kit.protocol.tool_policy import ToolPolicy
from rs_kit.testing import TestAgent, TestIssuer

Figures = dict[str, dict[str, float]]

CLIENTS = 100
CALLS = 4000
PASSES = 5
SLICE = 20  # calls: short, so that whatever else the machine does meets both halves of it
RESOURCE = "https://mcp.bank.example/mcp"
NOW = 1_790_000_000
TOOLS = ToolPolicy(tools={"get_balance": ["accounts:read"]}, base=["mcp:use"])


class _StoppedClock:
    def now(self) -> int:
        return NOW


class _Call(NamedTuple):
    request: HttpRequest
    signatures: tuple[Callable[[], None], ...]  # the bare verifications in it


def body() -> bytes:
    """A tools/call of 300 bytes."""
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": "get_balance",
            "arguments": {"account": "DE89370400440532013000", "reference": ""},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        },
    }
    call["params"]["arguments"]["reference"] = "r" * (300 - len(json.dumps(call, separators=(",", ":"))))  # type: ignore[index]
    return json.dumps(call, separators=(",", ":")).encode()


def _request(agent: TestAgent, token: str | None = None) -> HttpRequest:
    if token is not None:
        agent.token = token
    credentials = agent.headers()
    headers = {
        "host": "mcp.bank.example",
        "user-agent": "bench",
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "content-length": "300",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "get_balance",
        **credentials,
    }
    pairs = tuple((name.encode(), value.encode()) for name, value in headers.items())
    return HttpRequest("POST", "/mcp", pairs, body())


def _bare(jws: str, key: Any) -> Callable[[], None]:
    """One verify call of `cryptography` with everything prepared."""
    assert isinstance(key, EllipticCurvePublicKey)
    message, _, encoded = jws.rpartition(".")
    octets = base64url.decode(encoded)
    der = encode_dss_signature(int.from_bytes(octets[:32]), int.from_bytes(octets[32:]))
    algorithm, octets_signed = ECDSA(SHA256()), message.encode()
    verify = key.verify
    return lambda: verify(der, octets_signed, algorithm)


def _agents(issuer: TestIssuer) -> list[TestAgent]:
    return [issuer.agent(scope="mcp:use accounts:read", client_id=f"agent-{number}") for number in range(CLIENTS)]


async def _measure(
    warm: list[HttpRequest], calls: list[_Call], one: Callable[[HttpRequest], Awaitable[object]]
) -> dict[str, float]:
    """The least disturbed of several passes, by the bare cost: that figure knows nothing of ours."""
    for request in warm:
        await one(request)
    gc.collect()
    length = len(calls) // PASSES
    passes = [await _pass(calls[start : start + length], one) for start in range(0, length * PASSES, length)]
    least = min(passes, key=lambda done: median(done.raw))
    hundredths = quantiles(least.walls, n=100)
    return {
        "ratio_to_crypto": round(median(bare / ours for bare, ours in zip(least.raw, least.ours, strict=True)), 3),
        "per_cpu_second": round(1 / median(least.ours)),
        "p50_ms": round(hundredths[49] * 1000, 3),
        "p99_ms": round(hundredths[98] * 1000, 3),
    }


class _Pass(NamedTuple):
    raw: list[float]  # CPU seconds per call, by slice
    ours: list[float]
    walls: list[float]


async def _pass(calls: list[_Call], one: Callable[[HttpRequest], Awaitable[object]]) -> _Pass:
    done = _Pass([], [], [])
    for start in range(0, len(calls), SLICE):
        some = calls[start : start + SLICE]
        before = time.process_time()
        for call in some:
            for verify in call.signatures:
                verify()
        done.raw.append((time.process_time() - before) / len(some))
        before = time.process_time()
        for call in some:
            begun = time.perf_counter()
            await one(call.request)
            done.walls.append(time.perf_counter() - begun)
        done.ours.append((time.process_time() - before) / len(some))
    return done


def _cached_token_calls(issuer: TestIssuer) -> tuple[list[HttpRequest], list[_Call]]:
    agents = _agents(issuer)
    calls: list[_Call] = []
    for number in range(CALLS):
        agent = agents[number % CLIENTS]
        request = _request(agent)
        proof = dict(request.headers)[b"dpop"].decode()
        calls.append(_Call(request, (_bare(proof, agent.key.public.public_key),)))
    return [_request(agent) for agent in agents], calls


def _new_token_calls(issuer: TestIssuer) -> tuple[list[HttpRequest], list[_Call]]:
    agents = _agents(issuer)
    warm = [_request(agent) for agent in agents]
    calls: list[_Call] = []
    for number in range(CALLS):
        agent = agents[number % CLIENTS]
        token = issuer.token({"cnf": {"jkt": agent.key.thumbprint}, "scope": "mcp:use accounts:read"})
        request = _request(agent, token)
        proof = dict(request.headers)[b"dpop"].decode()
        bare = (_bare(token, issuer.key.public.public_key), _bare(proof, agent.key.public.public_key))
        calls.append(_Call(request, bare))
    return warm, calls


def _issuer_and_guard() -> tuple[TestIssuer, Guard]:
    issuer = TestIssuer(resource=RESOURCE, clock=_StoppedClock())
    return issuer, issuer.guard(tools=TOOLS)


def admit_cached_token() -> Figures:
    """`Guard.admit`: token seen before, fresh ES256 proof, nonces on, replay store in memory."""
    issuer, guard = _issuer_and_guard()
    warm, calls = _cached_token_calls(issuer)
    return {"rs_kit.admit.cached_token": asyncio.run(_measure(warm, calls, guard.admit))}


def admit_new_token() -> Figures:
    """`Guard.admit`: a token never seen before (as after a refresh), of a key that is known."""
    issuer, guard = _issuer_and_guard()
    warm, calls = _new_token_calls(issuer)
    return {"rs_kit.admit.new_token": asyncio.run(_measure(warm, calls, guard.admit))}


def _over(app: Any) -> Callable[[HttpRequest], Awaitable[object]]:
    """One request through an ASGI application, without a socket and without an HTTP library."""

    async def one(request: HttpRequest) -> object:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "https",
            "path": request.target_path,
            "raw_path": request.target_path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": list(request.headers),
            "client": ("127.0.0.1", 40000),
            "server": ("127.0.0.1", 8445),
            "state": {},
        }
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": request.body, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await app(scope, receive, send)
        if statuses != [200]:
            raise AssertionError(f"the benchmark's call was refused: {statuses}")
        return statuses

    return one


async def _empty_application(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": b"{}"})


def asgi_tool_call() -> Figures:
    """The ASGI middleware in front of an application that does nothing: what the kit adds to a call."""
    issuer, guard = _issuer_and_guard()
    warm, calls = _cached_token_calls(issuer)
    app = RsKit(_empty_application, guard)
    return {"rs_kit.asgi.tool_call": asyncio.run(_measure(warm, calls, _over(app)))}


def asgi_mcp_tool_call() -> Figures:
    """The same in front of the official MCP SDK with one tool, stateless, JSON answers."""
    issuer, guard = _issuer_and_guard()
    warm, calls = _cached_token_calls(issuer)
    server = MCPServer("bench", log_level="ERROR")

    @server.tool()
    def get_balance(account: str, reference: str) -> int:
        return len(account) + len(reference)

    inner = server.streamable_http_app(
        stateless_http=True,
        json_response=True,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )

    async def run() -> dict[str, float]:
        async with server.session_manager.run():
            return await _measure(warm, calls[:1000], _over(protect(inner, guard)))

    return {"rs_kit.asgi.mcp_sdk_tool_call": asyncio.run(run())}


def run_all() -> Figures:
    """Every figure of the kit."""
    return admit_cached_token() | admit_new_token() | asgi_tool_call() | asgi_mcp_tool_call()


if __name__ == "__main__":
    print(json.dumps(run_all(), indent=2))
