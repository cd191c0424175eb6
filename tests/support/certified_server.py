"""The authorization server as real processes, with an authority that certifies its clients and revokes."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

from tests.support.authorization_server import AuthorizationServer, arguments, register
from tests.support.certificates import Authority, Shown, pem
from tests.support.certified_client import PKI, CertifiedClient
from tests.support.load import Connection, connections
from tests.support.peer_keys import PeerKey
from tests.support.processes import running
from tests.support.server_oracles import event_hooks, of_reply, watch_server

VERSIONS: Final = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


@dataclass(kw_only=True)
class CertifiedServer:
    """One running server; `revoke` writes the list that it reads again by itself."""

    server: AuthorizationServer
    authority: Authority
    registered: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def alias_port(self) -> int:
        return self.server.port + 1

    def context(self, shown: Shown | None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """A TLS client that shows a certificate."""
        context = self.server.trust
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if shown is not None:
            shown.load_into(context, self.server.directory)
        return context

    def register(self, client_id: str, shown: Shown | None, **changes: Any) -> None:
        """Add a client; `method`, `bound` and `proves` as for CertifiedClient, all else is metadata."""
        about = {name: changes.pop(name) for name in ("method", "bound", "proves") if name in changes}
        self.registered[client_id] = about | {"key": PeerKey.es256()}
        peer = self._peer(client_id, shown, httpx2.AsyncClient())
        self.server.commands.json("client", "add", "-", stdin=json.dumps(peer.registration(**changes)))

    @contextlib.asynccontextmanager
    async def client(
        self, client_id: str, shown: Shown | None, *, version: ssl.TLSVersion | None = None
    ) -> AsyncIterator[CertifiedClient]:
        """A registered client that shows this certificate at the alias, on connections of its own."""
        tell = watch_server(self.server)
        hooks = event_hooks(tell) if tell is not None else {}
        context = self.context(shown, version)
        async with (
            self.server.http() as http,
            httpx2.AsyncClient(verify=context, timeout=20.0, trust_env=False, event_hooks=hooks) as mtls_http,
        ):
            peer = self._peer(client_id, shown, http)
            peer.mtls_http = mtls_http
            await peer.discover()
            yield peer

    async def connections(self, count: int, shown: Shown) -> list[Connection]:
        """Kept-alive lines to the alias, each with this certificate."""
        lines = await connections(count, "localhost", self.alias_port, self.context(shown))
        tell = watch_server(self.server)
        if tell is not None:
            for line in lines:
                line.tell = lambda request, reply: tell(of_reply(request, reply))
        return lines

    def revoke(self, *shown: Shown, **changes: Any) -> None:
        """Publish a list of exactly these."""
        publish(self.server.directory, self.authority, *shown, **changes)

    def _peer(self, client_id: str, shown: Shown | None, http: httpx2.AsyncClient) -> CertifiedClient:
        about = dict(self.registered[client_id])
        return CertifiedClient(
            http,
            shown=shown,
            method=about.get("method", PKI),
            bound=about.get("bound", True),
            proves=about.get("proves", False),
            **arguments(self.server.issuer, client_id, about["key"]),
        )


def publish(directory: Path, authority: Authority, *shown: Shown, **changes: Any) -> None:
    """Write the list of an authority as a careful operator does: whole, or not at all."""
    written = directory / "client-crl.new"
    written.write_bytes(authority.crl(*shown, **changes))
    written.replace(directory / "client-crl.pem")


@contextlib.contextmanager
def certified_server(directory: Path, *, workers: int = 1, clients: int = 1) -> Iterator[CertifiedServer]:
    """Set up a server that trusts an authority of this run, run it, and stop it afterwards."""
    authority = Authority("CN=Client CA,O=Authorities", now=int(time.time()))
    registered = register(directory, clients=clients)
    (directory / "client-ca.pem").write_bytes(pem(authority.certificate))
    publish(directory, authority)
    registered.commands.change(
        'client_ca_file = "certs/ca.pem"', 'client_ca_file = "client-ca.pem"\nclient_crl_file = "client-crl.pem"'
    )
    with running(registered.serving(workers), directory) as server:
        yield CertifiedServer(server=registered.running(server), authority=authority)
