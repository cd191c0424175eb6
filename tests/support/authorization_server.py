"""The whole authorization server as real processes over TLS, with a resource, a person and registered clients."""

from __future__ import annotations

import contextlib
import json
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx2

from tests.support.command_line import CommandLine
from tests.support.fapi_client import FapiClient
from tests.support.fapi_messages import FapiMessages, Message
from tests.support.load import Connection, Prepared, connections, prepare
from tests.support.peer_keys import PeerKey
from tests.support.processes import Server, free_port, running

USERNAME: Final = "alice"
PASSWORD: Final = "correct horse battery staple"
RESOURCE: Final = "https://localhost:8445/mcp"
SCOPE: Final = "accounts:read"
REDIRECT_URI: Final = "https://client.example/callback"


@dataclass(kw_only=True)
class AuthorizationServer:
    """One running server and what is registered there."""

    directory: Path
    issuer: str
    commands: CommandLine
    server: Server
    client_keys: dict[str, PeerKey] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return int(self.issuer.rsplit(":", 1)[1])

    @property
    def trust(self) -> ssl.SSLContext:
        """A context that trusts the development authority of this run and nobody else."""
        return ssl.create_default_context(cafile=str(self.directory / "certs" / "ca.pem"))

    @contextlib.asynccontextmanager
    async def http(self) -> AsyncIterator[httpx2.AsyncClient]:
        """An HTTP client for one test."""
        async with httpx2.AsyncClient(verify=self.trust, timeout=20.0, trust_env=False) as http:
            yield http

    def client(self, http: httpx2.AsyncClient, client_id: str = "agent-0") -> FapiClient:
        """A registered client."""
        return FapiClient(http, **arguments(self.issuer, client_id, self.client_keys[client_id]))

    async def connections(self, count: int) -> list[Connection]:
        """Kept-alive TLS connections; the kernel spreads them over the workers."""
        return await connections(count, "localhost", self.port, self.trust)

    def events(self, event: str) -> list[dict[str, object]]:
        """The audit facts of one kind, oldest first."""
        facts = self.commands.json("audit", "tail", "--limit", "100000")
        return [fact for fact in facts if fact["event"] == event]


def arguments(issuer: str, client_id: str, key: PeerKey) -> dict[str, object]:
    """The members of a client of these tests."""
    return {
        "issuer": issuer,
        "client_id": client_id,
        "client_key": key,
        "resource": RESOURCE,
        "scope": SCOPE,
        "redirect_uri": REDIRECT_URI,
    }


def ready(message: Message) -> Prepared:
    """A signed request of a client as bytes for `tests.support.load`."""
    url, headers, body = message
    return prepare(url, headers, body)


@contextlib.contextmanager
def authorization_server(directory: Path, *, workers: int = 1, clients: int = 1) -> Iterator[AuthorizationServer]:
    """Set up a server in a scratch directory with the command line, run it, and stop it afterwards."""
    issuer = f"https://localhost:{free_port()}"
    commands = CommandLine(directory=directory)
    for done in (commands.run("init", "--dev", "--issuer", issuer),):
        assert done.code == 0, done.err
    resource = {
        "resource": RESOURCE,
        "resource_name": "Bank tools",
        "scopes": {SCOPE: "See your balances", "payments:write": "Move money"},
        "refresh_tokens": True,
    }
    commands.json("resource", "add", "-", stdin=json.dumps(resource))
    commands.json("user", "add", USERNAME, "--password-stdin", stdin=PASSWORD)
    keys = {f"agent-{number}": PeerKey.es256() for number in range(clients)}
    for client_id, key in keys.items():
        registration = FapiMessages(**arguments(issuer, client_id, key)).registration()
        commands.json("client", "add", "-", stdin=json.dumps(registration))
    command = [sys.executable, "-m", "fapi_as", "serve", "--workers", str(workers), "--config", str(commands.config)]
    with running(command, directory) as server:
        yield AuthorizationServer(
            directory=directory, issuer=issuer, commands=commands, server=server, client_keys=keys
        )
