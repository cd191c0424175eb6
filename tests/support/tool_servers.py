"""Servers that know nothing of the guard, of the official SDK and of FastMCP; each writes down which tool ran."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import httpx2
from fastmcp import FastMCP
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from rs_kit.adapters.fastmcp import SecondLine
from rs_kit.adapters.mcp import second_line
from rs_kit.protocol.tool_policy import ToolPolicy

NAMES: Final = ("get_balance", "transfer", "whoami", "\u00fcber", "drop.tables", "=?base64?eA==?=")
KINDS: Final = ("SDK", "FastMCP")


def application(
    kind: str,
    ran: list[str],
    *,
    names: Sequence[str] = NAMES,
    inside: ToolPolicy | None = None,
    stateless: bool = True,
    json_response: bool = True,
) -> Any:
    """An ASGI application with a lifespan; `inside` is the second line."""
    if kind == "SDK":
        server = MCPServer("tools", log_level="CRITICAL", middleware=[] if inside is None else [second_line(inside)])
        for name in names:
            server.add_tool(_tool(name, ran), name=name)
        server.resource("notes://one")(_note)
        return server.streamable_http_app(
            stateless_http=stateless,
            json_response=json_response,
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
    other = FastMCP("tools", middleware=[] if inside is None else [SecondLine(inside)])
    for name in names:
        other.tool(_tool(name, ran), name=name)
    other.resource("notes://one")(_note)
    return other.http_app(
        path="/mcp", stateless_http=stateless, json_response=json_response, host_origin_protection=False
    )


@contextlib.asynccontextmanager
async def client_of(app: Any, inner: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """An HTTP client of `app`, while `inner` lives."""
    async with (
        inner.router.lifespan_context(inner),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="https://mcp.bank.example") as http,
    ):
        yield http


def _tool(name: str, ran: list[str]) -> Any:
    def tool(amount: int = 0) -> str:
        ran.append(name)
        return name

    return tool


def _note() -> str:
    return "a note"
