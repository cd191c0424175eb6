"""The statements on registrations, compiled once as those of the hot path are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    FromClause,
    Select,
    and_,
    bindparam,
    delete,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert

from fapi_as.adapters.store import tables
from fapi_as.adapters.store.statements import beside_the_key, insert_of, is_enabled, table_of, text_of
from fapi_as.protocol.effects import Register


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationStatements:
    """SQLite text; the comment of each names its parameters in order."""

    register: str  # the columns in order (the tenant again for the version), tenant, approver, software_id, limit
    is_full: str  # tenant, approver, software_id, limit
    is_taken: str  # tenant, client_id
    oldest_unfinished: str  # tenant, approver, software_id, before
    remove: str  # tenant, client_id
    replace: str  # registration, tenant, now, statement, jti, token, new token, tenant, client_id, token, token
    use_current_token: str  # tenant, client_id, token
    has_previous_token: str  # tenant, client_id, token
    unregister: str  # tenant, client_id, token, token
    end_authorizations: str  # now, tenant, client_id
    mark_used: str  # now, expires_at, tenant, client_id
    spend_initial_token: str  # tenant, approver, now
    next_epoch: str  # tenant


@cache
def registration_statements() -> RegistrationStatements:
    """Every statement, compiled at the first call.

    Raises:
        MisboundStatement: a statement and its parameters have drifted apart.
    """
    return RegistrationStatements(
        register=_register(),
        is_full=text_of(_is_full(), *_FULL),
        is_taken=text_of(select(literal_column("1")).where(_this_client()), "tenant", "client_id"),
        oldest_unfinished=_oldest_unfinished(),
        remove=text_of(delete(table_of(tables.Client)).where(_this_client()), "tenant", "client_id"),
        replace=_replace(),
        use_current_token=_use_current_token(),
        has_previous_token=_has_previous_token(),
        unregister=text_of(
            delete(table_of(tables.Client)).where(_this_client(), _token_counts()),
            *("tenant", "client_id", "token_digest", "token_digest"),
        ),
        end_authorizations=_end_authorizations(),
        mark_used=_mark_used(),
        spend_initial_token=_spend_initial_token(),
        next_epoch=_next_epoch(),
    )


def software_of(tenant: str, effect: Register) -> tuple[object, ...]:
    """The parameters that name the clients among which one is registered."""
    return tenant, effect.approver, effect.software_id


def _this_client() -> ColumnElement[bool]:
    columns = table_of(tables.Client).c
    return and_(columns.tenant == bindparam("tenant"), columns.client_id == bindparam("client_id"))


def _token_counts() -> ColumnElement[bool]:
    """The current token of a client that is let in, or the one before as long as the current one was never used."""
    columns = table_of(tables.Client).c
    given: BindParameter[bytes] = bindparam("token_digest")
    presented = or_(columns.token_digest == given, columns.previous_token_digest == given)
    return and_(is_enabled(tables.Client), presented)


def _of_this_software(clients: FromClause) -> ColumnElement[bool]:
    columns = clients.c
    return and_(
        columns.tenant == bindparam("software_tenant"),
        columns.approver == bindparam("software_approver"),
        columns.software_id.is_not_distinct_from(bindparam("software_of")),
    )


_FULL: Final = ("software_tenant", "software_approver", "software_of", "software_limit")


def _is_full() -> Select[Any]:
    """The limit-th client of a software: a row where there is no room for another one."""
    others = table_of(tables.Client).alias("others")
    nth: Select[Any] = select(literal_column("1")).select_from(others).where(_of_this_software(others))
    return nth.limit(literal_column("1")).offset(bindparam("software_limit") - literal_column("1"))


def _register() -> str:
    """One statement, so that 50 at once cannot all find room (RAC-09)."""
    table = table_of(tables.Client)
    epoch = table_of(tables.Epoch).c
    version = select(func.coalesce(func.max(epoch.value), literal_column("0"))).where(
        epoch.tenant == bindparam("epoch_tenant")
    )
    names = (
        *("tenant", "client_id", "registration", "version", "enabled", "registered_at", "changed_at"),
        *("approver", "software_id", "statement", "statement_jti", "token_digest", "token_jkt", "expires_at"),
    )
    row: Any = select(*(version.scalar_subquery() if name == "version" else bindparam(name) for name in names)).where(
        ~_is_full().exists()
    )
    bound = tuple("epoch_tenant" if name == "version" else name for name in names)
    text = insert(table).from_select(names, row).on_conflict_do_nothing()
    return text_of(text, *bound, *_FULL)


def _oldest_unfinished() -> str:
    table = table_of(tables.Client)
    columns = table.c
    row: Select[Any] = (
        select(columns.client_id)
        .where(_of_this_software(table), columns.last_used_at.is_(None), columns.registered_at < bindparam("before"))
        .order_by(columns.registered_at)
        .limit(literal_column("1"))
        .offset(literal_column("0"))
    )
    return text_of(row, "software_tenant", "software_approver", "software_of", "before")


def _replace() -> str:
    table = table_of(tables.Client)
    epoch = table_of(tables.Epoch).c
    version = select(epoch.value).where(epoch.tenant == bindparam("epoch_tenant")).scalar_subquery()
    replaced = (
        update(table)
        .ordered_values(
            (table.c.registration, bindparam("registration")),
            (table.c.version, version),
            (table.c.changed_at, bindparam("now")),
            (table.c.statement, bindparam("statement")),
            (table.c.statement_jti, bindparam("statement_jti")),
            (table.c.previous_token_digest, bindparam("presented")),
            (table.c.token_digest, bindparam("new_token_digest")),
        )
        .where(_this_client(), _token_counts())
    )
    row = ("registration", "epoch_tenant", "now", "statement", "statement_jti", "presented", "new_token_digest")
    return text_of(replaced, *row, "tenant", "client_id", "token_digest", "token_digest")


def _use_current_token() -> str:
    table = table_of(tables.Client)
    used = (
        update(table)
        .values(previous_token_digest=literal_column("NULL"))
        .where(_this_client(), is_enabled(tables.Client), table.c.token_digest == bindparam("token"))
    )
    return text_of(used, "tenant", "client_id", "token")


def _has_previous_token() -> str:
    columns = table_of(tables.Client).c
    row: Select[Any] = select(literal_column("1")).where(
        _this_client(),
        is_enabled(tables.Client),
        columns.previous_token_digest == bindparam("token"),
    )
    return text_of(row, "tenant", "client_id", "token")


def _end_authorizations() -> str:
    table = table_of(tables.Authorization)
    ended = (
        update(table)
        .values(revoked_at=bindparam("now"))
        .where(
            beside_the_key(tables.Authorization) == bindparam("tenant"),
            table.c.client_id == bindparam("client_id"),
            table.c.revoked_at.is_(None),
        )
    )
    return text_of(ended, "now", "tenant", "client_id")


def _mark_used() -> str:
    table = table_of(tables.Client)
    marked = (
        update(table)
        .ordered_values((table.c.last_used_at, bindparam("now")), (table.c.expires_at, bindparam("expires_at")))
        .where(_this_client(), table.c.expires_at.is_not(None))
    )
    return text_of(marked, "now", "expires_at", "tenant", "client_id")


def _spend_initial_token() -> str:
    table = table_of(tables.Approver)
    spent = (
        update(table)
        .values(uses_left=table.c.uses_left - literal_column("1"))
        .where(
            table.c.tenant == bindparam("tenant"),
            table.c.approver == bindparam("approver"),
            is_enabled(tables.Approver),
            table.c.digest.is_not(None),
            table.c.uses_left > literal_column("0"),
            table.c.expires_at > bindparam("now"),
        )
    )
    return text_of(spent, "tenant", "approver", "now")


def _next_epoch() -> str:
    epoch = table_of(tables.Epoch)
    names = ("tenant", "value")
    row = insert_of(tables.Epoch, names).values(value=literal_column("1"))
    text = row.on_conflict_do_update(
        index_elements=[epoch.c.tenant], set_={"value": epoch.c.value + literal_column("1")}
    )
    return text_of(text, "tenant")
