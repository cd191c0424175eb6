"""What clients and operators do to a server in the middle of a request: hang up, kill a worker, stop it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.authorization_server import AuthorizationServer, authorization_server, ready
from tests.support.load import Connection, Prepared
from tests.support.processes import wait_until

ABORTED = 300
pytestmark = pytest.mark.xdist_group("stopped")


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    directory: Path = tmp_path_factory.mktemp("aborted")
    with authorization_server(directory, workers=1) as server:
        yield server


@pytest.fixture
def two_workers(tmp_path: Path) -> Iterator[AuthorizationServer]:
    with authorization_server(tmp_path, workers=2) as server:
        yield server


async def _abort(server: AuthorizationServer, request: Prepared, dice: random.Random) -> None:
    """Send all of a request or a part of it, wait for less than an answer takes, and reset the connection."""
    line = await Connection.open("localhost", server.port, server.trust)
    length = len(request.wire)
    line.writer.write(request.wire[: dice.choice((length, length, length, length // 2, length - 1))])
    await line.writer.drain()
    await asyncio.sleep(dice.random() * 0.006)
    line.writer.transport.abort()


async def test_after_300_aborted_token_requests_the_next_one_succeeds_within_a_second(
    one_worker: AuthorizationServer,
) -> None:
    dice = random.Random(9)
    async with one_worker.http() as http:
        client = one_worker.client(http)
        await client.client_credentials()  # learns the nonce
        for start in range(0, ABORTED, 10):
            requests = [ready(client.credentials_request()) for _ in range(10)]
            await asyncio.gather(*(_abort(one_worker, request, dice) for request in requests))
            if start % 100 == 90:
                started = time.monotonic()
                assert (await client.client_credentials()).access_token
                assert time.monotonic() - started < 1.0
    # whoever had been heard completely was answered or refused as anybody else; nothing was left half done
    assert "Traceback" not in one_worker.server.errors


async def test_a_killed_worker_is_replaced_within_three_seconds_while_the_other_serves(
    two_workers: AuthorizationServer,
) -> None:
    async with two_workers.http() as http:
        client = two_workers.client(http)
        await client.client_credentials()
        victim, survivor = two_workers.server.workers()[:2]
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        served = 0
        while time.monotonic() - killed < 3.0:
            workers = two_workers.server.workers()
            if victim not in workers and len(workers) == 2 and served >= 5:
                break
            with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.IncompleteReadError, OSError):
                # a connection that the dead worker had accepted is lost; every new one is served
                line = await Connection.open("localhost", two_workers.port, two_workers.trust)
                reply = await line.send(ready(client.credentials_request()))
                assert reply.status == 200, reply
                served += 1
                await line.close()
        workers = two_workers.server.workers()
        assert survivor in workers
        assert victim not in workers
        assert len(workers) == 2
        assert served >= 5


async def test_sigterm_drops_no_request_in_flight(two_workers: AuthorizationServer) -> None:
    lines = await two_workers.connections(20)
    async with two_workers.http() as http:
        client = two_workers.client(http)
        await client.client_credentials()
        requests = [ready(client.credentials_request()) for _ in lines]
        for line, request in zip(lines, requests, strict=True):
            line.writer.write(request.wire[:-20])
            await line.writer.drain()
        await asyncio.sleep(0.2)  # real sockets: the first parts have arrived
        two_workers.server.signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        replies = await asyncio.gather(
            *(
                line.send(Prepared(target="", wire=request.wire[-20:]))
                for line, request in zip(lines, requests, strict=True)
            )
        )
    assert [reply.status for reply in replies] == [200] * len(lines)
    for line in lines:
        await line.close()
    wait_until(lambda: two_workers.server.process.poll() is not None, 15.0, "the end of the server")
    assert two_workers.server.process.returncode == 0
