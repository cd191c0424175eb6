"""The statements of the hot path: SQLAlchemy Core over the tables, compiled once to SQLite's own text.

A renamed column breaks here, when a process starts, and not in a string. Bind processors are skipped, so columns are
INTEGER, TEXT and BLOB.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    UnaryExpression,
    and_,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import Insert, insert
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.operators import custom_op
from sqlmodel import SQLModel

from fapi_as.adapters.store import tables
from fapi_as.protocol.effects import Attempt


class MisboundStatement(Exception):
    """A statement takes its parameters in another order than its caller gives them: a defect of this module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """SQLite text; the comment of each names its parameters in order."""

    take_once: str  # tenant, namespace, digest, until, now
    spend: str  # now, tenant, kind, digest
    keep: str  # the columns of a handle in order, without spent_at
    touch: str  # usable_until, delete_after, tenant, kind, digest
    open: str  # the columns of an authorization in order, without revoked_at
    revoke: str  # now, tenant, authorization_id
    attempt: str  # tenant, bucket, at, delete_after, tenant, bucket, tenant, bucket, limit, since, implausible
    has_room: str  # tenant, bucket, tenant, bucket, limit, since, implausible
    forget: str  # tenant, bucket
    give_back: str  # tenant, bucket, tenant, bucket
    record: str  # the columns of an audit fact in order, without id
    require_client: str  # tenant, client_id, version
    require_user: str  # tenant, subject, version
    require_resource: str  # tenant, resource, version
    require_authorization: str  # tenant, authorization_id, now
    epoch: str  # tenant
    handle: str  # tenant, kind, digest
    authorization: str  # tenant, authorization_id, now
    live_of_client: str  # tenant, client_id, now
    client: str  # tenant, client_id
    resources: str  # tenant
    user_named: str  # tenant, username
    user: str  # tenant, subject


@cache
def statements() -> Statements:
    """Every statement, compiled at the first call.

    Raises:
        MisboundStatement: a statement and its parameters have drifted apart.
    """
    return Statements(
        take_once=_take_once(),
        spend=_spend(),
        keep=_insert_new(tables.Handle, without="spent_at"),
        touch=_touch(),
        open=_insert_new(tables.Authorization, without="revoked_at"),
        revoke=_revoke(),
        attempt=_attempt(),
        has_room=_has_room(),
        forget=_forget(),
        give_back=_give_back(),
        record=_record(),
        require_client=_require(tables.Client, "client_id"),
        require_user=_require(tables.User, "subject"),
        require_resource=_require(tables.Resource, "resource"),
        require_authorization=_require_authorization(),
        epoch=_epoch(),
        handle=_handle(),
        authorization=_authorization(),
        live_of_client=_live_of_client(),
        client=_client(),
        resources=_resources(),
        user_named=text_of(_users().where(at(tables.User, "username")), "tenant", "username"),
        user=text_of(_users().where(at(tables.User, "subject"), is_enabled(tables.User)), "tenant", "subject"),
    )


def attempt_room(tenant: str, attempt: Attempt, now: int) -> tuple[object, ...]:
    """The parameters of `has_room`, which `attempt` ends with, too."""
    own = (tenant, attempt.bucket)
    return (*own, *own, attempt.limit, now - attempt.window_seconds, now + attempt.window_seconds)


def table_of(model: type[SQLModel]) -> Table:
    """The Core table of a model."""
    return SQLModel.metadata.tables[str(model.__tablename__)]


def at(model: type[SQLModel], *names: str) -> ColumnElement[bool]:
    """The row of these columns, each bound under its own name."""
    columns = table_of(model).c
    return and_(*(columns[name] == bindparam(name) for name in names))


def is_enabled(model: type[SQLModel]) -> ColumnElement[bool]:
    """Whether an operator lets this row count."""
    return table_of(model).c.enabled == literal_column("1")


def beside_the_key(model: type[SQLModel]) -> ColumnElement[str]:
    """The tenant of a row that is found by another index.

    SQLite keeps no statistics here, and without them it takes a primary key of which only the tenant is known for the
    better index: it would read everything that a tenant has.
    """
    return UnaryExpression(table_of(model).c.tenant, operator=custom_op("+"))


def text_of(statement: Executable, *parameters: str) -> str:
    """SQLite's text of a statement, with `?` for its parameters in this order.

    Raises:
        MisboundStatement: it takes other parameters.
    """
    compiled = statement.compile(dialect=sqlite.dialect())  # type: ignore[attr-defined] # every Executable here compiles
    if tuple(compiled.positiontup) != parameters:
        raise MisboundStatement(f"{compiled} takes {compiled.positiontup}, not {parameters}")
    return str(compiled)


def _names(model: type[SQLModel], *, without: str) -> tuple[str, ...]:
    return tuple(column.name for column in table_of(model).columns if column.name != without)


def insert_of(model: type[SQLModel], names: tuple[str, ...]) -> Insert:
    """Insert one row with these columns, each bound under its own name."""
    return insert(table_of(model)).values({name: bindparam(name) for name in names})


def _insert_new(model: type[SQLModel], *, without: str) -> str:
    """Insert a row; one that is there already stays, and then nothing was inserted."""
    names = _names(model, without=without)
    return text_of(insert_of(model, names).on_conflict_do_nothing(), *names)


def _record() -> str:
    names = _names(tables.Audit, without="id")
    return text_of(insert_of(tables.Audit, names), *names)


def _take_once() -> str:
    columns = table_of(tables.Once).c
    names = ("tenant", "namespace", "digest", "until")
    row = insert_of(tables.Once, names)
    again = row.on_conflict_do_update(
        index_elements=[columns.tenant, columns.namespace, columns.digest],
        set_={"until": row.excluded.until},
        where=columns.until < bindparam("now"),
    )
    return text_of(again, *names, "now")


def _has_ended(handle: Table) -> ColumnElement[bool]:
    """Whether a handle's family has ended; one whose authorization is unknown has (fail closed)."""
    family = table_of(tables.Authorization).c
    live = exists().where(
        family.tenant == handle.c.tenant,
        family.authorization_id == handle.c.authorization_id,
        family.revoked_at.is_(None),
    )
    return and_(handle.c.authorization_id.is_not(None), ~live)


def _is_usable(handle: Table) -> ColumnElement[bool]:
    return and_(at(tables.Handle, "tenant", "kind", "digest"), handle.c.spent_at.is_(None), ~_has_ended(handle))


def _spend() -> str:
    handle = table_of(tables.Handle)
    spent = update(handle).values(spent_at=bindparam("now")).where(_is_usable(handle))
    return text_of(spent, "now", "tenant", "kind", "digest")


def _touch() -> str:
    handle = table_of(tables.Handle)
    moved = update(handle).values(usable_until=bindparam("usable_until"), delete_after=bindparam("delete_after"))
    return text_of(moved.where(_is_usable(handle)), "usable_until", "delete_after", "tenant", "kind", "digest")


def _revoke() -> str:
    table = table_of(tables.Authorization)
    ended = (
        update(table)
        .values(revoked_at=bindparam("now"))
        .where(at(tables.Authorization, "tenant", "authorization_id"), table.c.revoked_at.is_(None))
    )
    return text_of(ended, "now", "tenant", "authorization_id")


_ROOM: Final = ("tenant", "bucket", "limit", "since", "implausible")


def _next_with_room() -> Select[Any]:
    """The number of the next attempt, if there is room for it.

    There is room when the attempt that lies `limit` before the next one is out of the window. That is one look, however
    many attempts a bucket holds. One further ahead than a window was counted by a clock that ran ahead: it holds nobody
    up for as long as that was (TIM-02).
    """
    table = table_of(tables.Tried)
    last = select((func.coalesce(func.max(table.c.number), literal_column("0")) + literal_column("1")).label("number"))
    following = last.where(at(tables.Tried, "tenant", "bucket")).subquery("following")
    earlier = table.alias("earlier")
    full = exists().where(
        earlier.c.tenant == bindparam("tenant"),
        earlier.c.bucket == bindparam("bucket"),
        earlier.c.number == following.c.number - bindparam("limit"),
        earlier.c.at > bindparam("since"),
        earlier.c.at <= bindparam("implausible"),
    )
    return select(following.c.number).where(~full)


def _attempt() -> str:
    """One statement, so that a hundred attempts at once cannot all find room (RAC-13)."""
    following = _next_with_room()
    number = following.selected_columns.number
    row: Any = following.with_only_columns(
        bindparam("tenant"), bindparam("bucket"), number, bindparam("at"), bindparam("delete_after")
    )
    text = insert(table_of(tables.Tried)).from_select(("tenant", "bucket", "number", "at", "delete_after"), row)
    return text_of(text, "tenant", "bucket", "at", "delete_after", "tenant", "bucket", *_ROOM)


def _has_room() -> str:
    return text_of(_next_with_room(), "tenant", "bucket", *_ROOM)


def _forget() -> str:
    return text_of(delete(table_of(tables.Tried)).where(at(tables.Tried, "tenant", "bucket")), "tenant", "bucket")


def _give_back() -> str:
    """The newest, so that the numbers of a bucket stay without a gap."""
    table, own = table_of(tables.Tried), at(tables.Tried, "tenant", "bucket")
    newest = select(func.max(table.c.number)).where(own).scalar_subquery()
    return text_of(delete(table).where(own, table.c.number == newest), "tenant", "bucket", "tenant", "bucket")


def _require(model: type[SQLModel], identifier: str) -> str:
    version = table_of(model).c.version
    row: Select[Any] = select(literal_column("1")).where(
        at(model, "tenant", identifier),
        is_enabled(model),
        version == func.coalesce(bindparam("version"), version),
    )
    return text_of(row, "tenant", identifier, "version")


def _require_authorization() -> str:
    return text_of(_live(select(literal_column("1"))), "tenant", "authorization_id", "now")


def _authorization() -> str:
    columns = table_of(tables.Authorization).c
    return text_of(_live(select(columns.client_id, columns.subject)), "tenant", "authorization_id", "now")


def _live_of_client() -> str:
    columns = table_of(tables.Authorization).c
    live = exists().where(
        beside_the_key(tables.Authorization) == bindparam("tenant"),
        columns.client_id == bindparam("client_id"),
        columns.revoked_at.is_(None),
        columns.expires_at > bindparam("now"),
    )
    row: Select[Any] = select(literal_column("1")).where(live)
    return text_of(row, "tenant", "client_id", "now")


def _live(row: Select[Any]) -> Select[Any]:
    columns = table_of(tables.Authorization).c
    return row.where(
        at(tables.Authorization, "tenant", "authorization_id"),
        columns.revoked_at.is_(None),
        columns.expires_at > bindparam("now"),
    )


def _epoch() -> str:
    return text_of(select(table_of(tables.Epoch).c.value).where(at(tables.Epoch, "tenant")), "tenant")


def _handle() -> str:
    table = table_of(tables.Handle)
    columns = table.c
    row: Select[Any] = select(
        columns.payload,
        columns.client_id,
        columns.subject,
        columns.authorization_id,
        columns.usable_until,
        columns.spent_at,
        _has_ended(table),
    ).where(at(tables.Handle, "tenant", "kind", "digest"))
    return text_of(row, "tenant", "kind", "digest")


def _client() -> str:
    columns = table_of(tables.Client).c
    row: Select[Any] = select(columns.registration, columns.version, columns.approver, columns.last_used_at)
    return text_of(row.where(live_client()), "tenant", "client_id")


def live_client() -> ColumnElement[bool]:
    """The client of this id, unless it is disabled or what approved it was withdrawn.

    Whether the approver itself may still approve is asked beside it: that is the same for all its clients.
    """
    client, withdrawn = table_of(tables.Client), table_of(tables.Withdrawn).c
    gone = exists().where(
        withdrawn.tenant == client.c.tenant,
        withdrawn.approver == client.c.approver,
        or_(
            and_(withdrawn.kind == literal_column("'statement'"), withdrawn.name == client.c.statement_jti),
            and_(withdrawn.kind == literal_column("'software'"), withdrawn.name == client.c.software_id),
        ),
    )
    unwithdrawn = or_(client.c.approver.is_(None), ~gone)
    return and_(at(tables.Client, "tenant", "client_id"), is_enabled(tables.Client), unwithdrawn)


def _resources() -> str:
    columns = table_of(tables.Resource).c
    rows = select(columns.registration, columns.version).where(at(tables.Resource, "tenant"))
    return text_of(rows.where(is_enabled(tables.Resource)).order_by(columns.resource), "tenant")


def _users() -> Select[Any]:
    columns = table_of(tables.User).c
    known = (columns.subject, columns.username, columns.version, columns.password_hash, columns.enabled)
    row: Select[Any] = select(*known, columns.name, columns.email)
    return row.where(at(tables.User, "tenant"))
