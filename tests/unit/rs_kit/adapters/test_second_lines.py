"""The rules once more inside the SDK and FastMCP, and the verifier for servers that cannot be wrapped."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp.client import Client
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from pydantic import AnyHttpUrl

from rs_kit.adapters.asgi import CALL
from rs_kit.adapters.fastmcp import FastMcpTokenVerifier
from rs_kit.adapters.issuer_keys import StaticIssuerKeys
from rs_kit.adapters.mcp import McpIdentity, protect, second_line
from rs_kit.adapters.mcp_bearer import BearerTokenVerifier
from rs_kit.ports import AuthorizedCall
from rs_kit.protocol.errors import Unavailable
from rs_kit.protocol.tool_policy import ToolPolicy
from rs_kit.testing import RecordingObserver
from tests.support.fakes import FrozenClock
from tests.support.guarded_bank import (
    ABSENT,
    ISSUER,
    ISSUER_KEY,
    RESOURCE,
    VERSION,
    Bank,
    Peer,
    as_body,
    rpc,
    tool_call,
)
from tests.support.peer_keys import PeerKey
from tests.support.tool_servers import KINDS, NAMES, application, client_of

POLICY = ToolPolicy(tools={"get_balance": ["accounts:read"], "transfer": ["payments:write"]}, base=["mcp:use"])
LEGACY = "2025-11-25"
HELLO = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}


def sent(message: dict[str, Any], **more: str) -> dict[str, str]:
    target = message["params"].get("name", message["params"].get("uri"))
    named = {} if target is None else {"mcp-name": target}
    headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
    return headers | {"mcp-protocol-version": VERSION, "mcp-method": message["method"]} | named | more


async def said_by(kind: str, call: AuthorizedCall | None, message: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The answer of a server that has the second line and no guard, to a caller that somebody else identified."""
    ran: list[str] = []
    inner = application(kind, ran, inside=POLICY)
    identified = McpIdentity(inner)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await identified({**scope, CALL: call}, receive, send)

    async with client_of(app, inner) as http:
        response = await http.post("/mcp", content=as_body(message), headers=sent(message))
    return (response.json() if response.content else {}), ran


async def caller(scope: str) -> AuthorizedCall:
    bank = Bank(tools=ToolPolicy(tools={"get_balance": []}))
    return await bank.guard.admit(bank.request(bank.peer.headers(bank.peer.token(scope=scope))))


@pytest.mark.parametrize("kind", KINDS)
async def test_inside_runs_what_the_scopes_cover(kind: str) -> None:
    who = await caller("accounts:read mcp:use")
    answer, ran = await said_by(kind, who, tool_call())
    assert (answer["result"]["structuredContent"], ran) == ({"result": "get_balance"}, ["get_balance"])
    answer, _ = await said_by(kind, who, rpc("tools/list"))
    assert "tools" in answer["result"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("scope", "message", "code", "needed"),
    [
        ("accounts:read mcp:use", tool_call("transfer"), -32001, "payments:write"),
        ("accounts:read payments:write mcp:use", tool_call("whoami"), -32001, None),
        ("accounts:read", rpc("tools/list"), -32001, "mcp:use"),
        ("mcp:use", rpc("resources/read", uri="notes://one"), -32001, None),
        (None, tool_call(), -32001, None),
        (None, rpc("tools/list"), -32001, None),
        ("mcp:use", rpc("tasks/get"), -32601, None),
    ],
)
async def test_inside_runs_nothing_else(
    kind: str, scope: str | None, message: dict[str, Any], code: int, needed: str | None
) -> None:
    answer, ran = await said_by(kind, None if scope is None else await caller(scope), message)
    assert "result" not in answer
    assert ran == []
    assert answer["error"]["code"] == code
    assert (answer["error"].get("data") or {}).get("scope") == needed


@pytest.mark.parametrize("kind", KINDS)
async def test_a_session_knows_the_scopes_of_each_call_and_not_those_that_it_was_opened_with(kind: str) -> None:
    bank, ran = Bank(tools=ToolPolicy(tools=dict.fromkeys(NAMES, ())), legacy_streams=True), []
    inner = application(kind, ran, inside=POLICY, stateless=False)
    rich, poor = (bank.peer.token(scope=f"mcp:use {more}") for more in ("payments:write", "accounts:read"))

    async with client_of(protect(inner, bank.guard), inner) as http:

        async def post(token: str, method: str, params: dict[str, Any], **more: str) -> Any:
            message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": LEGACY, **more}
            return await http.post("/mcp", json=message, headers={**dict(bank.peer.headers(token)), **headers})

        session = {"mcp-session-id": (await post(rich, "initialize", HELLO)).headers["mcp-session-id"]}
        note = as_body({"jsonrpc": "2.0", "method": "notifications/initialized"})
        accepted = {"accept": "application/json, text/event-stream", "mcp-protocol-version": LEGACY, **session}
        assert (await http.post("/mcp", content=note, headers={**dict(bank.peer.headers(rich)), **accepted})).is_success
        call = {"name": "transfer", "arguments": {}}
        assert "insufficient_scope" in (await post(poor, "tools/call", call, **session)).text
        assert ran == []
        assert "result" in (await post(rich, "tools/call", call, **session)).json()
        assert ran == ["transfer"]


@pytest.mark.requirement("MCP-4", proves="holds")
async def test_a_session_goes_on_for_who_opened_it() -> None:
    assert await sessions_answer("alice", "agent-1") == 200


@pytest.mark.requirement("MCP-4", proves="refused")
@pytest.mark.parametrize(("subject", "client"), [("mallory", "agent-1"), ("alice", "agent-2")])
async def test_a_session_is_unknown_to_everybody_else(subject: str, client: str) -> None:
    assert await sessions_answer(subject, client) == 404


async def sessions_answer(subject: str, client: str) -> int:
    """What the one who opened no session hears in it."""
    bank = Bank(legacy_streams=True)
    inner = bank.sdk_application(stateless=False)
    hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}
    other = Peer(bank.clock, PeerKey.es256(seed=77))
    async with client_of(protect(inner, bank.guard), inner) as http:
        headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": LEGACY}
        opened = await http.post("/mcp", json=hello, headers={**dict(bank.peer.headers()), **headers})
        headers["mcp-session-id"] = opened.headers["mcp-session-id"]
        token = other.token(sub=subject, client_id=client)
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        return (await http.post("/mcp", json=ping, headers={**dict(other.headers(token)), **headers})).status_code


async def test_where_nobody_can_be_known_everything_is_refused() -> None:
    server = MCPServer("local", log_level="ERROR", middleware=[second_line(POLICY)])
    with pytest.raises((MCPError, ExceptionGroup)):
        async with Client(server) as client:  # no HTTP, and so no caller
            await client.list_tools()


class BrokenKeys:
    """Keys that cannot be had."""

    issuer = ISSUER

    def __init__(self, failure: Exception) -> None:
        self.failure = failure

    def current(self) -> None:
        return None

    async def keys(self, kid: str | None) -> tuple[Any, ...]:
        raise self.failure


class Verifier:
    """A verifier, somebody who makes tokens, and what was told."""

    def __init__(self, keys: Any = None) -> None:
        self.observer = RecordingObserver()
        self.peer = Peer(FrozenClock())
        issuer_keys = StaticIssuerKeys(ISSUER, {"keys": [ISSUER_KEY.jwk(kid="as-1")]}) if keys is None else keys
        self.verifier = BearerTokenVerifier(
            resource=RESOURCE, keys=issuer_keys, clock=self.peer.clock, observer=self.observer
        )


async def test_a_plain_token_is_verified_and_its_value_is_not_handed_on() -> None:
    parts = Verifier()
    found = await parts.verifier.verify_token(parts.peer.token(cnf=ABSENT))
    assert found is not None
    assert (found.subject, found.client_id, found.resource, found.token) == ("alice", "agent-1", RESOURCE, "")
    assert found.scopes == ["accounts:read", "mcp:use"]
    assert parts.observer.refusals == []


@pytest.mark.parametrize(
    "claims",
    [
        {},  # bound to the peer's key
        {"cnf": {"x5t#S256": PeerKey.es256(seed=1).thumbprint}},
        {"cnf": {}},
        {"cnf": {"kid": "x"}},
        {"cnf": None},
        {"cnf": ABSENT, "aud": "https://other.example/mcp"},
        {"cnf": ABSENT, "iss": "https://other.example"},
        {"cnf": ABSENT, "exp": 1},
        {"cnf": ABSENT, "header": {"typ": "JWT"}},
        {"cnf": ABSENT, "header": {"alg": "none"}},
        {"cnf": ABSENT, "key": PeerKey.es256(seed=5)},
    ],
    ids=str,
)
async def test_a_token_that_is_bound_or_not_good_is_nobodys(claims: dict[str, Any]) -> None:
    parts = Verifier()
    assert await parts.verifier.verify_token(parts.peer.token(**claims)) is None
    assert len(parts.observer.refusals) == 1


@pytest.mark.parametrize("failure", [Unavailable("down"), LookupError("a defect")])
async def test_when_keys_cannot_be_had_nobody_is_let_in(failure: Exception) -> None:
    parts = Verifier(BrokenKeys(failure))
    assert await parts.verifier.verify_token(parts.peer.token(cnf=ABSENT)) is None
    assert isinstance(parts.observer.refusals[0].error, Unavailable)


@pytest.mark.parametrize(("claims", "status"), [({"cnf": ABSENT}, 200), ({}, 401)], ids=["plain", "bound"])
async def test_the_sdks_own_authentication_takes_the_verifier(claims: dict[str, Any], status: int) -> None:
    parts = Verifier()
    server = MCPServer(
        "plain",
        log_level="ERROR",
        token_verifier=parts.verifier,
        middleware=[second_line(POLICY)],
        auth=AuthSettings(
            issuer_url=AnyHttpUrl(ISSUER), resource_server_url=AnyHttpUrl(RESOURCE), validate_token_resource=True
        ),
    )
    server.add_tool(lambda: "42", name="get_balance")
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    inner = server.streamable_http_app(stateless_http=True, json_response=True, transport_security=security)
    token = parts.peer.token(**claims)
    async with client_of(inner, inner) as http:
        headers = sent(tool_call(), authorization=f"Bearer {token}")
        response = await http.post("/mcp", content=as_body(tool_call()), headers=headers)
    assert response.status_code == status
    assert ("42" in response.text) == (status == 200)


@pytest.mark.parametrize(("claims", "good"), [({"cnf": ABSENT}, True), ({}, False)], ids=["plain", "bound"])
async def test_fastmcp_takes_the_verifier(claims: dict[str, Any], good: bool) -> None:
    parts = Verifier()
    found = await FastMcpTokenVerifier(parts.verifier).verify_token(parts.peer.token(**claims))
    assert (found is not None) == good
    if found is not None:
        assert (found.subject, found.token) == ("alice", "")
        assert json.loads(json.dumps(found.claims))["sub"] == "alice"
