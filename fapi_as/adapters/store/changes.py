"""The transactions of operators and of key rotation: rare, synchronous, each bumps the tenant's epoch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from fapi_as.adapters.store.engine import reading_engine, writing_engine
from fapi_as.adapters.store.location import OutdatedDatabase, UnusableDatabase, path_of
from fapi_as.adapters.store.tables import REVISION, Audit, Epoch
from fapi_as.protocol.audit_events import AuditFact, Stamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One open transaction; `epoch` is already the new one, and the version of whatever changes in it."""

    session: Session
    tenant: str
    epoch: int

    def record(self, fact: AuditFact, stamp: Stamp) -> None:
        """Write the audit fact of this change."""
        self.session.add(
            Audit(
                tenant=self.tenant,
                at=stamp.at,
                correlation_id=stamp.correlation_id,
                endpoint=stamp.endpoint,
                source=stamp.source,
                event=fact.event.value,
                error=fact.error,
                detail=fact.detail,
                client_id=fact.client_id,
                subject=fact.subject,
                authorization_id=fact.authorization_id,
                resource=fact.resource,
                scope=fact.scope,
                jkt=fact.jkt,
                x5t=fact.x5t,
            )
        )


class Changes:
    """Opens transactions on a migrated database.

    Args:
        url: the database.url of the settings.

    Raises:
        UnsupportedDatabase: another engine than SQLite in a file.
        UnusableDatabase: missing, unreadable, damaged, or of another schema than this version's.
        OutdatedDatabase: of an earlier one.
    """

    def __init__(self, url: str) -> None:
        self._path = path_of(url)
        self._to_read = reading_engine(self._path)
        self._to_write = writing_engine(self._path)
        with self.read() as session:
            found = session.connection().execute(text("SELECT version_num FROM alembic_version")).scalar()
        if found == REVISION:
            return
        sentence = f"the database {self._path} has schema {found}, this version needs {REVISION}"
        if found is not None and found < REVISION:
            raise OutdatedDatabase(f"{sentence}; fapi-as serve brings it there")
        raise UnusableDatabase(sentence)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that only reads and never waits for a writer.

        Raises:
            UnusableDatabase: the database cannot answer.
        """
        try:
            with Session(self._to_read) as session:
                yield session
        except SQLAlchemyError as error:
            raise UnusableDatabase(f"the database {self._path} cannot be read: {error.__cause__ or error}") from None

    @contextmanager
    def change(self, tenant: str) -> Iterator[Change]:
        """One BEGIN IMMEDIATE … COMMIT; an exception undoes it.

        Raises:
            UnusableDatabase: the database cannot be written now; nothing was changed.
        """
        try:
            with Session(self._to_write) as session, session.begin():
                row = session.get(Epoch, tenant) or Epoch(tenant=tenant, value=0)
                row.value += 1
                session.add(row)
                yield Change(session=session, tenant=tenant, epoch=row.value)
        except SQLAlchemyError as error:
            raise UnusableDatabase(f"the database {self._path} cannot be written: {error.__cause__ or error}") from None
