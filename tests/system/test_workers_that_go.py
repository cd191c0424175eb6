"""Workers of the real server that are killed or told to go, one after another, while clients are at work."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.authorization_server import AuthorizationServer, authorization_server, ready
from tests.support.fapi_client import FapiClient
from tests.support.load import Connection

LINES = 6
BACK_SECONDS = 3.0  # times the load: on a busy machine the start of a process takes longer
pytestmark = pytest.mark.xdist_group("going")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    directory: Path = tmp_path_factory.mktemp("going")
    with authorization_server(directory, workers=2) as server:
        yield server


@dataclass(slots=True)
class Work:
    """Clients at work: each line sends one request after the other, and comes again when it is closed."""

    server: AuthorizationServer
    client: FapiClient
    done: bool = False
    outcomes: Counter[str] = field(default_factory=Counter)
    longest_gap: float = 0.0

    async def line(self) -> None:
        line: Connection | None = None
        while not self.done:
            try:
                if line is None:
                    (line,) = await self.server.connections(1)
                reply = await line.send(ready(self.client.credentials_request()))
            except asyncio.IncompleteReadError as cut:
                self.outcomes["closed between requests" if not cut.partial else "cut off in an answer"] += 1
                line = _gone(line)
            except OSError:
                self.outcomes["reset"] += 1
                line = _gone(line)
            else:
                self.outcomes[str(reply.status)] += 1
                if reply.headers.get("connection") == "close":
                    await line.close()
                    line = None
        if line is not None:
            await line.close()

    async def during(self, happens: Callable[[], Awaitable[None]]) -> None:
        tasks = [asyncio.create_task(self.line()) for _ in range(LINES)]
        await happens()
        self.done = True
        await asyncio.gather(*tasks)


def _gone(line: Connection | None) -> None:
    if line is not None:
        line.writer.transport.abort()


def _listening(port: int) -> int:
    """How many workers listen at the IPv4 loopback."""
    rows = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    fields = [row.split() for row in rows]
    return sum(local == f"0100007F:{port:04X}" and state == "0A" for _, local, _, state, *_ in fields)


async def _replaced(server: AuthorizationServer, gone: int) -> float:
    """Seconds until there are two workers that serve, and the one that went is not among them."""
    started = time.monotonic()
    async with asyncio.timeout(20):
        while gone in server.server.workers() or _listening(server.port) < 2:  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.02)
    return time.monotonic() - started


async def _worked(server: AuthorizationServer, happens: Callable[[], Awaitable[None]]) -> Counter[str]:
    async with server.http() as http:
        client = server.client(http)
        await client.client_credentials()  # learns the nonce
        work = Work(server, client)
        await work.during(happens)
        return work.outcomes


@pytest.mark.attack("MUL-04")
async def test_a_worker_that_is_killed_takes_only_its_own_requests_along(server: AuthorizationServer) -> None:
    async def kill() -> None:
        for _ in range(2):
            await asyncio.sleep(0.5)
            gone = server.server.workers()[0]
            os.kill(gone, signal.SIGKILL)
            seconds = await _replaced(server, gone)
            assert seconds < BACK_SECONDS * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        await asyncio.sleep(0.5)

    outcomes = await _worked(server, kill)
    assert outcomes["200"] > 20
    cut = outcomes.total() - outcomes["200"]
    assert cut <= 4 * LINES, outcomes  # what each worker held, and connections that were on their way to it
    assert set(outcomes) <= {"200", "closed between requests", "reset"}


@pytest.mark.attack("MUL-08")
async def test_workers_that_are_told_to_go_one_at_a_time_lose_no_request(server: AuthorizationServer) -> None:
    async def roll() -> None:
        for gone in server.server.workers():
            await asyncio.sleep(0.3)
            os.kill(gone, signal.SIGTERM)
            await _replaced(server, gone)
        await asyncio.sleep(0.5)

    outcomes = await _worked(server, roll)
    assert outcomes["200"] > 20
    assert outcomes["cut off in an answer"] == 0
    assert outcomes.total() - outcomes["200"] <= 2 * LINES, outcomes
