"""An agent that calls one tool of an MCP server: the official SDK's client, with `AgentAuth` as its authentication.

By hand, with a person at a browser on the same machine:

    python agent.py --resource https://localhost:8445/mcp --issuer https://localhost:8443 --client-id demo-agent \
        --key agent-key.pem --ca ca.pem --scope accounts:read get_balance '{"account": "checking"}'
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from fapi_as.agent import AgentAuth, AgentError, AgentSettings, Identity, trust
from fapi_as.agent.auth import Authorize
from fapi_as.agent.loopback import Loopback
from rs_kit.protocol.jws import SigningKey

REDIRECT_URI = "http://127.0.0.1:8400/callback"  # on this machine, so that no other can read the code (RFC 8252)


class Session:
    """One agent at one MCP server: its tokens last as long as this object."""

    def __init__(self, settings: AgentSettings, *, trust: ssl.SSLContext, authorize: Authorize | None) -> None:
        self.back_channel = httpx2.AsyncClient(verify=trust)
        self.auth = AgentAuth(settings, back_channel=self.back_channel, authorize=authorize)
        self.http = httpx2.AsyncClient(verify=trust, auth=self.auth, timeout=30.0)
        self._resource = settings.resource

    async def call_tool(self, name: str, arguments: Mapping[str, Any]) -> str:
        """Call a tool and give the text of its answer."""
        async with Client(streamable_http_client(self._resource, http_client=self.http)) as client:
            result = await client.call_tool(name, dict(arguments))
        return " ".join(block.text for block in result.content if block.type == "text")

    async def close(self) -> None:
        """Close the connections."""
        await self.http.aclose()
        await self.back_channel.aclose()


@asynccontextmanager
async def session(
    settings: AgentSettings, *, trust: ssl.SSLContext, authorize: Authorize | None = None
) -> AsyncIterator[Session]:
    """A session that is closed at the end."""
    opened = Session(settings, trust=trust, authorize=authorize)
    try:
        yield opened
    finally:
        await opened.close()


def client_key(path: Path, kid: str | None = None) -> SigningKey:
    """The key that is registered for this agent."""
    private_key: Any = load_pem_private_key(path.read_bytes(), password=None)
    return SigningKey.from_private_key(private_key, kid=kid)


async def authorize_here(url: str) -> str:
    """Show an address to the person, and wait for their browser to come back to this machine."""
    loopback = Loopback(REDIRECT_URI)
    async with loopback.listening():
        print(f"Open this address in your browser:\n\n    {url}\n", file=sys.stderr)
        return await loopback.answer()


def reason(error: BaseException) -> str | None:
    """The sentence of the AgentError in what the SDK's task groups raised, if there is one."""
    if isinstance(error, AgentError):
        return str(error)
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(reason, error.exceptions)), None)
    return None


async def _main(options: argparse.Namespace) -> None:
    identity = Identity(
        issuer=options.issuer,
        client_id=options.client_id,
        key=client_key(options.key),
        redirect_uri=REDIRECT_URI,
    )
    settings = AgentSettings(resource=options.resource, identities=(identity,), scope=tuple(options.scope.split()))
    tls = trust(options.ca)
    async with session(settings, trust=tls, authorize=authorize_here) as opened:
        print(await opened.call_tool(options.tool, json.loads(options.arguments)))


def main() -> None:
    """Call one tool and print what it says."""
    parser = argparse.ArgumentParser(description="Call one tool of an MCP server.")
    parser.add_argument("--resource", required=True)
    parser.add_argument("--issuer", required=True)
    parser.add_argument("--client-id", required=True)
    parser.add_argument("--key", required=True, type=Path)
    parser.add_argument("--ca")
    parser.add_argument("--scope", default="")
    parser.add_argument("tool")
    parser.add_argument("arguments")
    try:
        asyncio.run(_main(parser.parse_args()))
    except (AgentError, BaseExceptionGroup) as error:
        sentence = reason(error)
        if sentence is None:
            raise
        sys.exit(sentence)


if __name__ == "__main__":
    main()
