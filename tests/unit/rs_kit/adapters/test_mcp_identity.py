"""The hand-over to the MCP SDK, and the same policy once more inside it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from rs_kit.adapters.asgi import CALL
from rs_kit.adapters.mcp import McpIdentity, second_line
from rs_kit.ports import AuthorizedCall
from tests.support.guarded_bank import TOOLS, VERSION, Bank, Peer, rpc, tool_call
from tests.support.peer_keys import PeerKey


async def admitted(bank: Bank, **claims: Any) -> AuthorizedCall:
    return await bank.guard.admit(bank.request(bank.peer.headers(bank.peer.token(**claims))))


async def nothing(*_: Any) -> Any:
    raise AssertionError("not called")


async def test_the_identity_is_there_during_the_call_and_gone_afterwards() -> None:
    bank, seen = Bank(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((get_access_token(), scope["user"], scope["auth"]))

    await McpIdentity(app)({"type": "http", CALL: await admitted(bank, act={"sub": "agent"})}, nothing, nothing)
    token, user, auth = seen[0]
    assert (token.subject, token.client_id, token.resource) == ("alice", "agent-1", "https://mcp.bank.example/mcp")
    assert (token.token, token.scopes) == ("", ["accounts:read", "mcp:use"])
    assert token.claims["act"] == {"sub": "agent"}
    assert user.access_token is token
    assert auth.scopes == token.scopes
    assert get_access_token() is None


async def test_without_an_admitted_call_there_is_no_identity() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((get_access_token(), "user" in scope))

    await McpIdentity(app)({"type": "http"}, nothing, nothing)
    await McpIdentity(app)({"type": "http", CALL: "forged"}, nothing, nothing)
    assert seen == [(None, False)] * 2


async def test_callers_at_the_same_time_are_not_mixed_up() -> None:
    bank = Bank()
    peers = [Peer(bank.clock, PeerKey.es256(seed=100 + number)) for number in range(10)]
    async with bank.serving() as line:
        answers = await asyncio.gather(
            *(
                line.send(peer.headers(peer.token(sub=f"user-{number}")), tool_call("whoami"))
                for number, peer in enumerate(peers)
            )
        )
    for number, answer in enumerate(answers):
        assert f'"sub": "user-{number}"' in answer.json()["result"]["structuredContent"]["result"]


async def answer_of(call: AuthorizedCall | None, message: dict[str, Any]) -> dict[str, Any]:
    """An MCP application with the second line, mounted without the guard; the identity is set by hand."""
    server = MCPServer("bare", log_level="ERROR", middleware=[second_line(TOOLS)])

    @server.tool()
    def get_balance() -> str:
        return "42"

    @server.tool()
    def transfer() -> str:
        return "done"

    inner = server.streamable_http_app(
        stateless_http=True,
        json_response=True,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await McpIdentity(inner)({**scope, CALL: call}, receive, send)

    headers = {
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": VERSION,
        "mcp-method": message["method"],
        **({"mcp-name": message["params"]["name"]} if "name" in message["params"] else {}),
    }
    async with (
        server.session_manager.run(),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="https://mcp.bank.example") as http,
    ):
        said: dict[str, Any] = (await http.post("/mcp", json=message, headers=headers)).json()
    return said


async def test_the_second_line_lets_through_what_the_policy_allows() -> None:
    call = await admitted(Bank())
    assert (await answer_of(call, tool_call()))["result"]["structuredContent"] == {"result": "42"}
    assert "tools" in (await answer_of(call, rpc("tools/list")))["result"]


@pytest.mark.parametrize("who", ["nobody", "somebody with other scopes"])
async def test_the_second_line_holds_when_the_application_is_mounted_without_the_guard(who: str) -> None:
    call = None if who == "nobody" else await admitted(Bank(), scope="accounts:read")
    refused = await answer_of(call, tool_call("transfer"))
    assert "result" not in refused
    assert refused["error"]["message"] == "insufficient_scope"
