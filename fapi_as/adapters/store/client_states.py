"""What has become of a client: derived from its row and from whoever approved it, and kept nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from sqlmodel import Session, col, select

from fapi_as.adapters.store import tables
from fapi_as.adapters.store.approvers import Approver, parsed_approver
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.errors import ProtocolError
from fapi_as.protocol.registration_policy import under_policy
from rs_kit.protocol.strict_json import InvalidJson, parse_object


class ClientState(StrEnum):
    """pending: registered by itself and never used; suspended: kept out by an operator or by what approved it."""

    PENDING = "pending"
    ACTIVE = "active"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """Who approves clients of a tenant today, and what was withdrawn there."""

    approvers: Mapping[str, Approver | None]
    withdrawn: frozenset[tuple[str, str, str]]  # kind, approver, name

    @classmethod
    def read(cls, session: Session, tenant: str) -> Self:
        """All of a tenant: there are few of them."""
        approvers = session.exec(select(tables.Approver).where(col(tables.Approver.tenant) == tenant))
        withdrawn = session.exec(select(tables.Withdrawn).where(col(tables.Withdrawn.tenant) == tenant))
        return cls(
            approvers={
                row.approver: parsed_approver(
                    row.approver, row.registration, row.version, row.enabled, int(row.digest is not None)
                )
                for row in approvers
            },
            withdrawn=frozenset((row.kind, row.approver, row.name) for row in withdrawn),
        )

    def state(self, row: tables.Client) -> ClientState:
        """What a client is today."""
        if not row.enabled:
            return ClientState.SUSPENDED
        if row.approver is None:
            return ClientState.ACTIVE
        approver = self.approvers.get(row.approver)
        if approver is None or self._has_withdrawn(row) or not _is_allowed(row, approver):
            return ClientState.SUSPENDED
        return ClientState.PENDING if row.last_used_at is None else ClientState.ACTIVE

    def _has_withdrawn(self, row: tables.Client) -> bool:
        approver = row.approver or ""
        named = {("statement", approver, row.statement_jti), ("software", approver, row.software_id)}
        return not self.withdrawn.isdisjoint(named)


def _is_allowed(row: tables.Client, approver: Approver) -> bool:
    """Whether today's policy leaves anything of it; a row that cannot be read any more counts for nobody."""
    try:
        members = parse_object(row.registration.encode())
        client = parse_client(members, client_id=row.client_id, version=row.version)
    except (ProtocolError, InvalidJson):
        return False
    return under_policy(client, approver.policy) is not None
