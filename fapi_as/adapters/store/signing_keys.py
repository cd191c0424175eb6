"""The table of signing keys: read by workers on every epoch, changed by the parent and by operators."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from sqlmodel import Session, select

from fapi_as.adapters.store import tables
from fapi_as.adapters.store.changes import Change, Changes
from fapi_as.adapters.store.location import path_of
from fapi_as.adapters.store.reading import Reader
from fapi_as.protocol.audit_events import AuditEvent, AuditFact, Stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSigningKey:
    """A key with its times; `gone_from` is set once a successor is known."""

    kid: str
    alg: str
    public_jwk: Mapping[str, str]
    sealed_private_key: bytes
    published_at: int
    active_from: int
    gone_from: int | None = None


class SigningKeysChange:
    """The keys of one tenant inside one transaction."""

    def __init__(self, change: Change) -> None:
        self._change = change

    @property
    def keys(self) -> tuple[StoredSigningKey, ...]:
        """Every key, by the time of its first use."""
        return _keys(self._change.session, self._change.tenant)

    def add(self, key: StoredSigningKey) -> None:
        """Add a key."""
        self._change.session.add(
            tables.SigningKey(
                tenant=self._change.tenant,
                kid=key.kid,
                alg=key.alg,
                public_jwk=json.dumps(dict(key.public_jwk)),
                sealed_private_key=key.sealed_private_key,
                published_at=key.published_at,
                active_from=key.active_from,
                gone_from=key.gone_from,
            )
        )

    def begin(self, kid: str, active_from: int) -> None:
        """Say when a key signs."""
        self._change.session.get_one(tables.SigningKey, (self._change.tenant, kid)).active_from = active_from

    def end(self, kid: str, gone_from: int | None) -> None:
        """Say when a key is gone, or that nothing follows it."""
        row = self._change.session.get_one(tables.SigningKey, (self._change.tenant, kid))
        row.gone_from = gone_from

    def delete(self, kid: str) -> None:
        """Delete a key, the private one with it."""
        self._change.session.delete(self._change.session.get_one(tables.SigningKey, (self._change.tenant, kid)))

    def record(self, detail: str, stamp: Stamp) -> None:
        """Write the audit fact of this change."""
        self._change.record(AuditFact(event=AuditEvent.KEY_CHANGED, detail=detail), stamp)


class SigningKeys:
    """The signing keys of every tenant.

    Args:
        changes: opens transactions.
        reader: answers whether anything has changed, in a few microseconds.
    """

    def __init__(self, changes: Changes, reader: Reader) -> None:
        self._changes = changes
        self._reader = reader

    @classmethod
    def open(cls, url: str) -> Self:
        """Open a migrated database.

        Raises:
            UnsupportedDatabase: another engine than SQLite in a file.
            UnusableDatabase: missing, unreadable, damaged, or of another schema; every method may raise it, too.
        """
        return cls(Changes(url), Reader(path_of(url)))

    def epoch(self, tenant: str) -> int:
        """Changes whenever the keys of this tenant may have changed.

        Raises:
            StorageUnavailable: the store cannot answer.
        """
        return self._reader.epoch(tenant)

    def keys(self, tenant: str) -> tuple[StoredSigningKey, ...]:
        """Every key of a tenant, by the time of its first use."""
        with self._changes.read() as session:
            return _keys(session, tenant)

    @contextmanager
    def change(self, tenant: str) -> Iterator[SigningKeysChange]:
        """One transaction in which nobody else changes anything; an exception undoes it."""
        with self._changes.change(tenant) as change:
            yield SigningKeysChange(change)

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()


def _keys(session: Session, tenant: str) -> tuple[StoredSigningKey, ...]:
    columns = tables.SigningKey
    rows = session.exec(
        select(columns).where(columns.tenant == tenant).order_by(columns.active_from, columns.kid)  # type: ignore[arg-type] # a column, at class level
    )
    return tuple(
        StoredSigningKey(
            kid=row.kid,
            alg=row.alg,
            public_jwk=json.loads(row.public_jwk),
            sealed_private_key=row.sealed_private_key,
            published_at=row.published_at,
            active_from=row.active_from,
            gone_from=row.gone_from,
        )
        for row in rows
    )
