"""What an MCP server asks of persons, and servers on stdio, which have no callers and no OAuth."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitRequestFormParams, ElicitRequestURLParams, ElicitResult
from pydantic import BaseModel

from rs_kit.protocol.elicitation import solicited_credentials

SERVER = """
import os, sys
from mcp.server.mcpserver import MCPServer
from rs_kit.adapters.mcp import second_line
from rs_kit.protocol.tool_policy import ToolPolicy

GUARDED = sys.argv[1] == "guarded"
POLICY = ToolPolicy(tools={"whoami": []})
mcp = MCPServer("on stdio", middleware=[second_line(POLICY)] if GUARDED else [])

@mcp.tool()
def whoami() -> str:
    return os.environ["BANK_USER"]

mcp.run("stdio")
"""


class Amount(BaseModel):
    amount: int


class Login(BaseModel):
    user: str
    user_password: str


async def _elicited(schema: type[BaseModel]) -> dict[str, Any]:
    """The parameters of an elicitation as the SDK sends them to a client."""
    server, seen = MCPServer("asks"), []

    @server.tool()
    async def ask(ctx: Context[Any, Any]) -> str:
        await ctx.elicit("Please tell", schema)
        return "asked"

    async def answer(_: Any, params: ElicitRequestFormParams | ElicitRequestURLParams) -> ElicitResult:
        seen.append(params.model_dump(by_alias=True, exclude_none=True))
        return ElicitResult(action="decline")

    async with Client(server, mode="legacy", elicitation_callback=answer) as client:
        await client.call_tool("ask", {})
    return seen[0]


@pytest.mark.requirement("MCP-18", proves="holds")
async def test_a_server_may_ask_for_what_is_no_credential() -> None:
    assert solicited_credentials(await _elicited(Amount)) == ()
    assert solicited_credentials({"mode": "url", "url": "https://bank.example/consent", "message": "m"}) == ()


@pytest.mark.requirement("MCP-18", proves="refused")
async def test_an_elicitation_that_asks_for_a_password_is_found() -> None:
    assert solicited_credentials(await _elicited(Login)) == (
        "the field 'user_password' asks a person for a credential",
    )


@pytest.mark.parametrize(
    "field",
    [
        {"apiKey": {"type": "string"}},
        {"API_KEY": {"type": "string"}},
        {"x": {"type": "string", "title": "Your access tokens"}},
        {"x": {"type": "string", "description": "The one-time code"}},
        {"x": {"type": "string", "format": "password"}},
        {"card-number": {"type": "string"}},
        {"PIN": {"type": "integer"}},
    ],
)
def test_a_credential_is_found_however_it_is_named(field: dict[str, Any]) -> None:
    assert len(solicited_credentials({"requestedSchema": {"properties": field}})) == 1


@pytest.mark.parametrize(
    "params",
    [{"requestedSchema": {"properties": {"pinned": {}, "spinner": {}, "tokenize": 3}}}, {}, {"requestedSchema": 1}],
)
def test_words_that_only_contain_one_are_left_alone(params: dict[str, Any]) -> None:
    assert solicited_credentials(params) == ()


@pytest.mark.parametrize(
    "url",
    [
        "http://bank.example/",
        "https:///path",
        "https://bank.example@thief.example/",
        "https://xn--bnk-6na.example/",
        "https://b\u00e4nk.example/",
        "https://[::1",
        "javascript:alert(1)",
        None,
        7,
    ],
)
def test_a_page_elsewhere_than_at_a_plain_https_host_is_found(url: object) -> None:
    assert len(solicited_credentials({"mode": "url", "url": url})) == 1


def _on_stdio(directory: Path, how: str) -> StdioServerParameters:
    program = directory / "server.py"
    program.write_text(SERVER, encoding="utf-8")
    root = str(Path(__file__).parents[3])
    return StdioServerParameters(
        command=sys.executable, args=[str(program), how], env={"BANK_USER": "ada", "PYTHONPATH": root}
    )


@pytest.mark.requirement("MCP-19", proves="holds")
async def test_a_server_on_stdio_knows_its_user_from_the_environment(tmp_path: Path) -> None:
    async with Client(_on_stdio(tmp_path, "plain"), mode="legacy") as client:
        result = await client.call_tool("whoami", {})
    assert result.content[0].text == "ada"


@pytest.mark.requirement("MCP-19", proves="refused")
async def test_rules_about_callers_admit_nobody_on_stdio(tmp_path: Path) -> None:
    with pytest.raises((MCPError, ExceptionGroup)) as raised:
        async with Client(_on_stdio(tmp_path, "guarded"), mode="legacy") as client:
            await client.call_tool("whoami", {})
    found = raised.value
    while isinstance(found, ExceptionGroup):
        (found,) = found.exceptions
    assert "insufficient_scope" in str(found)
