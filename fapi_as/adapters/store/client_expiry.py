"""Registrations that end because nobody uses them (DCR-16): a batch at a time, within the janitor's sweep."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, bindparam, delete, func, literal_column, select, update

from fapi_as.adapters.store import tables
from fapi_as.adapters.store.statements import at, beside_the_key, statements, table_of, text_of
from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from rs_kit.adapters.sqlite_writer import Transaction

BATCH: Final = 8  # clients in one transaction: each touches five pages and writes a fact, and others wait meanwhile
_ENDPOINT: Final = "expiry of clients"
_SOURCE: Final = "fapi-as serve"
_NEVER_USED: Final = "never used"
_NOT_USED_ANY_MORE: Final = "not used any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryStatements:
    """SQLite text; the comment of each names its parameters in order."""

    over_pending: str  # before, before, limit
    over_used: str  # before, before, limit
    remove: str  # tenant, client_id
    keep_until: str  # expires_at, tenant, client_id


@cache
def expiry_statements() -> ExpiryStatements:
    """Every statement, compiled at the first call.

    Raises:
        MisboundStatement: a statement and its parameters have drifted apart.
    """
    table = table_of(tables.Client)
    this = at(tables.Client, "tenant", "client_id")
    moved = update(table).values(expires_at=bindparam("expires_at")).where(this)
    return ExpiryStatements(
        over_pending=_over(table.c.last_used_at.is_(None)),
        over_used=_over(table.c.last_used_at.is_not(None)),
        remove=text_of(delete(table).where(this), "tenant", "client_id"),
        keep_until=text_of(moved, "expires_at", "tenant", "client_id"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientExpiry:
    """One sweep by one leader: what was over before `before`, told as of `now`; both NumericDate."""

    holder: str
    now: int
    before: int

    def pending(self, transaction: Transaction) -> int:
        """Remove a batch of those that nobody ever used, and give how many were looked at."""
        return self._expire(transaction, expiry_statements().over_pending, _NEVER_USED)

    def used(self, transaction: Transaction) -> int:
        """Remove a batch of those that were used, except where something still lives that they were allowed."""
        return self._expire(transaction, expiry_statements().over_used, _NOT_USED_ANY_MORE)

    def _expire(self, transaction: Transaction, over: str, detail: str) -> int:
        text = expiry_statements()
        found = transaction.execute(over, (self.before, self.before, BATCH)).fetchall()
        for tenant, client_id, last_grant_ends in found:
            if last_grant_ends is not None:
                transaction.execute(text.keep_until, (last_grant_ends, tenant, client_id))
                continue
            transaction.execute(text.remove, (tenant, client_id))
            transaction.execute(statements().record, self._fact(tenant, client_id, detail))
        return len(found)

    def _fact(self, tenant: str, client_id: str, detail: str) -> tuple[object, ...]:
        fact = AuditFact(event=AuditEvent.CLIENT_EXPIRED, detail=detail, client_id=client_id)
        stamp = (tenant, self.now, self.holder, _ENDPOINT, _SOURCE)
        told = (fact.event.value, fact.error, fact.detail, fact.client_id, fact.subject, fact.authorization_id)
        return (*stamp, *told, fact.resource, fact.scope, fact.jkt, fact.x5t)


def _over(used: ColumnElement[bool]) -> str:
    """Those that are over, the longest first, and when the last of what they were allowed ends, if it did not yet."""
    client, granted = table_of(tables.Client), table_of(tables.Authorization)
    last: Select[Any] = select(func.max(granted.c.expires_at)).where(
        beside_the_key(tables.Authorization) == client.c.tenant,
        granted.c.client_id == client.c.client_id,
        granted.c.revoked_at.is_(None),
        granted.c.expires_at > bindparam("before"),
    )
    rows: Select[Any] = (
        select(client.c.tenant, client.c.client_id, last.scalar_subquery())
        .where(client.c.expires_at < bindparam("before"), used)
        .order_by(client.c.expires_at)
        .limit(bindparam("limit"))
        .offset(literal_column("0"))  # else the compiler binds one
    )
    return text_of(rows, "before", "before", "limit")
