"""The statements that ask who approved a client, and whether that still stands; compiled once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Select, and_, bindparam, exists, func, literal_column, or_, select

from fapi_as.adapters.store import tables
from fapi_as.adapters.store.statements import at, is_enabled, live_client, table_of, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproverStatements:
    """SQLite text; the comment of each names its parameters in order."""

    require_approver: str  # tenant, approver, version
    require_document: str  # tenant, client_id
    registration: str  # tenant, client_id
    approver: str  # tenant, approver
    initial_access_token: str  # tenant, digest
    is_withdrawn: str  # tenant, approver, jti, approver, software_id


@cache
def approver_statements() -> ApproverStatements:
    """Every statement, compiled at the first call.

    Raises:
        MisboundStatement: a statement and its parameters have drifted apart.
    """
    return ApproverStatements(
        require_approver=_require_approver(),
        require_document=_require_document(),
        registration=_registration(),
        approver=_approver(),
        initial_access_token=_initial_access_token(),
        is_withdrawn=_is_withdrawn(),
    )


def _require_approver() -> str:
    """One that may still approve; what an initial access token has let in does not end with it."""
    columns = table_of(tables.Approver).c
    row: Select[Any] = select(literal_column("1")).where(
        at(tables.Approver, "tenant", "approver"),
        or_(is_enabled(tables.Approver), columns.digest.is_not(None)),
        columns.version == func.coalesce(bindparam("version"), columns.version),
    )
    return text_of(row, "tenant", "approver", "version")


def _require_document() -> str:
    """A client with a metadata document has no row; one that is blocked has one."""
    columns = table_of(tables.Withdrawn).c
    blocked = exists().where(
        columns.tenant == bindparam("tenant"),
        columns.kind == literal_column("'client'"),
        columns.approver == literal_column("''"),
        columns.name == bindparam("client_id"),
    )
    row: Select[Any] = select(literal_column("1")).where(~blocked)
    return text_of(row, "tenant", "client_id")


def _registration() -> str:
    columns = table_of(tables.Client).c
    row: Select[Any] = select(
        columns.registration,
        columns.version,
        columns.approver,
        columns.last_used_at,
        columns.registered_at,
        columns.statement,
        columns.statement_jti,
        columns.software_id,
        columns.token_digest,
        columns.previous_token_digest,
        columns.token_jkt,
    ).where(live_client(), columns.token_digest.is_not(None), columns.approver.is_not(None))
    return text_of(row, "tenant", "client_id")


def _approver() -> str:
    columns = table_of(tables.Approver).c
    row: Select[Any] = select(
        columns.registration, columns.version, columns.enabled, columns.digest.is_not(None)
    ).where(at(tables.Approver, "tenant", "approver"))
    return text_of(row, "tenant", "approver")


def _initial_access_token() -> str:
    columns = table_of(tables.Approver).c
    row: Select[Any] = select(
        columns.approver, columns.registration, columns.version, columns.expires_at, columns.uses_left
    ).where(at(tables.Approver, "tenant", "digest"), is_enabled(tables.Approver))
    return text_of(row, "tenant", "digest")


def _is_withdrawn() -> str:
    columns = table_of(tables.Withdrawn).c
    row: Select[Any] = select(literal_column("1")).where(
        columns.tenant == bindparam("tenant"),
        or_(
            and_(
                columns.kind == literal_column("'statement'"),
                columns.approver == bindparam("approver"),
                columns.name == bindparam("jti"),
            ),
            and_(
                columns.kind == literal_column("'software'"),
                columns.approver == bindparam("approver"),
                columns.name == bindparam("software_id"),
            ),
        ),
    )
    return text_of(row, "tenant", "approver", "jti", "approver", "software_id")
