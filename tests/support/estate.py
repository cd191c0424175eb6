"""Several workers and several tenants over one SQLite file, in one process: all that workers share is that file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2

from fapi_as.adapters.client_documents import NoDocuments, PublishedDocuments
from fapi_as.adapters.client_keys import PublishedKeys, RegisteredKeys
from fapi_as.adapters.keys import Keyring, Sealing
from fapi_as.adapters.store import Database, Operators, SharedCheck, migrate
from fapi_as.adapters.tls.client_trust import NoTrust
from fapi_as.adapters.turns import PacedTurns
from fapi_as.adapters.web.application import build_application
from fapi_as.adapters.web.asgi import Application
from fapi_as.features import ENABLED, client_id_metadata
from fapi_as.kernel import capabilities
from fapi_as.kernel.seam import Context
from fapi_as.ports import Fetch
from fapi_as.protocol.audit_events import Stamp
from fapi_as.protocol.policy import DocumentPolicy, Policy
from rs_kit.protocol.dpop import ProofKeys
from tests.support.fake_fetch import FakeFetch
from tests.support.fakes import ISSUER, FrozenClock, PlainPasswords, SeededEntropy
from tests.support.fapi_client import FapiClient
from tests.support.house import PASSWORD, RESOURCE, SCOPES
from tests.support.peer_keys import PeerKey

ROOT: Final = "default"
ACME: Final = "acme"
SIGNED_OUT: Final = "https://client.example/signed-out"
PREFIXES: Final = {ROOT: "", ACME: "/t/acme"}


@dataclass(kw_only=True)
class Worker:
    """What one process has: its own connections, caches and clock."""

    application: Application
    database: Database
    keyring: Keyring
    clock: FrozenClock
    http: httpx2.AsyncClient
    contexts: dict[str, Context]

    async def close(self) -> None:
        await self.http.aclose()
        await self.database.close()
        self.keyring.close()


class Estate:
    """Two tenants, each with alice, the same resource and a client of the same name under the same key.

    `like` is one that was set up before and is only copied; its own workers must be closed.
    """

    def __init__(self, directory: Path, *, like: Estate | None = None) -> None:
        self.path = directory / "store.db"
        self.url = f"sqlite:///{self.path}"
        self.sealing = Sealing(b"s" * 32)
        self.clock = FrozenClock()
        self.client_key = PeerKey.es256(seed=31)
        self.workers: list[Worker] = []
        if like is None:
            self._set_up()
        else:
            shutil.copytree(like.path.parent, directory, dirs_exist_ok=True)

    def _set_up(self) -> None:
        migrate(self.url)
        keyring = Keyring.open(self.url, sealing=self.sealing, clock=self.clock)
        for tenant in PREFIXES:
            keyring.ensure(tenant, self.stamp())
            operators = self.operators(tenant)
            members = {"resource": RESOURCE, "resource_name": "Bank", "scopes": SCOPES, "refresh_tokens": True}
            operators.add_resource(members, self.stamp())
            operators.add_user("alice", f"subject-{tenant}", PlainPasswords.hash(PASSWORD), self.stamp())
            registration = self._client(tenant, httpx2.AsyncClient(), self.clock).registration(
                scope=" ".join((*SCOPES, "openid", "profile")), post_logout_redirect_uris=[SIGNED_OUT]
            )
            operators.add_client(registration, "agent", self.stamp())
        keyring.close()

    def stamp(self) -> Stamp:
        return Stamp(at=self.clock.now(), correlation_id="setup", endpoint="setup", source="test")

    def operators(self, tenant: str = ROOT) -> Operators:
        return Operators.open(self.url, tenant)

    def worker(
        self,
        *,
        clock: FrozenClock | None = None,
        nonces: bool = True,
        fetch: Fetch | None = None,
        documents: DocumentPolicy | None = None,
    ) -> Worker:
        """Another worker, as after a start: it knows what the file and the sealing key say, and nothing else.

        With `fetch` it has the keys of clients, and with `documents` their documents, through this.
        """
        clock = clock or self.clock
        database = Database.open(self.url, sealing=self.sealing, clock=clock)
        keyring = Keyring.open(self.url, sealing=self.sealing, clock=clock)
        seed = f"worker-{len(self.workers)}"
        stores = {tenant: database.store(tenant) for tenant in PREFIXES}
        features = ENABLED if documents is None else (*ENABLED, client_id_metadata.FEATURE)
        policies = {
            tenant: Policy(tenant=tenant, issuer=ISSUER + prefix, dpop_nonces=nonces, documents=documents)
            for tenant, prefix in PREFIXES.items()
        }
        keys = {tenant: RegisteredKeys() if fetch is None else PublishedKeys(fetch) for tenant in PREFIXES}
        contexts = {
            prefix: Context(
                policy=policies[tenant],
                store=stores[tenant],
                store_check=SharedCheck(stores[tenant]),
                signer=keyring.signer(tenant),
                entropy=SeededEntropy(f"{seed}-{tenant}"),
                passwords=PlainPasswords(),
                client_keys=keys[tenant],
                client_documents=NoDocuments()
                if fetch is None
                else PublishedDocuments(
                    fetch,
                    keys[tenant],
                    stores[tenant].reading,
                    policy=policies[tenant],
                    clock=clock,
                    monotonic=_seconds_of(clock),
                ),
                certificate_trust=NoTrust(),
                registration_turns=PacedTurns(),
                fetch=fetch or FakeFetch(),
                proof_keys=ProofKeys(),
                nonce_key=self.sealing.derive("dpop-nonce", tenant),
                browser_key=self.sealing.derive("browser", tenant),
                pairwise_key=self.sealing.derive("pairwise", tenant),
                features=features,
                grants=capabilities.grants(features),
            )
            for tenant, prefix in PREFIXES.items()
        }
        application = build_application(contexts, clock=clock)
        http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=application))
        worker = Worker(
            application=application, database=database, keyring=keyring, clock=clock, http=http, contexts=contexts
        )
        self.workers.append(worker)
        return worker

    def client(self, worker: Worker, tenant: str = ROOT, **what: Any) -> FapiClient:
        """The registered client of a tenant, talking to one worker."""
        return self._client(tenant, worker.http, worker.clock, **what)

    async def close(self) -> None:
        for worker in self.workers:
            await worker.close()

    def _client(self, tenant: str, http: httpx2.AsyncClient, clock: FrozenClock, **what: Any) -> FapiClient:
        return FapiClient(
            http,
            issuer=ISSUER + PREFIXES[tenant],
            client_id="agent",
            client_key=self.client_key,
            resource=RESOURCE,
            scope="accounts:read",
            now=clock.now,
            **what,
        )


def _seconds_of(clock: FrozenClock) -> Callable[[], float]:
    return lambda: float(clock.now())


def moved(client: FapiClient, worker: Worker) -> FapiClient:
    """The same party, whose next requests reach another worker."""
    client.http = client.browser.http = worker.http
    return client
