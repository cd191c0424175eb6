"""What operators do about those who may approve clients: synchronous, one transaction each, evidenced as all they do.

Whatever takes an approval away bumps the version of its approver, so that decisions that were prepared before lose, and
ends in the same transaction what its clients were allowed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Final, Self

from sqlalchemy import ColumnElement, func, or_, update
from sqlmodel import Session, col, select

from fapi_as.adapters.store.changes import Change, Changes
from fapi_as.adapters.store.operators import AlreadyExists, NotFound
from fapi_as.adapters.store.registered import StoredApprover, StoredWithdrawal, stored_approver, stored_withdrawal
from fapi_as.adapters.store.statements import beside_the_key
from fapi_as.adapters.store.tables import Approver, Authorization, Client, Withdrawn
from fapi_as.protocol.audit_events import AuditEvent, AuditFact, Stamp
from fapi_as.protocol.authority_registration import authority_members, parse_authority
from fapi_as.protocol.client_document import is_document_url
from fapi_as.protocol.display_text import is_displayable
from fapi_as.protocol.metadata_members import wrong
from fapi_as.protocol.registration import INITIAL_TOKEN_APPROVER
from fapi_as.protocol.registration_policy import parse_policy, policy_members

_STATEMENT: Final = "statement"
_SOFTWARE: Final = "software"
_CLIENT: Final = "client"
_TOKEN_MEMBERS: Final = frozenset({"policy", "jkt", "owner"})
_NAME_LIMIT: Final = 2048  # characters: a URL of a document is the longest
_DIGEST_BYTES: Final = 32


class Approvals:
    """The approvers of one tenant, and what was withdrawn or blocked there."""

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

    # --- authorities

    def add_authority(self, members: Mapping[str, object], stamp: Stamp, *, replace: bool = False) -> StoredApprover:
        """Trust an authority; with `replace`, one that is trusted already is from now on what its file says.

        A suspended one stays suspended, and what its clients may do follows the new policy at once.

        Raises:
            InvalidClientMetadata: a member of the file is wrong.
            InvalidRegistrationPolicy: its policy is.
            AlreadyExists: it is trusted already.
        """
        with self._changes.change(self._tenant) as change:
            authority = parse_authority(members, version=change.epoch)
            issuer, registration = authority.issuer, _json(authority_members(authority))
            row = change.session.get(Approver, (self._tenant, issuer))
            if row is not None and not replace:
                raise AlreadyExists(f"authority {issuer} is trusted already")
            detail = f"{issuer} {'added' if row is None else 'replaced'}"
            if row is None:
                row = self._approver(issuer, registration, change.epoch, stamp)
            row.registration, row.version, row.changed_at = registration, change.epoch, stamp.at
            change.session.add(row)
            change.record(AuditFact(event=AuditEvent.AUTHORITY_CHANGED, detail=detail), stamp)
            return stored_approver(row, self._clients_of(change.session).get(issuer, 0))

    def authorities(self) -> tuple[StoredApprover, ...]:
        """Every authority, suspended ones too, by `iss`."""
        return self._approvers(col(Approver.digest).is_(None))

    def authority(self, issuer: str) -> StoredApprover | None:
        """The authority with this `iss`, suspended or not."""
        found = self._approvers(col(Approver.digest).is_(None), col(Approver.approver) == issuer)
        return found[0] if found else None

    def set_authority_enabled(self, issuer: str, stamp: Stamp, *, enabled: bool) -> None:
        """Suspend an authority, which ends what its clients were allowed, or let it count again.

        Raises:
            NotFound: no such authority.
        """
        with self._changes.change(self._tenant) as change:
            row = self._existing_authority(change.session, issuer)
            row.enabled, row.version, row.changed_at = int(enabled), change.epoch, stamp.at
            if not enabled:
                self._end_authorizations(change, col(Client.approver) == issuer, stamp.at)
            detail = f"{issuer} {'enabled' if enabled else 'suspended'}"
            change.record(AuditFact(event=AuditEvent.AUTHORITY_CHANGED, detail=detail), stamp)

    def remove_authority(self, issuer: str, stamp: Stamp) -> None:
        """Trust an authority no more: its clients stay as rows that count for nobody, and what it withdrew stays so.

        Raises:
            NotFound: no such authority.
        """
        with self._changes.change(self._tenant) as change:
            change.session.delete(self._existing_authority(change.session, issuer))
            self._end_authorizations(change, col(Client.approver) == issuer, stamp.at)
            change.record(AuditFact(event=AuditEvent.AUTHORITY_CHANGED, detail=f"{issuer} removed"), stamp)

    # --- initial access tokens

    def add_initial_token(  # noqa: PLR0913 - two numbers by name, of what it may be used for
        self, token_id: str, digest: bytes, members: Mapping[str, object], stamp: Stamp, *, uses: int, expires_at: int
    ) -> StoredApprover:
        """Keep an initial access token as a digest (RFC 7591 §3).

        Args:
            token_id: its name, without what the names of such approvers begin with.
            digest: of the token, 32 bytes.
            members: `policy`, and where they are known `jkt`, the key that it is bound to, and `owner`, who got it.
            stamp: when and where.
            uses: how many clients it may bring.
            expires_at: NumericDate; it is over then.

        Raises:
            InvalidClientMetadata: a member is wrong.
            InvalidRegistrationPolicy: the policy is.
            AlreadyExists: the name or the digest is taken.
        """
        registration = _json(_token_members(members))
        if not token_id or uses < 1 or expires_at <= stamp.at or len(digest) != _DIGEST_BYTES:
            raise wrong("an initial access token has a name, a digest, at least one use and an end that lies ahead")
        name = INITIAL_TOKEN_APPROVER + token_id
        with self._changes.change(self._tenant) as change:
            taken = select(Approver.approver).where(
                Approver.tenant == self._tenant, or_(col(Approver.approver) == name, col(Approver.digest) == digest)
            )
            if change.session.exec(taken).first() is not None:
                raise AlreadyExists(f"there is an initial access token {token_id} already")
            row = self._approver(name, registration, change.epoch, stamp)
            row.digest, row.uses_left, row.expires_at = digest, uses, expires_at
            change.session.add(row)
            change.record(AuditFact(event=AuditEvent.INITIAL_TOKEN_CHANGED, detail=f"{token_id} added"), stamp)
            return stored_approver(row, 0)

    def initial_tokens(self) -> tuple[StoredApprover, ...]:
        """Every initial access token, used up, over and revoked ones too, by name."""
        return self._approvers(col(Approver.digest).is_not(None))

    def revoke_initial_token(self, token_id: str, stamp: Stamp) -> None:
        """Let an initial access token bring no client any more; those that it brought stay (docs/decisions/0030).

        Raises:
            NotFound: no such token.
        """
        with self._changes.change(self._tenant) as change:
            row = change.session.get(Approver, (self._tenant, INITIAL_TOKEN_APPROVER + token_id))
            if row is None or row.digest is None:
                raise NotFound(f"there is no initial access token {token_id}")
            row.enabled, row.version, row.changed_at = 0, change.epoch, stamp.at
            change.record(AuditFact(event=AuditEvent.INITIAL_TOKEN_CHANGED, detail=f"{token_id} revoked"), stamp)

    # --- what was withdrawn

    def withdraw_statement(self, issuer: str, jti: str, stamp: Stamp) -> bool:
        """Let a statement count no more, which ends its client; whether it counted before.

        Raises:
            NotFound: no such authority.
        """
        return self.withdraw(issuer, stamp, statements=(jti,)) == 1

    def withdraw_software(self, issuer: str, software_id: str, stamp: Stamp) -> bool:
        """Let all statements and all clients of a software count no more; whether they counted before.

        Raises:
            NotFound: no such authority.
        """
        return self.withdraw(issuer, stamp, software=(software_id,)) == 1

    def withdraw(
        self, issuer: str, stamp: Stamp, *, statements: Collection[str] = (), software: Collection[str] = ()
    ) -> int:
        """Withdraw many at once, and give how many counted before; what is withdrawn already changes nothing.

        Raises:
            NotFound: no such authority.
            InvalidClientMetadata: a name that no statement can have.
        """
        asked = {(_STATEMENT, name) for name in statements} | {(_SOFTWARE, name) for name in software}
        for _, name in asked:
            _require_name(name)
        with self._changes.read() as session:
            self._existing_authority(session, issuer)
            if not asked - self._withdrawn_among(session, issuer, asked):
                return 0
        with self._changes.change(self._tenant) as change:
            row = self._existing_authority(change.session, issuer)
            new = sorted(asked - self._withdrawn_among(change.session, issuer, asked))
            for kind, name in new:
                change.session.add(self._withdrawal(kind, issuer, name, stamp))
                change.record(
                    AuditFact(event=AuditEvent.STATEMENT_CHANGED, detail=f"{kind} {name} of {issuer} withdrawn"), stamp
                )
            for clients in _concerned(issuer, new):
                self._end_authorizations(change, clients, stamp.at)
            row.version, row.changed_at = change.epoch, stamp.at
            return len(new)

    def reinstate_software(self, issuer: str, software_id: str, stamp: Stamp) -> None:
        """Let a software that was withdrawn count again; what its clients were allowed before has ended.

        Raises:
            NotFound: no such authority, or it was not withdrawn.
        """
        with self._changes.change(self._tenant) as change:
            row = self._existing_authority(change.session, issuer)
            withdrawn = change.session.get(Withdrawn, (self._tenant, _SOFTWARE, issuer, software_id))
            if withdrawn is None:
                raise NotFound(f"software {software_id} of {issuer} was not withdrawn")
            change.session.delete(withdrawn)
            row.version, row.changed_at = change.epoch, stamp.at
            detail = f"{_SOFTWARE} {software_id} of {issuer} reinstated"
            change.record(AuditFact(event=AuditEvent.STATEMENT_CHANGED, detail=detail), stamp)

    def withdrawn(self, issuer: str) -> tuple[StoredWithdrawal, ...]:
        """The statements and the software of an authority that count no more, by kind and name."""
        with self._changes.read() as session:
            return tuple(stored_withdrawal(row) for row in self._withdrawals(session, issuer))

    # --- clients that describe themselves

    def block_document(self, client_id: str, stamp: Stamp) -> bool:
        """Keep out a client that has a metadata document, and end what it was allowed; whether it was let in before.

        Raises:
            InvalidClientMetadata: the client_id is not the URL of a document.
        """
        _require_name(client_id)
        if not is_document_url(client_id):
            raise wrong("client_id must be the https URL of a metadata document")
        with self._changes.change(self._tenant) as change:
            if change.session.get(Withdrawn, (self._tenant, _CLIENT, "", client_id)) is not None:
                return False
            change.session.add(self._withdrawal(_CLIENT, "", client_id, stamp))
            self._end(change, col(Authorization.client_id) == client_id, stamp.at)
            change.record(AuditFact(event=AuditEvent.CLIENT_CHANGED, detail="blocked", client_id=client_id), stamp)
            return True

    def unblock_document(self, client_id: str, stamp: Stamp) -> None:
        """Let a client that has a metadata document in again.

        Raises:
            NotFound: it was not blocked.
        """
        with self._changes.change(self._tenant) as change:
            row = change.session.get(Withdrawn, (self._tenant, _CLIENT, "", client_id))
            if row is None:
                raise NotFound(f"the client {client_id} was not blocked")
            change.session.delete(row)
            change.record(AuditFact(event=AuditEvent.CLIENT_CHANGED, detail="unblocked", client_id=client_id), stamp)

    def blocked_documents(self) -> tuple[StoredWithdrawal, ...]:
        """The clients with a metadata document that are kept out, by URL."""
        with self._changes.read() as session:
            rows = self._withdrawals(session, "")
            return tuple(stored_withdrawal(row) for row in rows)

    # --- rows

    def _approver(self, name: str, registration: str, version: int, stamp: Stamp) -> Approver:
        return Approver(
            tenant=self._tenant,
            approver=name,
            registration=registration,
            version=version,
            enabled=1,
            registered_at=stamp.at,
            changed_at=stamp.at,
        )

    def _withdrawal(self, kind: str, issuer: str, name: str, stamp: Stamp) -> Withdrawn:
        return Withdrawn(tenant=self._tenant, kind=kind, approver=issuer, name=name, withdrawn_at=stamp.at)

    def _approvers(self, *which: ColumnElement[bool]) -> tuple[StoredApprover, ...]:
        rows = select(Approver).where(Approver.tenant == self._tenant, *which).order_by(Approver.approver)
        with self._changes.read() as session:
            clients = self._clients_of(session)
            return tuple(stored_approver(row, clients.get(row.approver, 0)) for row in session.exec(rows))

    def _clients_of(self, session: Session) -> dict[str | None, int]:
        counted = (
            select(Client.approver, func.count())
            .where(Client.tenant == self._tenant, col(Client.approver).is_not(None))
            .group_by(col(Client.approver))
        )
        return dict(session.exec(counted).all())

    def _withdrawals(self, session: Session, issuer: str) -> list[Withdrawn]:
        rows = select(Withdrawn).where(Withdrawn.tenant == self._tenant, Withdrawn.approver == issuer)
        return list(session.exec(rows.order_by(Withdrawn.kind, Withdrawn.name)))

    def _withdrawn_among(
        self, session: Session, issuer: str, asked: Collection[tuple[str, str]]
    ) -> set[tuple[str, str]]:
        """Those of these kinds and names that are withdrawn; an authority may have withdrawn thousands of others."""
        rows = select(Withdrawn.kind, Withdrawn.name).where(
            Withdrawn.tenant == self._tenant,
            col(Withdrawn.kind).in_((_STATEMENT, _SOFTWARE)),
            Withdrawn.approver == issuer,
            col(Withdrawn.name).in_({name for _, name in asked}),
        )
        return {(kind, name) for kind, name in session.exec(rows)}

    def _existing_authority(self, session: Session, issuer: str) -> Approver:
        row = session.get(Approver, (self._tenant, issuer))
        if row is None or row.digest is not None:
            raise NotFound(f"there is no authority {issuer}")
        return row

    def _end_authorizations(self, change: Change, whose: ColumnElement[bool], at: int) -> None:
        clients = select(Client.client_id).where(Client.tenant == self._tenant, whose)
        self._end(change, col(Authorization.client_id).in_(clients), at)

    def _end(self, change: Change, whose: ColumnElement[bool], at: int) -> None:
        live = (beside_the_key(Authorization) == self._tenant, whose, col(Authorization.revoked_at).is_(None))
        change.session.connection().execute(update(Authorization).where(*live).values(revoked_at=at))


def _concerned(issuer: str, withdrawn: Collection[tuple[str, str]]) -> Iterator[ColumnElement[bool]]:
    """The clients of these names: looked for once for all of a kind, because nobody else can write meanwhile."""
    for kind, column in ((_STATEMENT, Client.statement_jti), (_SOFTWARE, Client.software_id)):
        names = [name for one, name in withdrawn if one == kind]
        if names:
            yield (col(Client.approver) == issuer) & col(column).in_(names)


def _require_name(name: str) -> None:
    if not is_displayable(name, _NAME_LIMIT):  # what a statement may name can be withdrawn
        raise wrong(f"a name has 1 to {_NAME_LIMIT} printable characters")


def _token_members(members: Mapping[str, object]) -> dict[str, object]:
    unknown = members.keys() - _TOKEN_MEMBERS
    if unknown:
        raise wrong(f"an initial access token has no member {min(unknown)!r}"[:120])
    policy = members.get("policy", {})
    if not isinstance(policy, Mapping):
        raise wrong("policy must be an object")
    kept: dict[str, object] = {"policy": policy_members(parse_policy(policy))}
    for name in ("jkt", "owner"):
        value = members.get(name)
        if value is not None and (not isinstance(value, str) or not value):
            raise wrong(f"{name} must be a string")
        kept |= {} if value is None else {name: value}
    return kept


def _json(members: Mapping[str, object]) -> str:
    return json.dumps(members, ensure_ascii=False, separators=(",", ":"))
