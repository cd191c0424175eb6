"""The composition root: settings become adapters, adapters one Context per tenant, contexts the application.

`prepare` runs in the parent before any worker starts; `worker` and `application` run in each worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from fapi_as.adapters import logs
from fapi_as.adapters.authority_status import AuthorityStatusChecks
from fapi_as.adapters.client_documents import NoDocuments, PublishedDocuments
from fapi_as.adapters.client_keys import PublishedKeys
from fapi_as.adapters.clock import SystemClock
from fapi_as.adapters.entropy import SystemEntropy
from fapi_as.adapters.fetch import HttpsFetch
from fapi_as.adapters.keys import Keyring, KeyState, RotationTimes, Sealing, TooManyKeys, read_sealing_key
from fapi_as.adapters.passwords import Argon2Passwords
from fapi_as.adapters.store import Approvals, Database, OutdatedDatabase, SharedCheck, UnusableDatabase, migrate
from fapi_as.adapters.tls import server_certificate
from fapi_as.adapters.tls.client_trust import ClientTrust, NoTrust
from fapi_as.adapters.tls.proxy_trust import ProxyTrust, read_proxy_trust
from fapi_as.adapters.tls.watched_file import UnusableFile
from fapi_as.adapters.turns import PacedTurns
from fapi_as.ports import CertificateTrust, ClientDocuments, Clock
from fapi_as.protocol.audit_events import Stamp
from fapi_as.protocol.errors import StorageUnavailable
from fapi_as.settings import DEFAULT_TENANT, ConfigurationError, MutualTls, Server, Settings, load
from rs_kit.protocol.algorithms import SIGNING_ALGORITHMS

if TYPE_CHECKING:
    from fapi_as.adapters.web.asgi import Application
    from fapi_as.kernel.seam import Context, Feature

CHORE_SECONDS: Final = 60  # less than half of the janitor's lease, so that a leader stays one
_DAY_SECONDS: Final = 86_400

_logger: Final = logging.getLogger("fapi_as.chores")


def inspect(settings: Settings) -> None:
    """Everything that `prepare` would refuse, without changing anything.

    Raises:
        ConfigurationError: a certificate or key file is missing, open to others, or does not fit.
        UnusableSealingKey: the sealing key is missing, open to others, or not the one that sealed the database.
        UnusableDatabase: the database cannot be reached, is damaged or of another version.
    """
    _refuse_unsafe_tls(settings)
    _refuse_unusable_authorities(settings)
    sealing = Sealing(read_sealing_key(settings.keys.sealing_key_file))
    path = settings.database.path
    if path.exists() and path.stat().st_size > 0:
        with contextlib.suppress(OutdatedDatabase):  # `prepare` upgrades it, and looks at the keys then
            keyring = Keyring.open(settings.database.url, sealing=sealing, clock=SystemClock())
            with contextlib.closing(keyring):
                keyring.signer(DEFAULT_TENANT).public_jwks()  # opens the active key, if there is one
    elif not os.access(path.parent, os.W_OK | os.X_OK):
        raise UnusableDatabase(f"the database {path} cannot be created: {path.parent} is missing or not writable")


def prepare(settings: Settings, stamp: Stamp) -> None:
    """Bring the database to this version and see that a signing key is there and opens.

    Raises:
        ConfigurationError, UnusableSealingKey, UnusableDatabase: as `inspect`; the start must not go on.
    """
    _refuse_unsafe_tls(settings)
    _refuse_unusable_authorities(settings)
    sealing = Sealing(read_sealing_key(settings.keys.sealing_key_file))
    migrate(settings.database.url)
    with contextlib.closing(Keyring.open(settings.database.url, sealing=sealing, clock=SystemClock())) as keyring:
        keyring.ensure(DEFAULT_TENANT, stamp, algorithms=SIGNING_ALGORITHMS)


def application(config_path: str) -> Application:
    """The application of a configuration file and this process's environment.

    Raises:
        ConfigurationError, UnusableSealingKey, UnusableDatabase: the database must be prepared before.
    """
    return _in_this_process(load(Path(config_path), os.environ))


def worker(settings_json: str) -> Application:
    """The application of settings that the parent has read: all workers serve the same, also one that starts later.

    Raises:
        UnusableSealingKey, UnusableDatabase: the database must be prepared before.
    """
    return _in_this_process(Settings.model_validate_json(settings_json))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chores:
    """What is done beside requests: every worker writes its counts of refusals; one does the rest, for all.

    It sweeps, follows an old key, and asks the authorities what they have withdrawn.
    """

    settings: Settings
    sealing: Sealing
    database: Database
    holder: str
    write_counts: Callable[[int], Awaitable[None]]
    ask_authorities: Callable[[Stamp], Awaitable[None]]

    async def run(self, clock: Clock) -> None:
        """Once a minute, until cancelled; a failure is told and does not end it."""
        while True:
            try:
                await self.once(clock)
            except StorageUnavailable as error:
                _logger.warning("chores wait for the store", extra={"detail": error.detail})
            except Exception:
                _logger.exception("a chore failed")
            await asyncio.sleep(CHORE_SECONDS)

    async def once(self, clock: Clock) -> None:
        """Do what is due, and what no other worker does.

        Raises:
            StorageUnavailable, UnusableDatabase: the store cannot be written now.
        """
        await self.write_counts(clock.now())
        if await self.database.janitor.sweep(self.holder, clock.now()) is not None:
            await asyncio.to_thread(self._follow_old_key, clock)
            await self.ask_authorities(self._stamp("authority status", clock.now()))

    async def end(self, clock: Clock) -> None:
        """Write what this worker has counted in its last minute; nobody else knows it."""
        try:
            await self.write_counts(clock.now() + CHORE_SECONDS)
        except StorageUnavailable as error:
            _logger.error("counts of refusals are lost", extra={"detail": error.detail})  # noqa: TRY400 - no defect of ours

    def _follow_old_key(self, clock: Clock) -> None:
        """Publish a successor of each signing key that has been active for `keys.rotation_days` (JOSE-34)."""
        now = clock.now()
        times = rotation_times(self.settings)
        keyring = Keyring.open(self.settings.database.url, sealing=self.sealing, clock=clock, times=times)
        with contextlib.closing(keyring):
            listed = keyring.list(DEFAULT_TENANT)
            followed = {key.alg for key in listed if key.state is KeyState.NEXT}
            oldest = now - self.settings.keys.rotation_days * _DAY_SECONDS
            stamp = self._stamp("key rotation", now)
            for key in listed:
                if key.state is KeyState.ACTIVE and key.active_from <= oldest and key.alg not in followed:
                    with contextlib.suppress(TooManyKeys):  # after so many rotations by hand the next one can wait
                        keyring.rotate(DEFAULT_TENANT, stamp, alg=key.alg)

    def _stamp(self, chore: str, now: int) -> Stamp:
        return Stamp(at=now, correlation_id=self.holder, endpoint=chore, source="fapi-as serve")


def _in_this_process(settings: Settings) -> Application:
    """The application, on the system's clock, in a process that is its own."""
    logs.configure(settings.logging.level, settings.logging.format)
    return assemble(settings, SystemClock())


def rotation_times(settings: Settings) -> RotationTimes:
    """How long signing keys are published before they sign, as the configuration says."""
    keys = settings.keys
    return RotationTimes(jwks_max_age=keys.jwks_max_age, published_before_use=keys.published_before_use)


def assemble(settings: Settings, clock: Clock) -> Application:
    """The application of settings on a clock; what waits is tested by moving it.

    Raises:
        UnusableSealingKey, UnusableDatabase: the database must be prepared before.
    """
    # the parent serves nothing, so it does not wait for Quart
    from fapi_as.adapters.web.application import build_application  # noqa: PLC0415 - in a worker only
    from fapi_as.kernel.refusals import write_counts  # noqa: PLC0415 - in a worker only

    adapters = _Adapters.open(settings, clock)
    default = _context(settings, adapters, clock)
    chores = Chores(
        settings=settings,
        sealing=adapters.sealing,
        database=adapters.database,
        holder=SystemEntropy().identifier(),
        write_counts=partial(write_counts, default),
        ask_authorities=AuthorityStatusChecks(partial(_approvals, settings), adapters.fetch).run,
    )

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        running = asyncio.create_task(chores.run(clock))
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait({running})
            await chores.end(clock)
            await adapters.close()

    return build_application({"": default}, clock=clock, lifespan=lifespan, proxy=_proxy_trust(settings.mtls))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Adapters:
    """What one process opens, and closes when it ends."""

    sealing: Sealing
    keyring: Keyring
    database: Database
    passwords: Argon2Passwords
    fetch: HttpsFetch

    @classmethod
    def open(cls, settings: Settings, clock: Clock) -> Self:
        sealing = Sealing(read_sealing_key(settings.keys.sealing_key_file))
        keyring = Keyring.open(settings.database.url, sealing=sealing, clock=clock)
        # a worker that takes another's place may meet another sealing key: to it, every handle would be unknown
        keyring.signer(DEFAULT_TENANT).public_jwks()
        fetch = settings.fetch
        return cls(
            sealing=sealing,
            keyring=keyring,
            database=Database.open(settings.database.url, sealing=sealing, clock=clock),
            passwords=Argon2Passwords(),
            fetch=HttpsFetch(ca_file=fetch.ca_file, allowed_private_hosts=fetch.allowed_private_hosts),
        )

    async def close(self) -> None:
        await self.database.close()
        self.keyring.close()
        self.passwords.close()
        self.fetch.close()


def _context(settings: Settings, adapters: _Adapters, clock: Clock) -> Context:
    """Everything that the endpoints of the default tenant are given."""
    from fapi_as.kernel.capabilities import grants  # noqa: PLC0415 - in a worker only
    from fapi_as.kernel.seam import Context  # noqa: PLC0415 - in a worker only
    from rs_kit.protocol.dpop import ProofKeys  # noqa: PLC0415 - in a worker only

    store = adapters.database.store(DEFAULT_TENANT)
    features = _features(settings)
    policy = settings.policy(DEFAULT_TENANT)
    client_keys = PublishedKeys(adapters.fetch)
    client_documents: ClientDocuments = NoDocuments()
    if policy.documents is not None:
        client_documents = PublishedDocuments(adapters.fetch, client_keys, store.reading, policy=policy, clock=clock)
    return Context(
        policy=policy,
        store=store,
        store_check=SharedCheck(store),
        signer=adapters.keyring.signer(DEFAULT_TENANT),
        entropy=SystemEntropy(),
        passwords=adapters.passwords,
        client_keys=client_keys,
        client_documents=client_documents,
        certificate_trust=_client_trust(settings.mtls),
        registration_turns=PacedTurns(),
        fetch=adapters.fetch,
        proof_keys=ProofKeys(),
        nonce_key=adapters.sealing.derive("dpop-nonce", DEFAULT_TENANT),
        browser_key=adapters.sealing.derive("browser", DEFAULT_TENANT),
        pairwise_key=adapters.sealing.derive("pairwise", DEFAULT_TENANT),
        features=features,
        grants=grants(features),
    )


def _approvals(settings: Settings) -> Approvals:
    return Approvals.open(settings.database.url, DEFAULT_TENANT)


def _features(settings: Settings) -> tuple[Feature, ...]:
    """What is offered: everything, without what the configuration switches off."""
    from fapi_as.features import ENABLED, client_id_metadata  # noqa: PLC0415 - in a worker only

    off = {"dynamic_registration"} if not settings.registration.enabled else set()
    on = (client_id_metadata.FEATURE,) if settings.client_id_metadata.enabled else ()
    return (*(feature for feature in ENABLED if feature.name not in off), *on)


def _refuse_unsafe_tls(settings: Settings) -> None:
    sections: dict[str, Server | MutualTls] = {"server": settings.server}
    if settings.mtls.enabled:
        sections["mtls"] = settings.mtls
    for name, section in sections.items():
        refusal = server_certificate.refusal(name, section.certificate_file, section.private_key_file)
        if refusal is not None:
            raise ConfigurationError(refusal)
    _proxy_trust(settings.mtls)


def _proxy_trust(mtls: MutualTls) -> ProxyTrust | None:
    """Who may tell what certificate a client has shown to it; None where nobody may.

    Raises:
        ConfigurationError: the rule would let others in, or one of the files cannot be used.
    """
    try:
        return read_proxy_trust(
            networks=mtls.proxy_networks,
            certificates_file=mtls.proxy_certificates_file,
            secret_file=mtls.proxy_secret_file,
        )
    except ValueError as error:
        raise ConfigurationError(f"mtls.client_cert_header: {error}") from None


def _client_trust(mtls: MutualTls) -> CertificateTrust:
    """Whom the default tenant trusts to certify its clients.

    Raises:
        ConfigurationError: one of the files cannot be used.
    """
    if not mtls.enabled or mtls.client_ca_file is None:
        return NoTrust()
    try:
        return ClientTrust.open(mtls.client_ca_file, mtls.client_crl_file)
    except UnusableFile as error:
        raise ConfigurationError(f"mtls.client_ca_file and mtls.client_crl_file: {error}") from None


def _refuse_unusable_authorities(settings: Settings) -> None:
    _client_trust(settings.mtls)
    fetch = settings.fetch
    if fetch.ca_file is None:
        return
    try:
        ssl.create_default_context(cafile=fetch.ca_file)
    except (ssl.SSLError, OSError):
        raise ConfigurationError(f"fetch.ca_file {fetch.ca_file} does not exist or holds no PEM certificates") from None
