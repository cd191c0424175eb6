"""The README is the front door: its code runs, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fapi_as.commands.group import cli
from rs_kit.testing import TestIssuer

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESOURCE = "https://mcp.bank.example/mcp"


def _protected_server() -> dict[str, Any]:
    (block,) = re.findall(r"<!-- executed by tests/house/test_readme.py -->\n```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(block, "README.md", "exec"), names)
    return names


async def test_the_example_server_refuses_a_caller_without_a_token_and_tells_it_where_to_go() -> None:
    app = _protected_server()["app"]
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="https://mcp.bank.example") as http:
        refused = await http.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        assert refused.status_code == 401
        (challenge,) = refused.headers.get_list("www-authenticate")
        assert challenge.startswith("DPoP ")
        (address,) = re.findall(r'resource_metadata="([^"]+)"', challenge)
        document = (await http.get(address)).json()
    assert document["resource"] == RESOURCE
    assert document["authorization_servers"] == ["https://auth.bank.example"]


async def test_the_example_server_answers_a_call_that_a_person_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = TestIssuer(resource=RESOURCE, issuer="https://auth.bank.example")
    monkeypatch.setattr("rs_kit.adapters.assembly.HttpsIssuerKeys", lambda *_, **__: issuer.keys())
    names = _protected_server()
    agent = issuer.agent(scope="accounts:read")
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "get_balance", "arguments": {"account": "checking"}},
    }
    headers = {"accept": "application/json, text/event-stream", "host": "mcp.bank.example"}
    transport = httpx2.ASGITransport(app=names["app"])
    async with (
        names["bank"].session_manager.run(),
        httpx2.AsyncClient(transport=transport, base_url="https://mcp.bank.example") as http,
    ):
        first = await http.post("/mcp", json=call, headers=headers)
        nonce = first.headers["dpop-nonce"]
        answer = await http.post("/mcp", json=call, headers=headers | agent.headers("POST", nonce=nonce))
    assert answer.status_code == 200, answer.text
    assert "1250 EUR on checking" in answer.text


def test_the_set_up_commands_and_the_commands_of_the_program_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`?make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for command in set(re.findall(r"^fapi-as ([a-z-]+)", README, re.MULTILINE)):
        assert command in cli.list_commands(None), command  # type: ignore[arg-type]


def test_every_document_that_it_points_to_exists() -> None:
    for target in set(re.findall(r"\]\(([^)#]+)\)", README)):
        assert (ROOT / target).exists(), target
