"""An agent that calls one tool of an MCP server: the official SDK's client, with `AgentAuth` as its authentication.

By hand, with a person at a browser on the same machine:

    python agent.py --resource https://localhost:8445/mcp --issuer https://localhost:8443 \
        --software-statement statement.jwt --key agent-key.pem --kid agent-1 --ca ca.pem --store store \
        --scope accounts:read get_balance '{"account": "checking"}'
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

from fapi_as.agent import (
    AgentAuth,
    AgentError,
    AgentSettings,
    Identity,
    MemoryRegistrationStore,
    Registrant,
    RegistrationStore,
    trust,
)
from fapi_as.agent.auth import Authorize
from fapi_as.agent.file_store import FileRegistrationStore
from fapi_as.agent.loopback import Loopback
from rs_kit.protocol.jws import SigningKey
from rs_kit.protocol.secret import Secret

REDIRECT_URI = "http://127.0.0.1:8400/callback"  # on this machine, so that no other can read the code (RFC 8252)


class Session:
    """One agent at one MCP server: its tokens last as long as this object, what it registers as long as the store."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        trust: ssl.SSLContext,
        authorize: Authorize | None,
        registrations: RegistrationStore | None = None,
    ) -> None:
        self.back_channel = httpx2.AsyncClient(verify=trust)
        self.registrations = registrations if registrations is not None else MemoryRegistrationStore()
        self.auth = AgentAuth(
            settings, back_channel=self.back_channel, authorize=authorize, registrations=self.registrations
        )
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
    settings: AgentSettings,
    *,
    trust: ssl.SSLContext,
    authorize: Authorize | None = None,
    registrations: RegistrationStore | None = None,
) -> AsyncIterator[Session]:
    """A session that is closed at the end."""
    opened = Session(settings, trust=trust, authorize=authorize, registrations=registrations)
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
        client_id="",  # the server chooses it, once; from then on it is in the store
        key=client_key(options.key, options.kid),
        redirect_uri=REDIRECT_URI,
    )
    registrant = Registrant(
        identity=identity,
        metadata={"redirect_uris": ["http://127.0.0.1/callback"]},  # at any port of this machine
        software_statement=Secret(options.software_statement.read_text("ascii").strip()),
    )
    settings = AgentSettings(resource=options.resource, registrants=(registrant,), scope=tuple(options.scope.split()))
    tls, store = trust(options.ca), FileRegistrationStore(options.store, agent=registrant.name)
    async with session(settings, trust=tls, authorize=authorize_here, registrations=store) as opened:
        print(await opened.call_tool(options.tool, json.loads(options.arguments)))


def main() -> None:
    """Call one tool and print what it says."""
    parser = argparse.ArgumentParser(description="Call one tool of an MCP server.")
    parser.add_argument("--resource", required=True)
    parser.add_argument("--issuer", required=True)
    parser.add_argument("--software-statement", required=True, type=Path)
    parser.add_argument("--key", required=True, type=Path)
    parser.add_argument("--kid")
    parser.add_argument("--store", required=True, type=Path)
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
