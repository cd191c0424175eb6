"""The HTTP and JSON-RPC around a call: what is ambiguous never reaches the application."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.support.guarded_bank import Bank, as_body, rpc, tool_call
from tests.support.guarded_refusals import challenge_of, refused
from tests.support.kit_over_http import Site

TRANSFER = ["transfer"]


def encoded(name: str) -> str:
    return f"=?base64?{base64.b64encode(name.encode()).decode()}?="


@pytest.mark.requirement("MCP-8", proves="refused")
@pytest.mark.requirement("TOOL-10", proves="refused")
@pytest.mark.parametrize("version", ["2026-07-28", "2025-06-18"])
@pytest.mark.parametrize(
    "lie",
    [
        {"mcp_name": "whoami"},
        {"mcp_name": encoded("whoami")},
        {"mcp_name": "=?base64?!!!?="},
        {"mcp_name": encoded("get_balance")[:-4] + "AAA?="},
        {"mcp_name": ""},
        {"mcp_method": "tools/list"},
        {"mcp_method": "TOOLS/CALL"},
    ],
    ids=str,
)
async def test_a_routing_header_that_says_something_else_than_the_body_is_refused(
    site: Site, lie: dict[str, str], version: str
) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        response = await refused(bank, line, bank.peer.headers(**lie), None, status=400, version=version)
    assert response.json()["error"]["code"] == -32020
    assert response.json()["id"] == 7


@pytest.mark.requirement("MCP-8", proves="holds")
async def test_the_encoded_form_of_the_right_name_passes(site: Site) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        response = await line.send(bank.peer.headers(mcp_name=encoded("get_balance"), mcp_method="tools/call"))
    assert response.status_code == 200


async def test_an_encoded_name_does_not_hide_a_tool_from_the_policy(site: Site) -> None:
    bank = Bank()
    headers = bank.peer.headers(mcp_name=encoded("transfer"))
    async with site.serving(bank) as line:
        await refused(bank, line, headers, "insufficient_scope", status=403, message=tool_call("transfer"))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("mcp-protocol-version", ("2025-06-18", "2026-07-28")),
        ("mcp-protocol-version", ("2026-07-28", "2026-07-28")),
        ("mcp-method", ("tools/call", "tools/call")),
        ("mcp-name", ("get_balance", "transfer")),
        ("Mcp-Name", ("transfer", "get_balance")),
        ("mcp-session-id", ("a", "b")),
        ("mcp-param-amount", ("1", "2")),
        ("content-type", ("application/json", "application/json")),
    ],
)
async def test_a_repeated_routing_header_is_refused(site: Site, name: str, values: tuple[str, str]) -> None:
    bank = Bank()
    headers = [pair for pair in bank.peer.headers() if pair[0] != name]
    async with site.serving(bank) as line:
        await refused(bank, line, [*headers, *((name, value) for value in values)], None, status=400)


@pytest.mark.requirement("MCP-6", proves="refused")
@pytest.mark.parametrize(
    "body",
    [
        as_body([tool_call()]),
        as_body([]),
        as_body({"jsonrpc": "2.0", "id": 1, "result": {}}),
        as_body({"jsonrpc": "1.0", "id": 1, "method": "tools/call"}),
        as_body({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": ["get_balance"]}),
        as_body({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": TRANSFER}}),
        as_body({"jsonrpc": "2.0", "id": 1, "method": "tools/call"}),
        as_body({"jsonrpc": "2.0", "id": {"a": 1}, "method": "ping"}),
        as_body(tool_call())[:-1],
        as_body(tool_call()) + as_body(tool_call("transfer")),
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_balance","name":"transfer"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"transfer"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_balance"},"params":{"name":"transfer"}}',
        b"\xef\xbb\xbf" + as_body(tool_call()),
        as_body(tool_call()).decode().encode("utf-16"),
        as_body(tool_call()).decode().encode("utf-32"),
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_b\xff"}}',
        b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":1e400,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":' + b'{"a":' * 65 + b"1" + b"}" * 66,
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"\\ud800"}}',
        b"[" * 100_000,
        b"",
    ],
    ids=range(23),
)
async def test_a_body_that_two_parsers_could_read_differently_is_refused(site: Site, body: bytes) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        await refused(bank, line, None, None, status=400, message=body)


@pytest.mark.requirement("MCP-9", proves="holds")
@pytest.mark.requirement("MCP-6", proves="holds")
@pytest.mark.requirement("TOOL-10", proves="holds")
async def test_one_request_or_one_notification_passes(site: Site) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        assert (await line.send(message=rpc("tools/list"))).status_code == 200
        note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
        assert (await line.send(message=note, version="2025-06-18")).status_code == 202


@pytest.mark.requirement("MCP-9", proves="refused")
async def test_an_unknown_method_is_404_to_those_who_may_call_and_401_to_the_rest(site: Site) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        response = await refused(bank, line, None, None, status=404, message=rpc("tools/execute"))
        assert response.json()["error"]["code"] == -32601
        await refused(bank, line, [], None, message=rpc("tools/execute"))


async def test_what_mcp_knows_and_no_policy_names_is_refused(site: Site) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        for message in (rpc("resources/read", uri="file:///etc/passwd"), tool_call("drop_tables")):
            response = await refused(bank, line, None, "insufficient_scope", status=403, message=message)
            assert "scope" not in challenge_of(response)[1]


@pytest.mark.requirement("MCP-20", proves="refused")
@pytest.mark.parametrize("kind", ["text/plain", "application/json-patch+json", "multipart/form-data; boundary=x", ""])
async def test_a_body_of_another_media_type_is_415(site: Site, kind: str) -> None:
    bank = Bank()
    headers = [(name, kind if name == "content-type" else value) for name, value in bank.peer.headers()]
    async with site.serving(bank) as line:
        await refused(bank, line, headers, None, status=415)


@pytest.mark.requirement("MCP-20", proves="holds")
@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
async def test_json_has_parameters_and_no_case(site: Site, kind: str) -> None:
    bank = Bank()
    headers = [(name, kind if name == "content-type" else value) for name, value in bank.peer.headers()]
    async with site.serving(bank) as line:
        assert (await line.send(headers)).status_code == 200


@pytest.mark.attack("HTT-23")
@pytest.mark.parametrize("coding", ["gzip", "identity", "br, gzip"])
async def test_a_coded_body_is_415(site: Site, coding: str) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        await refused(bank, line, bank.peer.headers(content_encoding=coding), None, status=415)


@pytest.mark.requirement("MCP-5", proves="refused")
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://mcp.bank.example", "http://localhost:3000"]
)
async def test_a_web_page_that_is_not_named_may_not_call(site: Site, origin: str) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        response = await line.send(bank.peer.headers(origin=origin))
    assert response.status_code == 403
    assert "www-authenticate" not in response.headers
    assert bank.done == []
    assert [refusal.error.detail for refusal in bank.observer.refusals] == ["origin is not allowed"]


@pytest.mark.requirement("MCP-5", proves="holds")
async def test_a_web_page_that_is_named_may(site: Site) -> None:
    bank = Bank()
    async with site.serving(bank, allowed_origins=["https://console.bank.example"]) as line:
        assert (await line.send(bank.peer.headers(origin="https://console.bank.example"))).status_code == 200


@pytest.mark.requirement("MCP-1", proves="refused")
@pytest.mark.parametrize("path", ["/mcp", "/", "/mcp/", "//mcp", "/mcp/x", "/%6dcp", "/other", "/MCP", "/healthz"])
async def test_no_path_is_open_by_accident(site: Site, path: str) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        await refused(bank, line, [], None, path=path)
        await refused(bank, line, [], None, path=path, method="GET")


@pytest.mark.requirement("MCP-1", proves="holds")
async def test_every_request_brings_its_own_credentials(site: Site) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        assert (await line.send()).status_code == 200
        bank.done.clear()
        await refused(bank, line, [], None)


async def test_the_escaped_spelling_of_the_path_is_the_same_resource(site: Site) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        assert (await line.send(path="/%6dcp")).status_code == 200


async def test_a_public_path_is_public_and_only_that(site: Site) -> None:
    bank = Bank()
    async with site.serving(bank, public_paths=["/healthz"]) as line:
        response = await line.send([], method="GET", path="/healthz")
        assert response.status_code == 404  # the application answers, and has no such page
        assert bank.observer.refusals == []
        await refused(bank, line, [], None, method="GET", path="/healthz/x")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "HEAD"])
async def test_other_methods_are_405(site: Site, method: str) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        response = await refused(bank, line, None, None, status=405, method=method)
    assert response.headers["allow"] == "POST"


@pytest.mark.requirement("MCP-2", proves="holds")
@pytest.mark.attack("XPA-11")
async def test_tools_learn_who_calls_and_never_the_token(site: Site) -> None:
    bank = Bank()
    token = bank.peer.token()
    async with site.serving(bank) as line:
        await line.send(bank.peer.headers(token))
        who = await line.send(bank.peer.headers(token), tool_call("whoami"))
    assert {"authorization", "dpop"}.isdisjoint(bank.seen[0])
    assert token not in who.text
    said: dict[str, Any] = who.json()["result"]["structuredContent"]
    assert '"sub": "alice"' in said["result"]
    assert '"token": ""' in said["result"]


@pytest.mark.attack("HTT-24")
async def test_an_answer_tells_nothing_about_what_runs_here(site: Site) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        responses = [
            await line.send([]),
            await line.send(message=b"{"),
            await line.send(method="PUT"),
            await line.send(message=rpc("x")),
        ]
    for response in responses:
        assert "server" not in response.headers
        assert response.headers["content-type"] == "application/json"
        assert "Traceback" not in response.text
