"""Deletes what has expired, in small batches between the decisions of others, by one worker at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import cache, partial
from typing import Final, Protocol

from sqlalchemy import bindparam, delete, literal_column, or_, select, tuple_
from sqlmodel import SQLModel

from fapi_as.adapters.store import tables
from fapi_as.adapters.store.client_expiry import BATCH as CLIENT_BATCH
from fapi_as.adapters.store.client_expiry import ClientExpiry
from fapi_as.adapters.store.statements import insert_of, table_of, text_of
from rs_kit.adapters.sqlite_writer import Transaction, Unit

_CHORE: Final = "janitor"
_HORIZON: Final = "janitor's horizon"  # kept beside the lease: up to when rows that ended have been deleted
_STRIDE_SECONDS: Final = 66  # of the horizon in one sweep; a sweep is due every 60 s, so it gains a tenth on the clock
_BATCH: Final = 500  # rows in one transaction, a few milliseconds
_CLIENT_BATCHES: Final = 8_000  # of one sweep, less than a lease; the next one goes on
_PAUSE_SECONDS: Final = 0.01  # other workers wait for the file with growing pauses, and must find a moment
_GRACE_SECONDS: Final = 120  # a clock that is set back so far does not meet a replay that was forgotten already
_EXPIRING: Final[tuple[tuple[type[SQLModel], str], ...]] = (
    (tables.Once, "until"),
    (tables.Handle, "delete_after"),
    (tables.Tried, "delete_after"),
    (tables.Authorization, "expires_at"),
    (tables.SigningKey, "gone_from"),
)


class Run(Protocol):
    """Runs a unit on the writer thread."""

    def __call__(self, unit: Unit[int], /) -> Awaitable[int]:
        """Raises StorageUnavailable when nothing was kept."""
        ...


class Janitor:
    """Sweeps the file, whatever the tenant.

    What was used must be remembered by the true time, and a clock that jumps ahead cannot be told from a long night.
    So the horizon of what is deleted follows the clock in strides, hardly faster than time itself passes: after an
    hour's jump nothing has been forgotten that a clock which is set right again would take for fresh (TIM-02).

    Args:
        run: runs one unit on the writer thread.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    async def sweep(self, holder: str, now: int, *, lease_seconds: int = 120) -> int | None:
        """Delete every expired row, and give how many were over; None when another worker leads.

        Clients go after what they were allowed, and those that nobody ever used before the others.

        Args:
            holder: names this worker, the same at every call.
            now: the time; rows that ended more than two minutes before go, as far as the horizon has come.
            lease_seconds: how long this worker leads; sweep again before that.

        Raises:
            StorageUnavailable: the store cannot be written now; what was deleted stays deleted.
        """
        if not await self._run(partial(_lead, holder, now, lease_seconds)):
            return None
        before = await self._run(partial(_horizon, now)) - _GRACE_SECONDS
        swept = 0
        for model, column in _EXPIRING:
            swept += await self._all(partial(_delete, _sweep_text(model, column), before), _BATCH)
        clients = ClientExpiry(holder=holder, now=now, before=before)
        left = _CLIENT_BATCHES
        for batch in (clients.pending, clients.used):
            done = await self._all(batch, CLIENT_BATCH, at_most=left)
            left -= done // CLIENT_BATCH
            swept += done
        return swept

    async def _all(self, batch: Unit[int], full: int, *, at_most: int | None = None) -> int:
        """Batch after batch, each behind the decisions that came meanwhile, until one is not full."""
        total = done = await self._run(batch)
        while done == full and (at_most is None or total < at_most * full):
            await asyncio.sleep(_PAUSE_SECONDS)
            done = await self._run(batch)
            total += done
        return total


def _lead(holder: str, now: int, seconds: int, transaction: Transaction) -> int:
    # what is further ahead than any lease of this time was taken by a clock that ran ahead, perhaps by one who is gone
    return transaction.execute(_lease_text(), (_CHORE, holder, now + seconds, now, now + 2 * seconds)).rowcount


def _horizon(now: int, transaction: Transaction) -> int:
    """Move the horizon towards now, and give it."""
    row = transaction.execute(_until_text(), (_HORIZON,)).fetchone()
    horizon = now if row is None else min(now, int(row[0]) + _STRIDE_SECONDS)
    transaction.execute(_lease_text(), (_HORIZON, _HORIZON, horizon, now, now))  # nobody else holds it
    return horizon


def _delete(text: str, before: int, transaction: Transaction) -> int:
    return transaction.execute(text, (before, _BATCH)).rowcount


@cache
def _sweep_text(model: type[SQLModel], column: str) -> str:
    table = table_of(model)
    row = tuple_(*table.primary_key.columns)
    expired = (
        select(*table.primary_key.columns)
        .where(table.c[column] < bindparam("before"))
        .limit(bindparam("limit"))
        .offset(literal_column("0"))  # else the compiler binds one
    )
    return text_of(delete(table).where(row.in_(expired)), "before", "limit")


@cache
def _until_text() -> str:
    lease = table_of(tables.Lease)
    return text_of(select(lease.c.until).where(lease.c.chore == bindparam("chore")), "chore")


@cache
def _lease_text() -> str:
    lease = table_of(tables.Lease)
    names = ("chore", "holder", "until")
    row = insert_of(tables.Lease, names)
    taken = row.on_conflict_do_update(
        index_elements=[lease.c.chore],
        set_={"holder": row.excluded.holder, "until": row.excluded.until},
        where=or_(
            lease.c.holder == row.excluded.holder,
            lease.c.until < bindparam("now"),
            lease.c.until > bindparam("implausible"),
        ),
    )
    return text_of(taken, *names, "now", "implausible")
