"""What operators do to a tenant from the command line: synchronous, one transaction each.

Every change bumps the tenant's epoch, so that running workers see it at once, and writes one audit fact.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Self, TypeVar

from sqlalchemy import ColumnElement, update
from sqlmodel import Session, SQLModel, col, select
from sqlmodel.sql.expression import SelectOfScalar

from fapi_as.adapters.store.changes import Change, Changes
from fapi_as.adapters.store.client_states import Approved
from fapi_as.adapters.store.registered import (
    StoredClient,
    StoredFact,
    StoredResource,
    StoredUser,
    stored_client,
    stored_fact,
    stored_resource,
    stored_user,
)
from fapi_as.adapters.store.statements import beside_the_key
from fapi_as.adapters.store.tables import Audit, Authorization, Client, Resource, User
from fapi_as.protocol.audit_events import AuditEvent, AuditFact, Stamp
from fapi_as.protocol.client_metadata import parse_client, require_client_id, to_metadata
from fapi_as.protocol.local_user import NO_PERSONAL_DATA, PersonalData
from fapi_as.protocol.resource_registration import parse_resource, to_members

_Row = TypeVar("_Row", bound=SQLModel)


class AlreadyExists(Exception):
    """Something with this name is registered; the message is one sentence."""


class NotFound(Exception):
    """Nothing with this name is registered; the message is one sentence."""


class Operators:
    """The registrations and the evidence of one tenant."""

    def __init__(self, changes: Changes, tenant: str) -> None:
        self._changes = changes
        self._tenant = tenant

    @classmethod
    def open(cls, url: str, tenant: str) -> Self:
        """Open a migrated database for one tenant.

        Raises:
            UnsupportedDatabase: another engine than SQLite in a file.
            UnusableDatabase: missing, unreadable, damaged, or of another schema; every method may raise it, too.
        """
        return cls(Changes(url), tenant)

    # --- clients

    def add_client(self, metadata: Mapping[str, object], client_id: str, stamp: Stamp) -> StoredClient:
        """Register a client under an id that is not used yet.

        Raises:
            InvalidClientMetadata: RFC 7591 §3.2.2.
            InvalidRedirectUri: RFC 7591 §3.2.2.
            AlreadyExists: the client_id is registered, or is the subject of a user.
        """
        identifier = require_client_id(client_id)
        with self._changes.change(self._tenant) as change:
            self._refuse_existing(change, Client, identifier, f"client {identifier} is registered already")
            # RFC 9068 §5: a client that acts for itself must not look like a person at a resource (AT-7)
            self._refuse_existing(change, User, identifier, f"{identifier} is the subject of a user")
            registered = parse_client(metadata, client_id=identifier, version=change.epoch)
            row = Client(
                tenant=self._tenant,
                client_id=identifier,
                registration=_json(to_metadata(registered)),
                version=change.epoch,
                enabled=1,
                registered_at=stamp.at,
                changed_at=stamp.at,
            )
            change.session.add(row)
            self._record_client(change, identifier, "added", stamp)
            return stored_client(row, Approved.read(change.session, self._tenant))

    def client(self, client_id: str) -> StoredClient | None:
        """The client with this id, disabled or not."""
        with self._changes.read() as session:
            row = session.get(Client, (self._tenant, client_id))
            return None if row is None else stored_client(row, Approved.read(session, self._tenant))

    def clients(self) -> tuple[StoredClient, ...]:
        """Every client, disabled ones too, by id."""
        with self._changes.read() as session:
            rows = session.exec(select(Client).where(Client.tenant == self._tenant).order_by(Client.client_id))
            approved = Approved.read(session, self._tenant)
            return tuple(stored_client(row, approved) for row in rows)

    def set_client_enabled(self, client_id: str, stamp: Stamp, *, enabled: bool) -> None:
        """Let a client in or keep it out.

        Raises:
            NotFound: no such client.
        """
        with self._changes.change(self._tenant) as change:
            row = self._existing(change.session, Client, client_id, f"there is no client {client_id}")
            row.enabled, row.version, row.changed_at = int(enabled), change.epoch, stamp.at
            self._record_client(change, client_id, _switched(enabled=enabled), stamp)

    def remove_client(self, client_id: str, stamp: Stamp) -> None:
        """Remove a client: nothing is issued to it any more, nor to whoever gets its name later (DCR-19).

        Raises:
            NotFound: no such client.
        """
        with self._changes.change(self._tenant) as change:
            change.session.delete(self._existing(change.session, Client, client_id, f"there is no client {client_id}"))
            of_client = (beside_the_key(Authorization) == self._tenant) & (col(Authorization.client_id) == client_id)
            self._end_authorizations(change, of_client, stamp.at)
            self._record_client(change, client_id, "removed", stamp)

    def _end_authorizations(self, change: Change, whose: ColumnElement[bool], at: int) -> None:
        live = whose & col(Authorization.revoked_at).is_(None)
        change.session.connection().execute(update(Authorization).where(live).values(revoked_at=at))

    def _record_client(self, change: Change, client_id: str, detail: str, stamp: Stamp) -> None:
        change.record(AuditFact(event=AuditEvent.CLIENT_CHANGED, detail=detail, client_id=client_id), stamp)

    # --- users

    def add_user(
        self, username: str, subject: str, password_hash: str, stamp: Stamp, personal: PersonalData = NO_PERSONAL_DATA
    ) -> StoredUser:
        """Add a user; the subject is random and was never used before.

        Raises:
            AlreadyExists: the name or the subject is taken, also by a client.
        """
        with self._changes.change(self._tenant) as change:
            self._refuse_existing(change, User, subject, "the subject is used already")
            self._refuse_existing(change, Client, subject, "the subject is the client_id of a client")  # AT-7
            if self._user(change.session, username) is not None:
                raise AlreadyExists(f"user {username} exists already")
            row = User(
                tenant=self._tenant,
                subject=subject,
                username=username,
                password_hash=password_hash,
                version=change.epoch,
                enabled=1,
                registered_at=stamp.at,
                changed_at=stamp.at,
                name=personal.name,
                email=personal.email,
            )
            change.session.add(row)
            self._record_user(change, subject, "added", stamp)
            return stored_user(row)

    def set_password(self, username: str, password_hash: str, stamp: Stamp) -> None:
        """Give a user another password; the new version ends what the old one allowed (OA-RT-4).

        Raises:
            NotFound: no such user.
        """
        with self._changes.change(self._tenant) as change:
            row = self._existing_user(change.session, username)
            row.password_hash, row.version, row.changed_at = password_hash, change.epoch, stamp.at
            self._end_allowed_by(change, row.subject, stamp.at)
            self._record_user(change, row.subject, "password changed", stamp)

    def users(self) -> tuple[StoredUser, ...]:
        """Every user, disabled ones too, by name."""
        with self._changes.read() as session:
            rows = session.exec(select(User).where(User.tenant == self._tenant).order_by(User.username))
            return tuple(stored_user(row) for row in rows)

    def set_user_enabled(self, username: str, stamp: Stamp, *, enabled: bool) -> None:
        """Let a user in or keep the user out; either way what was allowed before ends.

        Raises:
            NotFound: no such user.
        """
        with self._changes.change(self._tenant) as change:
            row = self._existing_user(change.session, username)
            row.enabled, row.version, row.changed_at = int(enabled), change.epoch, stamp.at
            self._end_allowed_by(change, row.subject, stamp.at)
            self._record_user(change, row.subject, _switched(enabled=enabled), stamp)

    def remove_user(self, username: str, stamp: Stamp) -> None:
        """Remove a user.

        Raises:
            NotFound: no such user.
        """
        with self._changes.change(self._tenant) as change:
            row = self._existing_user(change.session, username)
            change.session.delete(row)
            self._end_allowed_by(change, row.subject, stamp.at)
            self._record_user(change, row.subject, "removed", stamp)

    def _end_allowed_by(self, change: Change, subject: str, at: int) -> None:
        """An access token knows no version of its user: for userinfo it ends with what it came from (OIDC-50)."""
        of_user = (col(Authorization.tenant) == self._tenant) & (col(Authorization.subject) == subject)
        self._end_authorizations(change, of_user, at)

    def _user(self, session: Session, username: str) -> User | None:
        return session.exec(select(User).where(User.tenant == self._tenant, User.username == username)).one_or_none()

    def _existing_user(self, session: Session, username: str) -> User:
        row = self._user(session, username)
        if row is None:
            raise NotFound(f"there is no user {username}")
        return row

    def _record_user(self, change: Change, subject: str, detail: str, stamp: Stamp) -> None:
        change.record(AuditFact(event=AuditEvent.USER_CHANGED, detail=detail, subject=subject), stamp)

    # --- resources

    def add_resource(self, members: Mapping[str, object], stamp: Stamp) -> StoredResource:
        """Register a protected resource.

        Raises:
            InvalidResourceMetadata: the file is wrong.
            AlreadyExists: the URI is registered.
        """
        with self._changes.change(self._tenant) as change:
            registered = parse_resource(members, version=change.epoch)
            uri = registered.resource
            self._refuse_existing(change, Resource, uri, f"resource {uri} is registered already")
            row = Resource(
                tenant=self._tenant,
                resource=uri,
                registration=_json(to_members(registered)),
                version=change.epoch,
                enabled=1,
                registered_at=stamp.at,
                changed_at=stamp.at,
            )
            change.session.add(row)
            self._record_resource(change, uri, "added", stamp)
            return stored_resource(row)

    def resource(self, uri: str) -> StoredResource | None:
        """The resource with this URI."""
        with self._changes.read() as session:
            row = session.get(Resource, (self._tenant, uri))
            return None if row is None else stored_resource(row)

    def resources(self) -> tuple[StoredResource, ...]:
        """Every resource, by URI."""
        with self._changes.read() as session:
            rows = session.exec(select(Resource).where(Resource.tenant == self._tenant).order_by(Resource.resource))
            return tuple(stored_resource(row) for row in rows)

    def remove_resource(self, uri: str, stamp: Stamp) -> None:
        """Remove a resource: no token for it is issued any more.

        Raises:
            NotFound: no such resource.
        """
        with self._changes.change(self._tenant) as change:
            change.session.delete(self._existing(change.session, Resource, uri, f"there is no resource {uri}"))
            self._record_resource(change, uri, "removed", stamp)

    def _record_resource(self, change: Change, uri: str, detail: str, stamp: Stamp) -> None:
        change.record(AuditFact(event=AuditEvent.RESOURCE_CHANGED, detail=detail, resource=uri), stamp)

    # --- evidence

    def audit(self, after: int = 0, limit: int = 100) -> tuple[StoredFact, ...]:
        """Facts with an id above `after`, oldest first."""
        with self._changes.read() as session:
            rows = session.exec(self._facts().where(col(Audit.id) > after).order_by(col(Audit.id)).limit(limit))
            return tuple(stored_fact(row) for row in rows)

    def audit_tail(self, limit: int = 20) -> tuple[StoredFact, ...]:
        """The last facts, oldest first."""
        with self._changes.read() as session:
            rows = session.exec(self._facts().order_by(col(Audit.id).desc()).limit(limit)).all()
            return tuple(stored_fact(row) for row in reversed(rows))

    def explain(self, correlation_id: str) -> tuple[StoredFact, ...]:
        """The facts of one request: its refusals, by index; else whatever it did, by reading them all."""
        facts = self._facts().where(Audit.correlation_id == correlation_id).order_by(col(Audit.id))
        with self._changes.read() as session:
            refusals: Sequence[Audit] = session.exec(facts.where(col(Audit.error).is_not(None))).all()
            return tuple(stored_fact(row) for row in refusals or session.exec(facts).all())

    def _facts(self) -> SelectOfScalar[Audit]:
        return select(Audit).where(Audit.tenant == self._tenant)

    # --- rows

    def _existing(self, session: Session, model: type[_Row], identifier: str, otherwise: str) -> _Row:
        row = session.get(model, (self._tenant, identifier))
        if row is None:
            raise NotFound(otherwise)
        return row

    def _refuse_existing(self, change: Change, model: type[_Row], identifier: str, otherwise: str) -> None:
        if change.session.get(model, (self._tenant, identifier)) is not None:
            raise AlreadyExists(otherwise)


def _json(members: Mapping[str, object]) -> str:
    return json.dumps(members, ensure_ascii=False, separators=(",", ":"))


def _switched(*, enabled: bool) -> str:
    return "enabled" if enabled else "disabled"
