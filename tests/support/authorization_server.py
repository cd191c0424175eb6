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
from tests.support.fapi_messages import FapiMessages, Message, origin_of
from tests.support.load import Connection, Prepared, Reply, connections, prepare
from tests.support.peer_keys import PeerKey
from tests.support.processes import Server, free_port, running
from tests.support.server_oracles import event_hooks, of_reply, watch_server

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

    redirect_uri: str = REDIRECT_URI

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
        tell = watch_server(self)
        hooks = event_hooks(tell) if tell is not None else {}
        async with httpx2.AsyncClient(verify=self.trust, timeout=20.0, trust_env=False, event_hooks=hooks) as http:
            yield http

    def client(self, http: httpx2.AsyncClient, client_id: str = "agent-0") -> FapiClient:
        """A registered client."""
        return FapiClient(http, **arguments(self.issuer, client_id, self.client_keys[client_id]))

    async def connections(self, count: int) -> list[Connection]:
        """Kept-alive TLS connections; the kernel spreads them over the workers."""
        opened = await connections(count, "localhost", self.port, self.trust)
        tell = watch_server(self)
        if tell is not None:
            for line in opened:
                line.tell = lambda request, reply: tell(of_reply(request, reply))
        return opened


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A directory in which everything is set up and nothing runs yet."""

    directory: Path
    issuer: str
    commands: CommandLine
    client_keys: dict[str, PeerKey]

    def serving(self, workers: int) -> list[str]:
        """The command that serves it."""
        config = str(self.commands.config)
        return [sys.executable, "-m", "fapi_as", "serve", "--workers", str(workers), "--config", config]

    def running(self, server: Server) -> AuthorizationServer:
        """The same once a process serves it."""
        return AuthorizationServer(
            directory=self.directory,
            issuer=self.issuer,
            commands=self.commands,
            server=server,
            client_keys=self.client_keys,
        )


def register(directory: Path, *, clients: int = 1, database: Path | None = None) -> Registered:
    """Set up a scratch directory with the command line; `database` puts the file elsewhere."""
    issuer = f"https://localhost:{free_port()}"
    commands = CommandLine(directory=directory)
    done = commands.run("init", "--dev", "--issuer", issuer)
    assert done.code == 0, done.err
    if database is not None:
        commands.change('#url = "sqlite:///fapi-as.db"', f'url = "sqlite:///{database}"')
        assert commands.run("init", "--only-database").code == 0
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
    return Registered(directory=directory, issuer=issuer, commands=commands, client_keys=keys)


@contextlib.contextmanager
def authorization_server(directory: Path, *, workers: int = 1, clients: int = 1) -> Iterator[AuthorizationServer]:
    """Set up a server in a scratch directory with the command line, run it, and stop it afterwards."""
    registered = register(directory, clients=clients)
    with running(registered.serving(workers), directory) as server:
        yield registered.running(server)


async def token_over(line: Connection, client: FapiClient) -> Reply:
    """Ask for a token of the client's own over one kept-alive line, with a fresh nonce where one is wanted."""
    reply = await line.send(ready(client.credentials_request()))
    if "dpop-nonce" in reply.headers:
        client.nonces[origin_of(client.issuer), client.dpop_key.thumbprint] = reply.headers["dpop-nonce"]
    if reply.status == 400 and json.loads(reply.body)["error"] == "use_dpop_nonce":
        return await line.send(ready(client.credentials_request()))
    return reply
