"""What `load` asks: hot reads run inline on a read-only connection, a few microseconds each."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from fapi_as.adapters.store.approver_statements import approver_statements
from fapi_as.adapters.store.approvers import Approver, parsed_approver, parsed_initial_token
from fapi_as.adapters.store.registration_statements import registration_statements, software_of
from fapi_as.adapters.store.sealed_payload import BrokenSeal, Seal, associated_data
from fapi_as.adapters.store.statements import attempt_room, statements
from fapi_as.protocol.authorization import LiveAuthorization
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.effects import Attempt, HandleKind, Register
from fapi_as.protocol.errors import ProtocolError, StorageUnavailable
from fapi_as.protocol.handles import KeptHandle
from fapi_as.protocol.registration import InitialAccessToken, KeptRegistration, TrustedAuthority
from fapi_as.protocol.registration_policy import under_policy
from fapi_as.protocol.resource import RegisteredResource
from fapi_as.protocol.resource_registration import parse_resource
from fapi_as.protocol.user import RegisteredUser
from rs_kit.protocol.strict_json import InvalidJson, parse_object

_logger: Final = logging.getLogger("fapi_as.store")
_CLIENTS_KEPT: Final = 4096
_CLIENTS_LOOKED_AT: Final = 200  # of one software, for an unfinished one: here it is the event loop that looks
_BUSY_SECONDS: Final = 0.05  # readers of a write-ahead log do not wait for writers; never hold the event loop longer


class Reader:
    """A read-only connection that opens itself again after a failure."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._epochs: dict[str, int] = {}  # of this turn of the event loop

    def epoch(self, tenant: str) -> int:
        """What an operator's change of this tenant bumps; asked once per turn of the event loop.

        Whoever decides on facts of a turn ago is told by `Require`, in the transaction, that they are stale.

        Raises:
            StorageUnavailable: the store cannot answer.
        """
        known = self._epochs.get(tenant)
        if known is not None:
            return known
        row = self.one(statements().epoch, (tenant,))
        epoch = 0 if row is None else int(row[0])
        with contextlib.suppress(RuntimeError):  # a command has no loop, and asks every time
            asyncio.get_running_loop().call_soon(self._epochs.clear)
            self._epochs[tenant] = epoch
        return epoch

    def one(self, text: str, parameters: tuple[object, ...]) -> tuple[Any, ...] | None:
        """The only row, if there is one.

        Raises:
            StorageUnavailable: the store cannot answer.
        """
        rows = self.all(text, parameters)
        return rows[0] if rows else None

    def all(self, text: str, parameters: tuple[object, ...]) -> list[tuple[Any, ...]]:
        """Every row; the read transaction has ended when this returns.

        Raises:
            StorageUnavailable: the store cannot answer.
        """
        try:
            connection = self._connection = self._connection or self._open()
            return connection.execute(text, parameters).fetchall()
        except UnicodeEncodeError:
            return []  # a lone surrogate, which JSON can spell (JOS-16): no stored name has one
        except sqlite3.Error as error:
            self.close()
            raise StorageUnavailable(f"read: {error}") from error

    def close(self) -> None:
        """Close the connection; a later read opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(self._path.absolute()))}?mode=ro",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,  # opened by bootstrap, used by the event loop
            cached_statements=64,
        )
        connection.execute("PRAGMA query_only=ON")
        return connection


class SqliteReading:
    """The Reading port of one tenant.

    Clients and resources are parsed once per epoch; what an operator changes bumps it, so nobody sees a stale one.
    """

    def __init__(self, tenant: str, reader: Reader, seal: Seal) -> None:
        self._tenant = tenant
        self._reader = reader
        self._seal = seal
        self._text = statements()
        self._approver_text = approver_statements()
        self._registration_text = registration_statements()
        self._epoch = -1
        self._clients: dict[str, RegisteredClient] = {}
        self._approvers: dict[str, Approver | None] = {}
        self._resources: dict[str, RegisteredResource] | None = None

    def _refresh(self) -> None:
        epoch = self._reader.epoch(self._tenant)
        if epoch != self._epoch:
            self._clients.clear()
            self._approvers.clear()
            self._resources = None
            self._epoch = epoch

    async def client(self, client_id: str) -> RegisteredClient | None:
        """The live client with this id."""
        self._refresh()
        known = self._clients.get(client_id)
        if known is not None:
            return known
        row = self._reader.one(self._text.client, (self._tenant, client_id))
        if row is None:
            return None  # not remembered: strangers choose these names
        found = self._as_approved(client_id, *row)
        if found is not None:
            if len(self._clients) >= _CLIENTS_KEPT:
                del self._clients[next(iter(self._clients))]
            self._clients[client_id] = found
        return found

    def forget_client(self, client_id: str) -> None:
        """Read it anew at the next time, because it was just used."""
        self._clients.pop(client_id, None)

    async def registration(self, client_id: str) -> KeptRegistration | None:
        """The live client with this id as it was registered, where it has a registration access token."""
        row = self._reader.one(self._approver_text.registration, (self._tenant, client_id))
        if row is None:
            return None
        registration, version, approver, last_used_at, *kept = row
        client = _parsed_client(client_id, registration, version)
        approved_by = self._approver(approver)
        if client is None or approved_by is None:
            return None
        registered_at, statement, jti, software_id, token_digest, previous_token_digest, token_jkt = kept
        return KeptRegistration(
            client=replace(client, approval=approved_by.approval, last_used_at=last_used_at),
            registered_at=registered_at,
            approver=approver,
            policy=approved_by.policy if approved_by.approves else None,
            statement=statement,
            statement_jti=jti,
            software_id=software_id,
            token_digest=token_digest,
            previous_token_digest=previous_token_digest,
            token_jkt=token_jkt,
        )

    async def authority(self, issuer: str) -> TrustedAuthority | None:
        """The authority with this `iss`, unless it is suspended."""
        found = self._approver(issuer)
        return None if found is None else found.authority

    async def initial_access_token(self, digest: bytes) -> InitialAccessToken | None:
        """The initial access token with this digest, used up or over or not, unless it is revoked."""
        row = self._reader.one(self._approver_text.initial_access_token, (self._tenant, digest))
        return None if row is None else parsed_initial_token(*row)

    async def is_withdrawn(self, issuer: str, jti: str, software_id: str) -> bool:
        """Whether a statement of this authority, or the software that it is about, was revoked here."""
        named = (self._tenant, issuer, jti, issuer, software_id)
        return self._reader.one(self._approver_text.is_withdrawn, named) is not None

    async def is_blocked(self, client_id: str) -> bool:
        """Whether a client that has a metadata document may not be used here."""
        return self._reader.one(self._approver_text.require_document, (self._tenant, client_id)) is None

    def _as_approved(
        self, client_id: str, registration: str, version: int, approver: str | None, last_used_at: int | None
    ) -> RegisteredClient | None:
        client = _parsed_client(client_id, registration, version)
        if client is None or approver is None:
            return client
        found = self._approver(approver)
        if found is None:
            return None
        approved = replace(client, approval=found.approval, last_used_at=last_used_at)
        return under_policy(approved, found.policy)

    def _approver(self, name: str) -> Approver | None:
        """One that may still approve, or an initial access token that once did; asked for once per epoch."""
        self._refresh()
        if name not in self._approvers:
            row = self._reader.one(self._approver_text.approver, (self._tenant, name))
            if row is None:
                return None  # not remembered: strangers choose these names
            self._approvers[name] = parsed_approver(name, *row)
        return self._approvers[name]

    async def resource(self, resource: str) -> RegisteredResource | None:
        """The live resource with this URI."""
        return self._live_resources().get(resource)

    async def resources(self) -> tuple[RegisteredResource, ...]:
        """All live resources."""
        return tuple(self._live_resources().values())

    def _live_resources(self) -> dict[str, RegisteredResource]:
        self._refresh()
        if self._resources is None:
            rows = self._reader.all(self._text.resources, (self._tenant,))
            found = (_parsed_resource(registration, version) for registration, version in rows)
            self._resources = {resource.resource: resource for resource in found if resource is not None}
        return self._resources

    async def handle(self, kind: HandleKind, digest: bytes) -> KeptHandle | None:
        """A handle of this kind, spent or not, as long as its row is kept; looking does not spend."""
        row = self._reader.one(self._text.handle, (self._tenant, kind.value, digest))
        if row is None:
            return None
        sealed, client_id, subject, authorization_id, usable_until, spent_at, has_ended = row
        try:
            payload = self._seal.open(sealed, associated_data(self._tenant, kind, digest))
        except BrokenSeal:
            # moved, planted or changed behind our back (STO-09): as if it did not exist, but somebody must hear of it
            _logger.error(  # noqa: TRY400 - the trace would show nothing but this line
                "a stored handle has a broken seal", extra={"tenant": self._tenant, "kind": kind.value}
            )
            return None
        return KeptHandle(
            kind=kind,
            digest=digest,
            payload=payload,
            client_id=client_id,
            subject=subject,
            authorization_id=authorization_id,
            usable_until=usable_until,
            spent=spent_at is not None,
            revoked=bool(has_ended),
        )

    async def authorization(self, authorization_id: str, now: int) -> LiveAuthorization | None:
        """An authorization that has not ended."""
        row = self._reader.one(self._text.authorization, (self._tenant, authorization_id, now))
        return None if row is None else LiveAuthorization(client_id=row[0], subject=row[1])

    async def is_allowed_something(self, client_id: str, now: int) -> bool:
        """Whether a client with this id has an authorization that has not ended."""
        return self._reader.one(self._text.live_of_client, (self._tenant, client_id, now)) is not None

    async def has_room(self, effect: Attempt | Register, now: int) -> bool:
        """Whether this would find room now; only the transaction decides, and what has none needs no transaction.

        Where to look would take long, there is room.
        """
        if isinstance(effect, Attempt):
            return self._reader.one(self._text.has_room, attempt_room(self._tenant, effect, now)) is not None
        software, text = software_of(self._tenant, effect), self._registration_text
        if effect.software_limit > _CLIENTS_LOOKED_AT:
            return True
        if self._reader.one(text.is_full, (*software, effect.software_limit)) is None:
            return True
        return self._reader.one(text.oldest_unfinished, (*software, effect.unfinished_before)) is not None

    async def user_named(self, username: str) -> RegisteredUser | None:
        """The user with this name, disabled ones too (the caller decides after the password)."""
        return _user(self._reader.one(self._text.user_named, (self._tenant, username)))

    async def user(self, subject: str) -> RegisteredUser | None:
        """The live user with this subject."""
        return _user(self._reader.one(self._text.user, (self._tenant, subject)))


def _parsed_client(client_id: str, registration: str, version: int) -> RegisteredClient | None:
    try:
        return parse_client(parse_object(registration.encode()), client_id=client_id, version=version)
    except (ProtocolError, InvalidJson) as error:
        _unreadable("client", client_id, error)
        return None


def _parsed_resource(registration: str, version: int) -> RegisteredResource | None:
    try:
        return parse_resource(parse_object(registration.encode()), version=version)
    except (ProtocolError, InvalidJson) as error:
        _unreadable("resource", registration, error)
        return None


def _unreadable(what: str, name: str, error: Exception) -> None:
    """A row that an older version accepted, or that somebody planted: absent until an operator repairs it."""
    _logger.error("a stored %s is not valid any more: %r: %s", what, name[:200], error)


def _user(row: tuple[Any, ...] | None) -> RegisteredUser | None:
    if row is None:
        return None
    subject, username, version, password_hash, enabled, name, email = row
    return RegisteredUser(
        subject=subject,
        username=username,
        version=version,
        password_hash=password_hash,
        disabled=not enabled,
        name=name,
        email=email,
    )
