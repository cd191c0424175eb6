"""Many clients cost no more than few, and those that nobody uses go without anybody noticing.

`LOAD=full` has 100,000 clients, of which 50,000 end when a worker sweeps once a minute; `make test` has some thousands,
which a process beside the workers sweeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import httpx2
import pytest

from fapi_as.adapters.keys import Sealing
from fapi_as.adapters.store import Database
from fapi_as.adapters.turns import PAUSE_SECONDS
from tests.support.authorization_server import (
    RESOURCE,
    SCOPE,
    AuthorizationServer,
    authorization_server,
    ready,
    token_over,
)
from tests.support.load import Connection, Reply
from tests.support.registration_scene import WIDE, Registrant, SoftwareAuthority

FULL: Final = os.environ.get("LOAD") == "full"
FEW: Final = 100
MANY: Final = 100_000 if FULL else 4_000
ENDING: Final = MANY // 2
KEPT: Final = 10  # every so many of those still have something that lives
REQUESTS: Final = 150 if FULL else 60  # at each server, one after another; a source may register 600 times an hour
TRIES: Final = 3
TIMES: Final = 1.2
TIMES_MEANWHILE: Final = 2.0
RATE: Final = 60.0  # token requests a second, while their time is taken
SECONDS: Final = 10.0 if FULL else 2.0
PERCENT: Final = 99 if FULL else 90  # a hundredth of a short run is one request
NOISE_SECONDS: Final = 0.002 if FULL else 0.020
MEDIAN_NOISE_SECONDS: Final = 0.002  # of a short run
SWEEP_SECONDS: Final = 120.0
Ask = Callable[[], Awaitable[Reply]]
pytestmark = pytest.mark.xdist_group("slow")

SEED: Final = """
WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < :count),
named AS MATERIALIZED (SELECT number, lower(hex(randomblob(11))) AS name FROM numbers)
INSERT INTO client (tenant, client_id, registration, version, enabled, registered_at, changed_at, approver, software_id,
                    statement, statement_jti, token_digest, last_used_at, expires_at)
SELECT tenant, name, replace(registration, :client_id, name), version, 1, :now, :now, approver, 'software ' || number,
       statement, 'jti ' || number, randomblob(32), :now, :now + 7776000
FROM client CROSS JOIN named WHERE client_id = :client_id
"""
ALLOWED: Final = """
INSERT INTO authorization SELECT tenant, 'of ' || client_id, client_id, 'alice', '[]', '[]', :now, :now + 7776000, NULL
FROM client WHERE software_id LIKE 'software %'
"""
UNUSED: Final = """
UPDATE client SET expires_at = :now - 100000, last_used_at = iif(rowid % 2, NULL, :now - 90000)
WHERE client_id IN (SELECT client_id FROM client WHERE software_id LIKE 'software %' ORDER BY client_id LIMIT :count)
"""
OVER: Final = """
UPDATE authorization SET revoked_at = :now FROM client
WHERE client.client_id = authorization.client_id AND client.expires_at < :now AND client.rowid % :kept <> 0
"""


@dataclass(kw_only=True)
class Place:
    """A server with a number of clients that have all registered by a statement."""

    server: AuthorizationServer
    authority: SoftwareAuthority
    lines: list[Connection] = field(default_factory=list)
    client_ids: Iterator[str] = field(default_factory=lambda: iter(()))
    agent: Registrant

    @property
    def database(self) -> Path:
        return self.server.directory / "fapi-as.db"

    def number(self, text: str, **values: object) -> int:
        ((found,),) = self.execute(text, **values)
        return int(found)

    def execute(self, *texts: str, **values: object) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.database, timeout=10.0)) as connection, connection:
            found = [connection.execute(text, values).fetchall() for text in texts]
            return found[-1]

    async def token(self) -> Reply:
        self.agent.client_id = next(self.client_ids)
        reply = await token_over(self.lines[0], self.agent)
        self.lines.append(self.lines.pop(0))
        assert reply.status == 200, reply.body
        return reply

    async def registration(self) -> Reply:
        self.agent.software_id = f"another software {time.monotonic_ns()}"
        body = json.dumps({"software_statement": self.agent.statement()}).encode()
        await asyncio.sleep(2 * PAUSE_SECONDS)  # whoever registers alone does not wait for a turn
        reply = await self.lines[0].send(ready(self.agent.register_request(body)))
        self.lines.append(self.lines.pop(0))
        assert reply.status == 201, reply.body
        return reply


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AuthorizationServer, AuthorizationServer]]:
    with (
        authorization_server(tmp_path_factory.mktemp("few"), workers=2) as few,
        authorization_server(tmp_path_factory.mktemp("many"), workers=2) as many,
    ):
        yield few, many


async def peopled(server: AuthorizationServer, http: httpx2.AsyncClient, count: int) -> Place:
    """One client registers itself, and so many others stand beside it that differ by name and software."""
    authority = SoftwareAuthority()
    policy = WIDE | {"clients_per_day": 1_000_000}
    server.commands.json("trust", "add", "-", stdin=json.dumps(authority.members(policy=policy)))
    agent = Registrant(http, authority=authority, issuer=server.issuer, resource=RESOURCE, scope=SCOPE)
    await agent.registered()
    place = Place(server=server, authority=authority, agent=agent)
    place.execute(SEED, ALLOWED, client_id=agent.client_id, count=count, now=int(time.time()))
    with contextlib.closing(sqlite3.connect(place.database, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    await asyncio.to_thread(os.sync)  # whoever has so many clients has written them long ago
    names = place.execute("SELECT client_id FROM client WHERE software_id LIKE 'software %' ORDER BY client_id DESC")
    place.client_ids = itertools.cycle([str(name) for (name,) in names[: max(FEW, count // 2)]])
    return place


async def compared(few: Ask, many: Ask) -> tuple[float, float]:
    """The medians of requests that alternate, so that whatever the machine does meanwhile it does to both."""
    taken: tuple[list[float], list[float]] = [], []
    for number in range(REQUESTS + 10):
        for which, ask in ((0, few), (1, many)) if number % 2 else ((1, many), (0, few)):
            reply = await ask()
            if number >= 10:
                taken[which].append(reply.seconds)
    return median(taken[0]), median(taken[1])


async def test_many_clients_cost_no_more_than_few_and_unused_ones_go_unnoticed(
    servers: tuple[AuthorizationServer, AuthorizationServer],
) -> None:
    async with servers[0].http() as one, servers[1].http() as other:
        few, many = await peopled(servers[0], one, FEW), await peopled(servers[1], other, MANY)
        for place in (few, many):
            place.lines = await place.server.connections(4)
        for what in ("token", "registration"):
            await _costs_the_same(what, getattr(few, what), getattr(many, what))
        await _sweep(many)
        for place in (few, many):
            for line in place.lines:
                await line.close()


async def _costs_the_same(what: str, few: Ask, many: Ask) -> None:
    """In one of three tries: what else runs here may hold up one of the servers for seconds, a cost is always there."""
    for _ in range(TRIES):
        few_seconds, many_seconds = await compared(few, many)
        figures = f"{few_seconds * 1000:.2f} ms and {many_seconds * 1000:.2f} ms"
        print(f"median of a {what} with {FEW} and with {MANY} clients: {figures}")
        if many_seconds < TIMES * few_seconds + (0 if FULL else MEDIAN_NOISE_SECONDS):
            return
    raise AssertionError(f"many clients cost more than few: {figures}")


async def _sweep(place: Place) -> None:
    before = await _stream(place, until=time.monotonic() + SECONDS)
    now = int(time.time())
    unkept = "SELECT count(*) FROM client WHERE expires_at < :now AND rowid % :kept <> 0"
    ((ending,),) = place.execute(UNUSED, OVER, unkept, now=now, count=ENDING, kept=KEPT)  # before anybody sweeps
    sweeping = asyncio.create_task(_swept(place, now))
    during = await _stream(place, until=sweeping)
    after = await _stream(place, until=time.monotonic() + SECONDS)
    begun, ended = await sweeping
    meanwhile = {at: seconds for at, seconds in during.items() if at + seconds >= begun and at <= ended}
    tails = [_tail(taken) for taken in (before, meanwhile, after)]
    figures = ", ".join(f"{seconds * 1000:.2f} ms" for seconds in tails)
    print(f"p{PERCENT} of a token before, while {ending} clients ended in {ended - begun:.1f} s, and after: {figures}")
    assert tails[1] < TIMES_MEANWHILE * max(tails[0], tails[2]) + NOISE_SECONDS
    assert place.number("SELECT count(*) FROM client WHERE software_id LIKE 'software %'") == MANY - ending
    told = place.execute("SELECT detail, count(*) FROM audit WHERE event = 'client.expired' GROUP BY detail")
    assert sorted(detail for detail, _ in told) == ["never used", "not used any more"]
    assert sum(number for _, number in told) == ending


async def _swept(place: Place, now: int) -> tuple[float, float]:
    """Until nobody is over any more; when the first went, and when the last."""
    over = "SELECT count(*) FROM client WHERE expires_at < :now"
    first = place.number(over, now=now)
    begun = started = time.monotonic()
    beside = None if FULL else asyncio.create_task(_sweep_beside(place, now))
    while (found := await asyncio.to_thread(place.number, over, now=now)) > 0:
        assert time.monotonic() - started < SWEEP_SECONDS
        begun = time.monotonic() if found == first else begun
        await asyncio.sleep(0.02)
    if beside is not None:
        await beside
    return begun, time.monotonic()


async def _sweep_beside(place: Place, now: int) -> None:
    database = Database.open(f"sqlite:///{place.database}", sealing=Sealing(b"s" * 32))
    await database.janitor.sweep("another worker", now + 200)  # when the lease of the one that leads is over
    await database.close()


async def _stream(place: Place, *, until: float | asyncio.Task[tuple[float, float]]) -> dict[float, float]:
    """A steady stream of token requests: when each was sent, and how long it took."""
    taken: dict[float, float] = {}
    begun = time.monotonic()
    for number in itertools.count():
        over = until.done() if isinstance(until, asyncio.Task) else time.monotonic() > until
        if over and len(taken) > 1:
            break
        await asyncio.sleep(max(0.0, begun + number / RATE - time.monotonic()))
        at = time.monotonic()
        taken[at] = (await place.token()).seconds
    return taken


def _tail(taken: Mapping[float, float]) -> float:
    """How long the slowest few took."""
    return quantiles(taken.values(), n=100, method="inclusive")[PERCENT - 1]
