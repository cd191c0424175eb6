"""The clients of the MCP SDK and of FastMCP, each with the agent as its authentication, at the servers of the demo.

Run with docs/examples on the path; prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import tempfile
from pathlib import Path
from typing import Any

import demo
import httpx2
from agent import REDIRECT_URI, reason
from browser import Browser
from fastmcp import Client as FastMcpClient
from fastmcp.client.transports import StreamableHttpTransport
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult
from newcomers import agent_that_nobody_knows, robot_that_nobody_knows
from place import ALLOWED, PASSWORD, USERNAME, Place
from processes import Processes

from fapi_as.agent import AgentAuth, AgentSettings, GrantType, McpProviderAuth, MemoryRegistrationStore, trust

CALL = ("get_balance", {"account": "checking"})


class Person:
    """A person at a browser, as the handlers of an MCP client reach them."""

    def __init__(self, place: Place) -> None:
        self.browser = Browser(place.trust(), username=USERNAME, password=PASSWORD)
        self.came_back = ""

    async def authorize(self, url: str) -> str:
        return await self.browser.sign_in_and_allow(url, until=f"{REDIRECT_URI}?")

    async def redirect(self, url: str) -> None:
        self.came_back = await self.authorize(url)

    async def callback(self) -> AuthorizationCodeResult:
        return AuthorizationCodeResult(**dict(httpx2.URL(self.came_back).params.items()))


def text(result: Any) -> str:
    """What a tool said."""
    return " ".join(block.text for block in result.content if block.type == "text")


async def through_the_sdk(place: Place, auth: httpx2.Auth, tls: ssl.SSLContext) -> str:
    """One tool call of the official client."""
    async with (
        httpx2.AsyncClient(verify=tls, auth=auth, timeout=30.0) as http,
        Client(streamable_http_client(place.resource, http_client=http)) as client,
    ):
        return text(await client.call_tool(*CALL))


async def through_fastmcp(place: Place, auth: httpx2.Auth, tls: ssl.SSLContext) -> str:
    """One tool call of FastMCP's client, which follows redirects."""
    transport = StreamableHttpTransport(place.resource, auth=auth, verify=tls)
    async with FastMcpClient(transport) as client:
        return text(await client.call_tool(*CALL))


CLIENTS = {"sdk": through_the_sdk, "fastmcp": through_fastmcp}


async def all_of_them(place: Place) -> dict[str, object]:
    """Every client with every face of the agent."""
    registrants = (agent_that_nobody_knows(place),)
    settings = AgentSettings(resource=place.resource, registrants=registrants, scope=(ALLOWED,))
    registrations = MemoryRegistrationStore()  # one registration for all of them: a statement is good for one
    said: dict[str, object] = {}
    tls = trust(place.authority)
    async with httpx2.AsyncClient(verify=tls) as back_channel:
        for name, call in CLIENTS.items():
            person = Person(place)
            provider = McpProviderAuth(
                settings,
                back_channel=back_channel,
                redirect_handler=person.redirect,
                callback_handler=person.callback,
                registrations=registrations,
            )
            own = AgentAuth(
                settings, back_channel=back_channel, authorize=person.authorize, registrations=registrations
            )
            said[f"{name}, provider"] = await call(place, provider, tls)
            said[f"{name}, own"] = await call(place, own, tls)
            said[f"{name}, scopes"] = [
                auth.agent.tokens is not None and auth.agent.tokens.scope for auth in (provider, own)
            ]
            await person.browser.close()
    return said | await with_a_certificate(place)


async def with_a_certificate(place: Place) -> dict[str, object]:
    """Every client with an agent whose tokens are bound to its certificate, and without that certificate."""
    registrant = robot_that_nobody_knows(place)
    certificate = registrant.identity.certificate
    assert certificate is not None
    settings = AgentSettings(
        resource=place.resource, registrants=(registrant,), scope=(ALLOWED,), grant_type=GrantType.CLIENT_CREDENTIALS
    )
    registrations = MemoryRegistrationStore()
    said: dict[str, object] = {}
    async with httpx2.AsyncClient(verify=certificate.context) as back_channel:
        for name, call in CLIENTS.items():
            auth = AgentAuth(settings, back_channel=back_channel, registrations=registrations)
            said[f"{name}, certificate"] = await call(place, auth, certificate.context)
            try:
                await call(place, auth, trust(place.authority))
            except Exception as error:  # noqa: BLE001 - what the client made of it
                said[f"{name}, no certificate"] = reason(error) or str(error)
    return said


def main() -> None:
    """Start the servers, call, and print what the tools said."""
    with tempfile.TemporaryDirectory() as directory:
        place = demo.place_for(Path(directory), None)
        with Processes(place.directory) as processes:
            processes.command("init", "--dev", "--issuer", place.issuer)
            demo.start_servers(processes, place)
            demo.register(processes, place)
            print(json.dumps(asyncio.run(all_of_them(place))))


if __name__ == "__main__":
    main()
