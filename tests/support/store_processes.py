"""What the contract suite runs in processes of its own: racers, and a writer that will be killed."""

from __future__ import annotations

import asyncio
import multiprocessing
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from multiprocessing.synchronize import Barrier
from typing import Final

from fapi_as.adapters.keys import Sealing
from fapi_as.adapters.store import Database
from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from fapi_as.protocol.decisions import Issue, Refuse
from fapi_as.protocol.effects import Attempt, HandleKind, Record, Spend, TakeOnce
from fapi_as.protocol.errors import InvalidGrant, TooManyRequests
from tests.support.store_harness import STAMP

SPAWN: Final[SpawnContext] = multiprocessing.get_context("spawn")
SEALING_KEY: Final = b"s" * 32


def race_to_spend(url: str, digests: list[bytes], callers: int, barrier: Barrier, results: Connection) -> None:
    """Spend each code from many callers at the same moment as another process; send how many won, code by code."""
    asyncio.run(_race(url, digests, callers, barrier, results))


async def _race(url: str, digests: list[bytes], callers: int, barrier: Barrier, results: Connection) -> None:
    database = Database.open(url, sealing=Sealing(SEALING_KEY))
    store = database.store("default")
    for digest in digests:
        spend = Spend(kind=HandleKind.CODE, digest=digest)
        replayed = Record(fact=AuditFact(event=AuditEvent.REFUSED, error="invalid_grant", detail="replayed"))
        decision = Issue(
            effects=(spend, Record(fact=AuditFact(event=AuditEvent.TOKEN_ISSUED))),
            lost={spend: Refuse(error=InvalidGrant("replayed"), effects=(replayed,))},
        )
        barrier.wait(30)
        outcomes = await asyncio.gather(*(store.commit(decision, STAMP) for _ in range(callers)))
        results.send(sum(isinstance(outcome, Issue) for outcome in outcomes))
    await database.close()
    results.close()


def race_for_room(url: str, attempt: Attempt, callers: int, barrier: Barrier, results: Connection) -> None:
    """Ask for room in a bucket from many callers at the same moment as another process; send how many got it."""
    asyncio.run(_race_for_room(url, attempt, callers, barrier, results))


async def _race_for_room(url: str, attempt: Attempt, callers: int, barrier: Barrier, results: Connection) -> None:
    database = Database.open(url, sealing=Sealing(SEALING_KEY))
    store = database.store("default")
    decision = Issue(effects=(attempt,), lost={attempt: Refuse(error=TooManyRequests("full"))})
    barrier.wait(30)
    outcomes = await asyncio.gather(*(store.commit(decision, STAMP) for _ in range(callers)))
    results.send(sum(isinstance(outcome, Issue) for outcome in outcomes))
    await database.close()
    results.close()


def commit_until_killed(url: str, acknowledged: Connection) -> None:
    """Commit one fact after the other in groups and send its number as soon as it is acknowledged."""
    asyncio.run(_commit_for_ever(url, acknowledged))


async def _commit_for_ever(url: str, acknowledged: Connection) -> None:
    database = Database.open(url, sealing=Sealing(SEALING_KEY))
    store = database.store("default")

    async def commit(number: int) -> None:
        take = TakeOnce(namespace="kill", digest=number.to_bytes(32), until=STAMP.at + 60)
        fact = Record(fact=AuditFact(event=AuditEvent.TOKEN_ISSUED, detail=str(number)))
        await store.commit(Issue(effects=(take, fact)), replace(STAMP, correlation_id=str(number)))
        acknowledged.send(number)

    number = 0
    while True:
        await asyncio.gather(*(commit(number + offset) for offset in range(8)))
        number += 8
