"""The official MCP client with AgentAuth, at an official MCP server behind rs_kit: all in one process."""

from __future__ import annotations

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.support.agent_peer import RESOURCE
from tests.support.minting_peer import MintingPeer, bank


async def called(client: httpx2.AsyncClient, tool: str, **arguments: object) -> str:
    async with Client(streamable_http_client(RESOURCE, http_client=client)) as mcp:
        result = await mcp.call_tool(tool, arguments)
    return " ".join(block.text for block in result.content if block.type == "text")


@pytest.mark.requirement("PRM-12", proves="holds")
async def test_a_tool_is_called_for_the_person_who_allowed_it() -> None:
    peer = MintingPeer()
    async with bank(peer) as place, place.client() as client:
        assert await called(client, "get_balance") == "7 EUR for alice"
    assert len(peer.visited) == 1


async def test_a_tool_that_needs_more_is_called_after_the_person_allowed_more() -> None:
    peer = MintingPeer()
    async with bank(peer) as place, place.client() as client:
        await called(client, "get_balance")
        assert await called(client, "transfer", amount=3) == "3 EUR moved"
    assert [pushed["scope"] for pushed in peer.pushed.values()] == ["accounts:read", "accounts:read payments:write"]
