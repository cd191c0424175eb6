"""The kit in front of what people have: MCP servers mounted in Starlette, and Quart; each unmodified."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from quart import Quart, request
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from rs_kit.adapters.asgi import CALL, RsKit
from rs_kit.adapters.mcp import protect
from rs_kit.protocol.tool_policy import ToolPolicy
from tests.support.guarded_bank import Bank, Line, tool_call
from tests.support.guarded_refusals import challenge_of
from tests.support.tool_servers import KINDS, NAMES, application

TOOLS = ToolPolicy(
    tools={**dict.fromkeys(NAMES, ("accounts:read",)), "transfer": ("payments:write",)}, base=["mcp:use"]
)


async def answers(bank: Bank, app: Any) -> list[int]:
    """Without credentials, a good call, a call outside the grant, and the page beside."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="https://mcp.bank.example") as http:
        line = Line(bank, http)
        nobody = await line.send([])
        assert challenge_of(nobody)[1]["resource_metadata"].endswith("/.well-known/oauth-protected-resource/mcp")
        assert (await http.get("/.well-known/oauth-protected-resource/mcp")).json()["resource"].endswith("/mcp")
        good, more = await line.send(), await line.send(message=tool_call("transfer"))
        beside = await http.get("/about")
    return [response.status_code for response in (nobody, good, more, beside)]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_mcp_server_mounted_in_starlette(kind: str) -> None:
    bank, ran = Bank(tools=TOOLS), []
    inner = application(kind, ran)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with inner.router.lifespan_context(inner):
            yield

    site = Starlette(
        routes=[Route("/about", lambda _: PlainTextResponse("a bank")), Mount("/", inner)], lifespan=lifespan
    )
    async with lifespan(site):
        assert await answers(bank, protect(site, bank.guard, public_paths=["/about"])) == [401, 200, 403, 200]
        closed = Bank(tools=TOOLS)
        assert await answers(closed, protect(site, closed.guard)) == [401, 200, 403, 401]
    assert ran == ["get_balance"] * 2


@pytest.mark.parametrize("kind", KINDS)
async def test_a_guarded_mcp_server_as_one_route_of_starlette(kind: str) -> None:
    bank, ran = Bank(tools=TOOLS), []
    inner = application(kind, ran)
    site = Starlette(
        routes=[Route("/about", lambda _: PlainTextResponse("a bank")), Mount("/", protect(inner, bank.guard))]
    )
    async with inner.router.lifespan_context(inner):
        assert await answers(bank, site) == [401, 200, 403, 200]
    assert ran == ["get_balance"]


async def test_a_server_written_with_quart() -> None:
    bank, ran = Bank(tools=TOOLS), []
    site = Quart(__name__)

    @site.post("/mcp")
    async def mcp() -> dict[str, Any]:
        message = await request.get_json()
        ran.append((message["params"]["name"], request.scope[CALL].token.subject))
        assert "Authorization" not in request.headers
        return {"jsonrpc": "2.0", "id": message["id"], "result": {}}

    @site.get("/about")
    async def about() -> str:
        return "a bank"

    site.asgi_app = RsKit(site.asgi_app, bank.guard, public_paths=["/about"])  # type: ignore[method-assign] # Quart's way
    assert await answers(bank, site) == [401, 200, 403, 200]
    assert ran == [("get_balance", "alice")]
