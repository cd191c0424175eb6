"""What the store in memory keeps of registrations and of whoever approves them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import assert_never

from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from fapi_as.protocol.client import Approval, RegisteredClient
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.effects import (
    MarkUsed,
    Register,
    ReplaceRegistration,
    Require,
    Required,
    SpendInitialToken,
    Unregister,
    UseRegistrationToken,
)
from fapi_as.protocol.registration import InitialAccessToken, KeptRegistration, TrustedAuthority
from fapi_as.protocol.registration_policy import RegistrationPolicy, under_policy
from rs_kit.protocol.strict_json import parse_object

RegistrationEffect = Register | ReplaceRegistration | UseRegistrationToken | Unregister | MarkUsed | SpendInitialToken


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """One client that was registered by an effect; tokens are digests."""

    client_id: str
    registration: str
    version: int
    registered_at: int
    approver: str
    software_id: str | None
    statement: str | None
    statement_jti: str | None
    token_digest: bytes
    previous_token_digest: bytes | None
    token_jkt: str | None
    last_used_at: int | None
    expires_at: int

    def accepts(self, token_digest: bytes) -> bool:
        return token_digest in {self.token_digest, self.previous_token_digest}

    @property
    def client(self) -> RegisteredClient:
        members = parse_object(self.registration.encode())
        return parse_client(members, client_id=self.client_id, version=self.version)


@dataclass(slots=True, kw_only=True)
class RegistrationRows:
    """What decisions change; values are frozen, so a copy of the dicts is a snapshot."""

    epoch: int = 0
    clients: dict[str, Registration] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)  # of clients that a test put in
    uses_left: dict[str, int] = field(default_factory=dict)

    def snapshot(self) -> RegistrationRows:
        return RegistrationRows(
            epoch=self.epoch, clients=dict(self.clients), used=dict(self.used), uses_left=dict(self.uses_left)
        )


@dataclass(slots=True, kw_only=True)
class Approvers:
    """What operators change."""

    authorities: dict[str, TrustedAuthority] = field(default_factory=dict)
    tokens: dict[bytes, InitialAccessToken] = field(default_factory=dict)
    suspended: set[str] = field(default_factory=set)  # authorities, and tokens that were revoked
    withdrawn: set[tuple[str, str, str]] = field(default_factory=set)  # kind, issuer, name
    blocked: set[str] = field(default_factory=set)  # clients that have a document

    def put_authority(self, authority: TrustedAuthority) -> None:
        """Trust an authority, or replace it (give it another version then)."""
        self.authorities[authority.issuer] = authority

    def put_initial_token(self, digest: bytes, token: InitialAccessToken) -> None:
        """Issue an initial access token."""
        self.tokens[digest] = token

    def version(self, approver: str) -> int | None:
        """Of one that may still approve, or of a token that once did."""
        authority = self.authorities.get(approver)
        if authority is not None and approver not in self.suspended:
            return authority.version
        return next((token.version for token in self.tokens.values() if token.approver == approver), None)

    def policy(self, approver: str) -> RegistrationPolicy:
        authority = self.authorities.get(approver)
        if authority is not None:
            return authority.policy
        return next(token.policy for token in self.tokens.values() if token.approver == approver)

    def has_withdrawn(self, row: Registration) -> bool:
        return bool(
            {("statement", row.approver, row.statement_jti), ("software", row.approver, row.software_id)}
            & self.withdrawn
        )

    def bump(self, issuer: str, version: int) -> None:
        self.authorities[issuer] = replace(self.authorities[issuer], version=version)


class MemoryRegistrations:
    """The effects and the reads of registrations, over rows that a transaction may put back."""

    def __init__(self, rows: RegistrationRows, approvers: Approvers) -> None:
        self._rows = rows
        self._approvers = approvers

    # --- effects

    def apply(
        self, effect: RegistrationEffect, now: int, record: Callable[[AuditFact], None], end: Callable[[str], None]
    ) -> bool:
        match effect:
            case Register():
                return self._register(effect, now, record)
            case ReplaceRegistration():
                return self._replace(effect)
            case UseRegistrationToken():
                return self._use_token(effect)
            case Unregister():
                return self._unregister(effect, end)
            case MarkUsed():
                row = self._rows.clients.get(effect.client_id)
                if row is None:
                    self._rows.used[effect.client_id] = now
                else:
                    self._put(replace(row, last_used_at=now, expires_at=effect.expires_at))
                return True
            case SpendInitialToken():
                return self._spend_token(effect, now)
        assert_never(effect)

    def _put(self, row: Registration) -> None:
        self._rows.clients[row.client_id] = row

    def _register(self, effect: Register, now: int, record: Callable[[AuditFact], None]) -> bool:
        if effect.client_id in self._rows.clients:
            return False
        same = self._of_its_software(effect)
        if len(same) >= effect.software_limit:
            unfinished = _unfinished(same, effect)
            if not unfinished or len(same) > effect.software_limit:
                return False
            oldest = min(unfinished, key=lambda row: row.registered_at).client_id
            del self._rows.clients[oldest]
            detail = "an unfinished registration made room"
            record(AuditFact(event=AuditEvent.CLIENT_EXPIRED, detail=detail, client_id=oldest))
        self._put(
            Registration(
                client_id=effect.client_id,
                registration=effect.registration,
                version=self._rows.epoch,
                registered_at=now,
                approver=effect.approver,
                software_id=effect.software_id,
                statement=effect.statement,
                statement_jti=effect.statement_jti,
                token_digest=effect.token_digest,
                previous_token_digest=None,
                token_jkt=effect.token_jkt,
                last_used_at=None,
                expires_at=effect.expires_at,
            )
        )
        return True

    def has_room(self, effect: Register) -> bool:
        """Whether there is room, or a registration that would make some."""
        same = self._of_its_software(effect)
        return len(same) < effect.software_limit or bool(_unfinished(same, effect))

    def _of_its_software(self, effect: Register) -> list[Registration]:
        software = (effect.approver, effect.software_id)
        return [row for row in self._rows.clients.values() if (row.approver, row.software_id) == software]

    def _replace(self, effect: ReplaceRegistration) -> bool:
        row = self._rows.clients.get(effect.client_id)
        if row is None or not row.accepts(effect.token_digest):
            return False
        self._rows.epoch += 1
        self._put(
            replace(
                row,
                registration=effect.registration,
                version=self._rows.epoch,
                statement=effect.statement,
                statement_jti=effect.statement_jti,
                previous_token_digest=effect.token_digest,
                token_digest=effect.new_token_digest,
            )
        )
        return True

    def _use_token(self, effect: UseRegistrationToken) -> bool:
        row = self._rows.clients.get(effect.client_id)
        if row is None or not row.accepts(effect.token_digest):
            return False
        if effect.token_digest == row.token_digest:
            self._put(replace(row, previous_token_digest=None))
        return True

    def _unregister(self, effect: Unregister, end: Callable[[str], None]) -> bool:
        row = self._rows.clients.get(effect.client_id)
        if row is None or not row.accepts(effect.token_digest):
            return False
        self._rows.epoch += 1
        del self._rows.clients[effect.client_id]
        end(effect.client_id)
        return True

    def _spend_token(self, effect: SpendInitialToken, now: int) -> bool:
        token = next((found for found in self._approvers.tokens.values() if found.approver == effect.approver), None)
        if token is None or effect.approver in self._approvers.suspended or now >= token.expires_at:
            return False
        left = self._rows.uses_left.get(effect.approver, token.uses_left)
        if left < 1:
            return False
        self._rows.uses_left[effect.approver] = left - 1
        return True

    def require(self, effect: Require) -> bool:
        match effect.required:
            case Required.CLIENT:
                row = self._rows.clients.get(effect.identifier)
                return row is not None and effect.version in {None, row.version}
            case Required.APPROVER:
                version = self._approvers.version(effect.identifier)
                return version is not None and effect.version in {None, version}
            case Required.DOCUMENT:  # has no versions, so none can be asked for
                return effect.version is None and effect.identifier not in self._approvers.blocked
        return False

    # --- reads

    def client(self, client_id: str) -> RegisteredClient | None:
        row = self._rows.clients.get(client_id)
        if row is None or self._approvers.has_withdrawn(row):
            return None
        return self._as_approved(replace(row.client, last_used_at=row.last_used_at), row.approver)

    def put_in(self, client: RegisteredClient) -> RegisteredClient | None:
        """What one that a test put in is today: with an approval it needs its approver, too."""
        if client.approval is None:
            return client
        used = self._rows.used.get(client.client_id, client.last_used_at)
        return self._as_approved(replace(client, last_used_at=used), client.approval.approver)

    def _as_approved(self, client: RegisteredClient, approver: str) -> RegisteredClient | None:
        version = self._approvers.version(approver)
        if version is None:
            return None
        approval = Approval(approver=approver, version=version)
        return under_policy(replace(client, approval=approval), self._approvers.policy(approver))

    def registration(self, client_id: str) -> KeptRegistration | None:
        row = self._rows.clients.get(client_id)
        if row is None or self._approvers.has_withdrawn(row):
            return None
        version = self._approvers.version(row.approver)
        if version is None:
            return None
        approval = Approval(approver=row.approver, version=version)
        approves = row.approver not in self._approvers.suspended
        return KeptRegistration(
            client=replace(row.client, approval=approval, last_used_at=row.last_used_at),
            policy=self._approvers.policy(row.approver) if approves else None,
            registered_at=row.registered_at,
            approver=row.approver,
            statement=row.statement,
            statement_jti=row.statement_jti,
            software_id=row.software_id,
            token_digest=row.token_digest,
            previous_token_digest=row.previous_token_digest,
            token_jkt=row.token_jkt,
        )

    def authority(self, issuer: str) -> TrustedAuthority | None:
        return None if issuer in self._approvers.suspended else self._approvers.authorities.get(issuer)

    def initial_access_token(self, digest: bytes) -> InitialAccessToken | None:
        token = self._approvers.tokens.get(digest)
        if token is None or token.approver in self._approvers.suspended:
            return None
        return replace(token, uses_left=self._rows.uses_left.get(token.approver, token.uses_left))

    def is_withdrawn(self, issuer: str, jti: str, software_id: str) -> bool:
        return bool({("statement", issuer, jti), ("software", issuer, software_id)} & self._approvers.withdrawn)

    def is_blocked(self, client_id: str) -> bool:
        return client_id in self._approvers.blocked


def _unfinished(rows: list[Registration], effect: Register) -> list[Registration]:
    return [row for row in rows if row.last_used_at is None and row.registered_at < effect.unfinished_before]
