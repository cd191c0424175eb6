"""Both revisions of MCP behind the kit: what the version header says is compared with the body by the application."""

from __future__ import annotations

from typing import Any

import pytest

from rs_kit.adapters.mcp import protect
from rs_kit.protocol.tool_policy import ToolPolicy
from tests.support.guarded_bank import VERSION, Bank, tool_call
from tests.support.tool_servers import KINDS, NAMES, application, client_of

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26")
HELLO = {"capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
ACCEPT = {"accept": "application/json, text/event-stream"}
META = "io.modelcontextprotocol/protocolVersion"


@pytest.mark.requirement("MCP-7", proves="holds")
async def test_a_version_header_that_says_what_the_body_says_passes() -> None:
    bank = Bank()
    async with bank.serving() as line:
        assert (await line.send(version=VERSION)).status_code == 200
    assert bank.done == ["get_balance"]


@pytest.mark.requirement("MCP-7", proves="refused")
@pytest.mark.parametrize(
    ("header", "member", "code"),
    [
        (VERSION, "2025-11-25", -32020),
        (VERSION, None, -32020),
        ("9999-01-01", VERSION, -32020),
        ("9999-01-01", "9999-01-01", -32022),
        ("", VERSION, -32020),
    ],
)
async def test_a_version_that_differs_or_that_nobody_knows_is_400_and_nothing_runs(
    header: str, member: str | None, code: int
) -> None:
    bank, message = Bank(), tool_call()
    message["params"]["_meta"][META] = member
    headers = bank.peer.headers(mcp_protocol_version=header, mcp_method="tools/call", mcp_name="get_balance")
    async with bank.serving() as line:
        response = await line.send(headers, message)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == code
    assert bank.done == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_session_of_an_older_version_from_its_first_word_to_its_last(kind: str, version: str) -> None:
    bank, ran = Bank(tools=ToolPolicy(tools=dict.fromkeys(NAMES, ()), base=["mcp:use"]), legacy_streams=True), []
    inner = application(kind, ran, stateless=False, json_response=False)
    token = bank.peer.token()
    async with client_of(protect(inner, bank.guard), inner) as http:

        async def send(method: str, message: dict[str, Any] | None, **more: str) -> Any:
            credentials = dict(bank.peer.headers(token, bank.peer.proof(token, htm=method)))
            return await http.request(method, "/mcp", json=message, headers={**credentials, **ACCEPT, **more})

        hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {**HELLO, "protocolVersion": version}}
        opened = await send("POST", hello)
        session = {"mcp-session-id": opened.headers["mcp-session-id"], "mcp-protocol-version": version}
        note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await send("POST", note, **session)).status_code == 202
        call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}}
        answer = await send("POST", call, **session)
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "private, no-store, no-transform"
        assert ran == ["whoami"]
        again = {**session, **dict(bank.peer.headers(token, bank.peer.proof(token, htm="DELETE")))}
        assert (await http.delete("/mcp", headers={**again, **ACCEPT})).is_success
        assert (await send("POST", call, **session)).status_code == 404
        assert ran == ["whoami"]
