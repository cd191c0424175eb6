"""rs_kit.testing as the author of an MCP server uses it."""

from __future__ import annotations

from typing import Any

import pytest

from rs_kit import HttpRequest, ProtocolError, ToolPolicy, assemble_guard
from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.protocol.errors import InsufficientScope, InvalidToken, UseDpopNonce
from rs_kit.testing import NONCE_KEY, RecordingObserver, TestAgent, TestIssuer

BODY = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_balance"}}'


def request(headers: dict[str, str]) -> HttpRequest:
    return HttpRequest("POST", "/mcp", tuple((name.encode(), value.encode()) for name, value in headers.items()), BODY)


async def test_a_tool_is_tested_in_five_lines() -> None:
    issuer = TestIssuer(resource="https://mcp.example/mcp")
    guard = issuer.guard(tools=ToolPolicy(tools={"get_balance": ["accounts:read"]}))
    agent = issuer.agent(scope="accounts:read", sub="alice")
    call = await guard.admit(request(agent.headers()))
    assert (call.target, call.token.subject) == ("get_balance", "alice")


async def test_refusals_are_as_easy() -> None:
    observer = RecordingObserver()
    issuer = TestIssuer()
    guard = issuer.guard(tools=ToolPolicy(tools={"get_balance": ["accounts:read"]}), observer=observer)
    cases: list[tuple[TestAgent, dict[str, Any], type[ProtocolError]]] = [
        (issuer.agent(scope="other"), {}, InsufficientScope),
        (issuer.agent(scope="accounts:read", aud="https://other.example"), {}, InvalidToken),
        (issuer.agent(scope="accounts:read"), {"nonce": "stale"}, UseDpopNonce),
        (issuer.agent(scope="accounts:read", cnf=None), {}, InvalidToken),
    ]
    for agent, options, error in cases:
        with pytest.raises(error):
            await guard.admit(request(agent.headers(**options)))
    assert [type(refusal.error) for refusal in observer.refusals] == [error for _, _, error in cases]


async def test_a_guard_is_assembled_from_what_a_server_chooses() -> None:
    issuer = TestIssuer()
    guard = assemble_guard(
        resource=issuer.resource,
        issuer=issuer.issuer,
        keys=issuer.keys(),
        tools=ToolPolicy(tools={"get_balance": []}),
        used_once=MemoryUsedOnce(),
        nonce_key=NONCE_KEY,
        resource_name="A bank",
    )
    assert (await guard.admit(request(issuer.agent().headers()))).target == "get_balance"
    assert guard.metadata.document()["resource_name"] == "A bank"


def test_without_keys_of_its_own_an_assembled_guard_wants_an_https_issuer() -> None:
    with pytest.raises(ValueError, match="https"):
        assemble_guard(
            resource="https://mcp.example/mcp",
            issuer="http://as.example",
            tools=ToolPolicy(tools={}),
            used_once=MemoryUsedOnce(),
            nonce_key=NONCE_KEY,
        )
