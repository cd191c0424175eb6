"""The Store port in dicts: what every rule is tested with, judged by the same contract suite as SQLite."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import assert_never

from fapi_as.protocol.audit_events import AuditEvent, AuditFact, Stamp
from fapi_as.protocol.authorization import LiveAuthorization
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.decisions import Decision, meaning_of_loss
from fapi_as.protocol.effects import (
    Attempt,
    Effect,
    Forget,
    GiveBack,
    HandleKind,
    Keep,
    MarkUsed,
    Open,
    Record,
    Register,
    ReplaceRegistration,
    Require,
    Required,
    Revoke,
    Spend,
    SpendInitialToken,
    TakeOnce,
    Touch,
    Unregister,
    UseRegistrationToken,
)
from fapi_as.protocol.errors import StorageUnavailable
from fapi_as.protocol.handles import KeptHandle
from fapi_as.protocol.registration import InitialAccessToken, KeptRegistration, TrustedAuthority
from fapi_as.protocol.resource import RegisteredResource
from fapi_as.protocol.user import RegisteredUser
from tests.support.memory_attempts import Attempts, counted, has_room
from tests.support.memory_registrations import Approvers, MemoryRegistrations, RegistrationEffect, RegistrationRows


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFact:
    """One row of the audit table: the fact and its stamp."""

    fact: AuditFact
    stamp: Stamp


@dataclass(slots=True, kw_only=True)
class _Rows:
    """Everything that a decision may change; values are frozen, so a copy of the dicts is a snapshot."""

    once: dict[tuple[str, bytes], int] = field(default_factory=dict)
    handles: dict[tuple[HandleKind, bytes], Keep] = field(default_factory=dict)
    spent: set[tuple[HandleKind, bytes]] = field(default_factory=set)
    authorizations: dict[str, Open] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    attempts: Attempts = field(default_factory=dict)
    facts: list[WrittenFact] = field(default_factory=list)
    registrations: RegistrationRows = field(default_factory=RegistrationRows)

    def snapshot(self) -> _Rows:
        return _Rows(
            once=dict(self.once),
            handles=dict(self.handles),
            spent=set(self.spent),
            authorizations=dict(self.authorizations),
            revoked=set(self.revoked),
            attempts=dict(self.attempts),
            facts=list(self.facts),
            registrations=self.registrations.snapshot(),
        )


class MemoryStore:
    """The Store of one tenant in dicts; another tenant is another MemoryStore.

    `unavailable = True` makes every read and commit raise StorageUnavailable until it is False again.
    A handle whose authorization was never opened counts as revoked, as in SQLite: open the family first.
    """

    def __init__(self) -> None:
        self.unavailable = False
        self.clients: dict[str, RegisteredClient] = {}
        self.users: dict[str, RegisteredUser] = {}
        self.resources: dict[str, RegisteredResource] = {}
        self.approvers = Approvers()
        self.rows = _Rows()
        self._reading = MemoryReading(self)

    @property
    def registrations(self) -> MemoryRegistrations:
        """The clients that decisions registered."""
        return MemoryRegistrations(self.rows.registrations, self.approvers)

    @property
    def reading(self) -> MemoryReading:
        return self._reading

    async def commit(self, decision: Decision, stamp: Stamp) -> Decision:
        """One transaction; callers that wait at the same time interleave before it, never within it."""
        await asyncio.sleep(0)
        self.check_available()
        while True:
            before = self.rows.snapshot()
            lost = next((effect for effect in decision.effects if not self._apply(effect, stamp)), None)
            if lost is None:
                return decision
            self.rows = before
            decision = meaning_of_loss(decision, lost)

    # --- what a test puts in and reads out

    def put_client(self, client: RegisteredClient) -> None:
        """Register a client, or replace it (give it another version then)."""
        self.clients[client.client_id] = client

    def remove_client(self, client_id: str) -> None:
        """Remove or disable: both are absent for Reading and lost for Require."""
        if self.clients.pop(client_id, None) is None:
            del self.rows.registrations.clients[client_id]

    def suspend(self, approver: str) -> None:
        """Suspend an authority, which ends what its clients were allowed, or revoke an initial access token."""
        self.approvers.suspended.add(approver)
        for row in tuple(self.rows.registrations.clients.values()):
            if row.approver == approver and approver in self.approvers.authorities:
                self._end_all(row.client_id)

    def withdraw(self, kind: str, issuer: str, name: str, *, version: int) -> None:
        """Withdraw a "statement" or a "software"; the authority has this version then."""
        self.approvers.withdrawn.add((kind, issuer, name))
        self.approvers.bump(issuer, version)
        for row in tuple(self.rows.registrations.clients.values()):
            if row.approver == issuer and self.approvers.has_withdrawn(row):
                self._end_all(row.client_id)

    def block(self, client_id: str) -> None:
        """Keep out a client that has a metadata document."""
        self.approvers.blocked.add(client_id)
        self._end_all(client_id)

    def put_user(self, user: RegisteredUser) -> None:
        """Add a user by subject, or replace it; `disabled=True` users are only found by name."""
        self.users[user.subject] = user

    def put_resource(self, resource: RegisteredResource) -> None:
        """Register a resource, or replace it."""
        self.resources[resource.resource] = resource

    def remove_resource(self, resource: str) -> None:
        """Remove a resource."""
        del self.resources[resource]

    def put_authorization(self, authorization: Open) -> None:
        """Open a family without a decision."""
        self.rows.authorizations[authorization.authorization_id] = authorization

    def put_handle(self, handle: Keep) -> None:
        """Keep a handle without a decision."""
        self.rows.handles[handle.kind, handle.digest] = handle

    @property
    def written(self) -> tuple[WrittenFact, ...]:
        """Every audit fact with its stamp, in order."""
        return tuple(self.rows.facts)

    @property
    def facts(self) -> tuple[AuditFact, ...]:
        """Every audit fact, in order."""
        return tuple(written.fact for written in self.rows.facts)

    def facts_of(self, event: AuditEvent) -> tuple[AuditFact, ...]:
        """The audit facts of one event, in order."""
        return tuple(fact for fact in self.facts if fact.event is event)

    def handles_of(self, kind: HandleKind) -> tuple[Keep, ...]:
        """What was kept of one kind, spent or not, in order."""
        return tuple(handle for handle in self.rows.handles.values() if handle.kind is kind)

    def is_spent(self, kind: HandleKind, digest: bytes) -> bool:
        """Whether a handle was spent."""
        return (kind, digest) in self.rows.spent

    def has_ended(self, authorization_id: str | None) -> bool:
        """Whether a family was revoked or never opened; handles without a family never end."""
        if authorization_id is None:
            return False
        return authorization_id not in self.rows.authorizations or authorization_id in self.rows.revoked

    def check_available(self) -> None:
        """Raises StorageUnavailable when the test has switched the store off."""
        if self.unavailable:
            raise StorageUnavailable("the store is switched off")

    # --- effects

    def _apply(self, effect: Effect, stamp: Stamp) -> bool:
        match effect:
            case TakeOnce():
                return self._take_once(effect, stamp.at)
            case Spend():
                return self._spend(effect)
            case Keep():
                return self._keep(effect)
            case Touch():
                return self._touch(effect)
            case Open():
                return self._open(effect)
            case Revoke():
                if effect.authorization_id in self.rows.authorizations:
                    self.rows.revoked.add(effect.authorization_id)
                return True
            case Attempt():
                return counted(self.rows.attempts, effect, stamp.at)
            case Forget():
                self.rows.attempts.pop(effect.bucket, None)
                return True
            case GiveBack():
                self.rows.attempts[effect.bucket] = self.rows.attempts.get(effect.bucket, ())[:-1]
                return True
            case Require():
                return self._require(effect, stamp.at)
            case Record():
                self._record(effect.fact, stamp)
                return True
            case (
                Register()
                | ReplaceRegistration()
                | UseRegistrationToken()
                | Unregister()
                | MarkUsed()
                | SpendInitialToken()
            ):
                return self._apply_to_registrations(effect, stamp)
        assert_never(effect)

    def _apply_to_registrations(self, effect: RegistrationEffect, stamp: Stamp) -> bool:
        if isinstance(effect, Register) and effect.client_id in self.clients:
            return False
        return self.registrations.apply(effect, stamp.at, lambda fact: self._record(fact, stamp), self._end_all)

    def _record(self, fact: AuditFact, stamp: Stamp) -> None:
        self.rows.facts.append(WrittenFact(fact=fact, stamp=stamp))

    def _end_all(self, client_id: str) -> None:
        """End everything that a client was allowed."""
        opened = self.rows.authorizations.values()
        self.rows.revoked |= {family.authorization_id for family in opened if family.client_id == client_id}

    def _take_once(self, effect: TakeOnce, now: int) -> bool:
        taken_until = self.rows.once.get((effect.namespace, effect.digest))
        if taken_until is not None and taken_until >= now:
            return False
        self.rows.once[effect.namespace, effect.digest] = effect.until
        return True

    def _is_usable(self, kind: HandleKind, digest: bytes) -> bool:
        handle = self.rows.handles.get((kind, digest))
        if handle is None or (kind, digest) in self.rows.spent:
            return False
        return not self.has_ended(handle.authorization_id)

    def _spend(self, effect: Spend) -> bool:
        if not self._is_usable(effect.kind, effect.digest):
            return False
        self.rows.spent.add((effect.kind, effect.digest))
        return True

    def _keep(self, effect: Keep) -> bool:
        if (effect.kind, effect.digest) in self.rows.handles:
            return False
        self.rows.handles[effect.kind, effect.digest] = effect
        return True

    def _touch(self, effect: Touch) -> bool:
        if not self._is_usable(effect.kind, effect.digest):
            return False
        handle = self.rows.handles[effect.kind, effect.digest]
        self.rows.handles[effect.kind, effect.digest] = replace(
            handle, usable_until=effect.usable_until, delete_after=effect.delete_after
        )
        return True

    def _open(self, effect: Open) -> bool:
        if effect.authorization_id in self.rows.authorizations:
            return False
        self.rows.authorizations[effect.authorization_id] = effect
        return True

    def _require(self, effect: Require, now: int) -> bool:
        match effect.required:
            case Required.CLIENT:
                client = self.clients.get(effect.identifier)
                if client is None:
                    return self.registrations.require(effect)
                return effect.version in {None, client.version}
            case Required.APPROVER | Required.DOCUMENT:
                return self.registrations.require(effect)
            case Required.USER:
                user = self.users.get(effect.identifier)
                return user is not None and not user.disabled and effect.version in {None, user.version}
            case Required.RESOURCE:
                resource = self.resources.get(effect.identifier)
                return resource is not None and effect.version in {None, resource.version}
            case Required.AUTHORIZATION:  # has no versions, so none can be asked for
                authorization = self.rows.authorizations.get(effect.identifier)
                if authorization is None or effect.version is not None or self.has_ended(effect.identifier):
                    return False
                return now < authorization.expires_at
        assert_never(effect.required)


class MemoryReading:
    """The reads of a MemoryStore."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def client(self, client_id: str) -> RegisteredClient | None:
        self._store.check_available()
        client = self._store.clients.get(client_id)
        registrations = self._store.registrations
        return registrations.client(client_id) if client is None else registrations.put_in(client)

    async def registration(self, client_id: str) -> KeptRegistration | None:
        self._store.check_available()
        return self._store.registrations.registration(client_id)

    async def authority(self, issuer: str) -> TrustedAuthority | None:
        self._store.check_available()
        return self._store.registrations.authority(issuer)

    async def initial_access_token(self, digest: bytes) -> InitialAccessToken | None:
        self._store.check_available()
        return self._store.registrations.initial_access_token(digest)

    async def is_withdrawn(self, issuer: str, jti: str, software_id: str) -> bool:
        self._store.check_available()
        return self._store.registrations.is_withdrawn(issuer, jti, software_id)

    async def is_blocked(self, client_id: str) -> bool:
        self._store.check_available()
        return self._store.registrations.is_blocked(client_id)

    async def resource(self, resource: str) -> RegisteredResource | None:
        self._store.check_available()
        return self._store.resources.get(resource)

    async def resources(self) -> tuple[RegisteredResource, ...]:
        self._store.check_available()
        return tuple(resource for _, resource in sorted(self._store.resources.items()))

    async def handle(self, kind: HandleKind, digest: bytes) -> KeptHandle | None:
        self._store.check_available()
        kept = self._store.rows.handles.get((kind, digest))
        if kept is None:
            return None
        return KeptHandle(
            kind=kept.kind,
            digest=kept.digest,
            payload=kept.payload,
            client_id=kept.client_id,
            subject=kept.subject,
            authorization_id=kept.authorization_id,
            usable_until=kept.usable_until,
            spent=self._store.is_spent(kind, digest),
            revoked=self._store.has_ended(kept.authorization_id),
        )

    async def authorization(self, authorization_id: str, now: int) -> LiveAuthorization | None:
        self._store.check_available()
        opened = self._store.rows.authorizations.get(authorization_id)
        if opened is None or self._store.has_ended(authorization_id) or now >= opened.expires_at:
            return None
        return LiveAuthorization(client_id=opened.client_id, subject=opened.subject)

    async def is_allowed_something(self, client_id: str, now: int) -> bool:
        live = [await self.authorization(name, now) for name in self._store.rows.authorizations]
        return any(found is not None and found.client_id == client_id for found in live)

    async def has_room(self, effect: Attempt | Register, now: int) -> bool:
        self._store.check_available()
        if isinstance(effect, Attempt):
            return has_room(self._store.rows.attempts, effect, now)
        return self._store.registrations.has_room(effect)

    async def user_named(self, username: str) -> RegisteredUser | None:
        self._store.check_available()
        return next((user for user in self._store.users.values() if user.username == username), None)

    async def user(self, subject: str) -> RegisteredUser | None:
        self._store.check_available()
        user = self._store.users.get(subject)
        return None if user is None or user.disabled else user
