"""One running server with everything registered that the certification plans need: two clients for each variant.

It is the server of `fapi-as serve` in this process, on real sockets, with a clock that tests move; beside it stands a
resource behind rs_kit. Nothing is reconfigured between variants.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from fapi_as import bootstrap
from fapi_as.adapters.passwords import Argon2Passwords, PasswordCost
from fapi_as.adapters.store import Operators
from fapi_as.protocol.audit_events import Stamp
from fapi_as.protocol.local_user import PersonalData
from fapi_as.settings import Settings, load
from rs_kit.adapters.asgi import RsKit
from rs_kit.adapters.asgi_exchange import Application, Receive, Scope, Send
from rs_kit.adapters.issuer_keys import HttpsIssuerKeys
from rs_kit.adapters.observer import LoggingObserver
from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.guard import Guard
from rs_kit.protocol.confirmation import SenderConstraint
from rs_kit.protocol.tool_policy import ToolPolicy
from tests.expectations.answers import Certificate, Tokens
from tests.expectations.conforming_client import ConformingClient
from tests.expectations.registrations import ClientAuthority, ClientCertificate, registration, scope_of
from tests.expectations.table import missing_for
from tests.expectations.variants import VARIANTS, Variant
from tests.support.browser import Browser
from tests.support.command_line import CommandLine
from tests.support.fakes import FrozenClock
from tests.support.kit_over_http import listening
from tests.support.peer_keys import PeerKey
from tests.support.processes import free_port

PERSON: Final = ("alice", "correct horse battery staple")
SCOPES: Final = {"accounts:read": "See your balances"}
CALLBACK: Final = "https://suite.example/test/a/alias/callback"
_NONCE_KEY: Final = b"expectations" * 3
_PEOPLE_AT_ONE_ADDRESS: Final = 10
_CHEAP: Final = PasswordCost(memory_kibibytes=8, passes=1)  # the real hash; its cost is measured elsewhere


@dataclass(kw_only=True)
class Certification:
    """What a test is given."""

    issuer: str
    resource: str
    directory: Path
    clock: FrozenClock
    http: httpx2.AsyncClient
    metadata: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, Any] = field(default_factory=dict)
    certificates: dict[str, Certificate] = field(default_factory=dict)
    places: list[httpx2.AsyncClient] = field(default_factory=list)
    _seated: int = 0
    _clients: dict[tuple[Variant, int], ConformingClient] = field(default_factory=dict)
    _tokens: dict[str, tuple[Tokens, int]] = field(default_factory=dict)

    @property
    def person(self) -> tuple[str, str]:
        return PERSON

    @property
    def authority(self) -> str:
        """The file of the authority of this run."""
        return str(self.directory / "certs" / "ca.pem")

    @property
    def trust(self) -> ssl.SSLContext:
        """Trusts that authority and nobody else."""
        return ssl.create_default_context(cafile=self.authority)

    def client(self, variant: Variant, number: int = 1) -> ConformingClient:
        """The suite's first or second client of a variant; its browser may have a session already."""
        known = self._clients.get((variant, number))
        if known is None:
            client_id = client_id_of(variant, number)
            known = self._clients[variant, number] = ConformingClient(
                variant=variant,
                number=number,
                client_id=client_id,
                key=key_of(number),
                kid=f"suite-{number}",
                redirect_uri=redirect_uri_of(number),
                scope=scope_of(variant, tuple(SCOPES)),
                resource=self.resource,
                metadata=self.metadata,
                jwks=lambda: self.keys,
                now=self.clock.now,
                http=self.http,
                new_browser=self.browser,
                certificate=self.certificates.get(client_id),
            )
        return known

    def browser(self) -> Browser:
        """Somebody's browser; not too many people sign in from one address, which is limited."""
        if self._seated % _PEOPLE_AT_ONE_ADDRESS == 0:
            address = f"127.0.0.{10 + self._seated // _PEOPLE_AT_ONE_ADDRESS}"
            transport = httpx2.AsyncHTTPTransport(verify=self.trust, local_address=address)
            self.places.append(httpx2.AsyncClient(transport=transport, timeout=20.0, trust_env=False))
        self._seated += 1
        return Browser(self.places[-1])

    async def tokens(self, client: ConformingClient) -> Tokens:
        """Tokens of an earlier test of this client, while they are good; one login is enough for many cases."""
        known, until = self._tokens.get(client.client_id, (None, 0))
        if known is None or until <= self.clock.now() + 60:
            known = await client.obtain(person=PERSON)
            self._tokens[client.client_id] = known, self.clock.now() + int(known.answer["expires_in"])
        return known


def client_id_of(variant: Variant, number: int) -> str:
    return f"{variant}-{number}"


def key_of(number: int) -> PeerKey:
    """The first client signs with PS256, as the suite does by default, the second with ES256."""
    return PeerKey.ps256(2048, index=7) if number == 1 else PeerKey.es256(seed=702)


def redirect_uri_of(number: int) -> str:
    return CALLBACK if number == 1 else f"{CALLBACK}?dummy1=lorem&dummy2=ipsum"


@contextlib.asynccontextmanager
async def certification(directory: Path) -> AsyncIterator[Certification]:
    """Set up, serve, and stop."""
    issuer, resource = f"https://localhost:{free_port()}", f"https://localhost:{free_port()}/mcp"
    clock = FrozenClock(int(time.time()))
    authority = ClientAuthority()
    settings = set_up(directory, issuer, authority)
    runnable = [variant for variant in VARIANTS if not missing_for(variant)]
    certificates = register(settings, runnable, resource, authority)
    certs = directory / "certs"
    trust = ssl.create_default_context(cafile=str(certs / "ca.pem"))
    async with contextlib.AsyncExitStack() as running:
        application = bootstrap.assemble(settings, clock)
        await running.enter_async_context(
            listening(application, **listener(certs, "authorization-server", port_of(issuer)))
        )
        mutual_tls = listener(certs, "authorization-server", settings.mtls.port)
        await running.enter_async_context(listening(once_more(application), client_certificates=True, **mutual_tls))
        bank = guarded(resource, issuer, certs, clock)
        await running.enter_async_context(
            listening(bank, client_certificates=True, **listener(certs, "mcp-server", port_of(resource)))
        )
        http = await running.enter_async_context(httpx2.AsyncClient(verify=trust, timeout=20.0, trust_env=False))
        suite = Certification(issuer=issuer, resource=resource, directory=directory, clock=clock, http=http)
        suite.metadata = (await http.get(f"{issuer}/.well-known/oauth-authorization-server")).json()
        suite.keys = (await http.get(suite.metadata["jwks_uri"])).json()
        for client_id, certificate in certificates.items():
            shown = await running.enter_async_context(certificate.http(directory, trust))
            suite.certificates[client_id] = Certificate(certificate.der, shown)
        yield suite
        for place in suite.places:
            await place.aclose()


def set_up(directory: Path, issuer: str, authority: ClientAuthority) -> Settings:
    """What an operator does first."""
    trusted = directory / "client-authority.pem"
    trusted.write_bytes(authority.pem)
    commands = CommandLine(directory=directory)
    done = commands.run("init", "--dev", "--issuer", issuer)
    assert done.code == 0, done.err
    environment = {"FAPI_AS__MTLS__PORT": str(free_port()), "FAPI_AS__MTLS__CLIENT_CA_FILE": str(trusted)}
    settings = load(commands.config, environment)
    bootstrap.prepare(settings, stamp(int(time.time())))
    return settings


def register(
    settings: Settings, variants: list[Variant], resource: str, authority: ClientAuthority
) -> dict[str, ClientCertificate]:
    """The person, the resource, and two clients for each variant; the certificates of those that have one."""
    operators, now = Operators.open(settings.database.url, "default"), stamp(int(time.time()))
    members = {"resource": resource, "resource_name": "Bank", "scopes": SCOPES, "refresh_tokens": True}
    operators.add_resource(members, now)
    personal = PersonalData(name="Alice Doe", email="alice@example.com")
    passwords = Argon2Passwords(_CHEAP)
    operators.add_user(PERSON[0], "subject-of-alice", passwords.hash(PERSON[1]), now, personal)
    passwords.close()
    certificates: dict[str, ClientCertificate] = {}
    for variant, number in product(variants, (1, 2)):
        client_id = client_id_of(variant, number)
        if "mtls" in variant:  # the first client is certified by somebody, the second by itself
            host = f"client-{VARIANTS.index(variant)}.suite.example"
            certified = number == 1
            made = authority.certify(client_id, host) if certified else ClientCertificate.self_signed(client_id)
            certificates[client_id] = made
        metadata = registration(
            variant,
            number=number,
            key=key_of(number),
            redirect_uri=redirect_uri_of(number),
            resource=resource,
            scopes=tuple(SCOPES),
            certificate=certificates.get(client_id),
        )
        operators.add_client(metadata, client_id, now)
    return certificates


def stamp(now: int) -> Stamp:
    return Stamp(at=now, correlation_id="setup", endpoint="setup", source="test")


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None, url
    return port


def listener(certs: Path, name: str, port: int) -> dict[str, Any]:
    return {"port": port, "certfile": str(certs / f"{name}.pem"), "keyfile": str(certs / f"{name}.key")}


def guarded(resource: str, issuer: str, certs: Path, clock: FrozenClock) -> RsKit:
    """A resource behind the kit that takes what is bound to a key or to a certificate."""
    guard = Guard(
        resource=resource,
        issuer=issuer,
        keys=HttpsIssuerKeys(issuer, ca_file=certs / "ca.pem"),
        used_once=MemoryUsedOnce(),
        tools=ToolPolicy(tools={}, base=list(SCOPES)),
        nonce_key=_NONCE_KEY,
        clock=clock,
        observer=LoggingObserver(),
        legacy_streams=True,
        sender_constraint=SenderConstraint.EITHER,
    )
    return RsKit(balance, guard)


async def balance(scope: Scope, receive: Receive, send: Send) -> None:
    """The application: it answers everybody who gets this far."""
    if scope["type"] == "lifespan":
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})
        return
    body = json.dumps({"balance": "1250 EUR"}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


def once_more(application: Application) -> Application:
    """The same application on another listener, whose lifespan is the first one's."""

    async def without_lifespan(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for phase in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{phase}.complete"})
            return
        await application(scope, receive, send)

    return without_lifespan
