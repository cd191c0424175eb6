"""What an operator is shown of the rows of a tenant."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from fapi_as.adapters.store.client_states import Approved, ClientState
from fapi_as.adapters.store.tables import Approver, Audit, Client, Resource, User, Withdrawn
from fapi_as.protocol.audit_events import AuditEvent, AuditFact, Stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredClient:
    """A client as it is registered; `metadata` as RFC 7591 §3.2.1 shows it.

    One that an operator registered has no approver and no end, and nobody keeps when it was used. The times of the
    others are NumericDate; they end at `expires_at`, unless they are used or something still lives that they got.
    """

    client_id: str
    metadata: Mapping[str, object]
    enabled: bool
    version: int
    registered_at: int
    changed_at: int
    state: ClientState
    approver: str | None
    software_id: str | None
    last_used_at: int | None
    expires_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredUser:
    """A user without the password."""

    username: str
    subject: str
    enabled: bool
    version: int
    registered_at: int
    changed_at: int
    name: str | None = None
    email: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResource:
    """A resource; `members` as its file says."""

    resource: str
    members: Mapping[str, object]
    enabled: bool
    version: int
    registered_at: int
    changed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredApprover:
    """An authority, by its `iss`, or an initial access token; `members` as its file says, never a credential.

    Only a token has `uses_left` and `expires_at`, a NumericDate. `clients` are those that it let in and that are there.
    """

    name: str
    members: Mapping[str, object]
    enabled: bool
    version: int
    registered_at: int
    changed_at: int
    uses_left: int | None
    expires_at: int | None
    clients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredWithdrawal:
    """What counts no more; `kind` is statement, software or client, and `name` its jti, software_id or client_id."""

    kind: str
    name: str
    withdrawn_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFact:
    """One audit fact with its stamp and its place in the order of commits."""

    id: int
    fact: AuditFact
    stamp: Stamp


def stored_client(row: Client, approved: Approved) -> StoredClient:
    """A row of clients, and what has become of it."""
    return StoredClient(
        client_id=row.client_id,
        metadata=json.loads(row.registration),
        enabled=bool(row.enabled),
        version=row.version,
        registered_at=row.registered_at,
        changed_at=row.changed_at,
        state=approved.state(row),
        approver=row.approver,
        software_id=row.software_id,
        last_used_at=row.last_used_at,
        expires_at=row.expires_at,
    )


def stored_user(row: User) -> StoredUser:
    """A row of users."""
    return StoredUser(
        username=row.username,
        subject=row.subject,
        enabled=bool(row.enabled),
        version=row.version,
        registered_at=row.registered_at,
        changed_at=row.changed_at,
        name=row.name,
        email=row.email,
    )


def stored_resource(row: Resource) -> StoredResource:
    """A row of resources."""
    return StoredResource(
        resource=row.resource,
        members=json.loads(row.registration),
        enabled=bool(row.enabled),
        version=row.version,
        registered_at=row.registered_at,
        changed_at=row.changed_at,
    )


def stored_approver(row: Approver, clients: int) -> StoredApprover:
    """A row of approvers, and how many clients it has."""
    return StoredApprover(
        name=row.approver,
        members=json.loads(row.registration),
        enabled=bool(row.enabled),
        version=row.version,
        registered_at=row.registered_at,
        changed_at=row.changed_at,
        uses_left=row.uses_left,
        expires_at=row.expires_at,
        clients=clients,
    )


def stored_withdrawal(row: Withdrawn) -> StoredWithdrawal:
    """A row of what was withdrawn."""
    return StoredWithdrawal(kind=row.kind, name=row.name, withdrawn_at=row.withdrawn_at)


def stored_fact(row: Audit) -> StoredFact:
    """A row of the audit."""
    return StoredFact(
        id=row.id or 0,
        fact=AuditFact(
            event=AuditEvent(row.event),
            error=row.error,
            detail=row.detail,
            client_id=row.client_id,
            subject=row.subject,
            authorization_id=row.authorization_id,
            resource=row.resource,
            scope=row.scope,
            jkt=row.jkt,
            x5t=row.x5t,
        ),
        stamp=Stamp(at=row.at, correlation_id=row.correlation_id, endpoint=row.endpoint, source=row.source),
    )
