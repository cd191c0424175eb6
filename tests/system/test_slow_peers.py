"""Peers that take their time hold connections and nothing else: good requests hardly notice, and all is given back.

`make load` runs this with the counts of the issue and for a minute; `make test` with a few for some seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles

import pytest

from tests.support.authorization_server import AuthorizationServer, authorization_server, token_over
from tests.support.fapi_client import FapiClient
from tests.support.load import prepare
from tests.support.processes import running, wait_until
from tests.support.slow_peers import READY

FULL = os.environ.get("LOAD") == "full"
HEADS, BODIES, SILENT, SECONDS = (1000, 500, 200, 60.0) if FULL else (50, 25, 10, 3.0)
BASE_SECONDS = 15.0 if FULL else 2.0
ELSEWHERE_SECONDS = 30.0 if FULL else 2.0
RATE = 40.0  # good requests per second, far from what the server can do
GOOD_LINES = 4
# a hundredth of a few seconds' requests is one request: a short run judges by the slowest tenth, and with more patience
PERCENT, NOISE_SECONDS = (99, 0.010) if FULL else (90, 0.050)
FORM_CPU_SECONDS = 0.050
pytestmark = pytest.mark.xdist_group("slow")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard > HEADS + BODIES + SILENT + 100, "this machine allows too few open files"
    directory: Path = tmp_path_factory.mktemp("slow")
    with authorization_server(directory, workers=2) as server:
        yield server


async def _good(server: AuthorizationServer, client: FapiClient, seconds: float) -> list[float]:
    """Token requests at a steady rate over kept-alive lines, one of ten over a fresh one; how long each took."""
    lines = await server.connections(GOOD_LINES)
    taken: list[float] = []
    begun = time.monotonic()
    while (passed := time.monotonic() - begun) < seconds:
        number = len(taken)
        await asyncio.sleep(max(0.0, number / RATE - passed))
        place = number % GOOD_LINES
        if number % 10 == 0:
            await lines[place].close()
            lines[place : place + 1] = await server.connections(1)
        reply = await token_over(lines[place], client)
        assert reply.status == 200, reply.body
        taken.append(reply.seconds)
    for line in lines:
        await line.close()
    return taken


def _late(taken: list[float]) -> float:
    return quantiles(taken, n=100)[PERCENT - 1]


def _peers_of(port: int, seconds: float) -> list[str]:
    plan = {"port": port, "heads": HEADS, "bodies": BODIES, "silent": SILENT, "seconds": seconds}
    return [sys.executable, "-m", "tests.support.slow_peers", json.dumps(plan)]


def _yield_to_all_others(server: AuthorizationServer) -> None:
    """What the processes of a server do is done when nobody else needs the processor."""
    for pid in (server.server.process.pid, *server.server.workers()):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setscheduler(int(thread.name), os.SCHED_IDLE, os.sched_param(0))


async def _elsewhere(server: AuthorizationServer, client: FapiClient, directory: Path) -> float:
    """How late good requests are while the same peers are slow at another server on this machine.

    Peers and server share two cores here: what is left of the difference is what slow peers do to a server.
    """
    with authorization_server(directory, workers=2) as other:
        _yield_to_all_others(other)
        command = _peers_of(other.port, ELSEWHERE_SECONDS + 5.0)
        with running(command, directory, ready=re.compile(READY, re.MULTILINE), seconds=120.0) as peers:
            late = _late(await _good(server, client, ELSEWHERE_SECONDS))
            peers.wait()
    return late


def _descriptors(server: AuthorizationServer) -> int:
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in server.server.workers())


@pytest.mark.attack("HTT-16")
async def test_good_requests_hardly_notice_slow_peers_and_their_connections_come_back(
    server: AuthorizationServer, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    command = _peers_of(server.port, SECONDS + 5.0)
    async with server.http() as http:
        client = server.client(http)
        await _good(server, client, 1.0)
        before = _late(await _good(server, client, BASE_SECONDS))
        elsewhere = await _elsewhere(server, client, tmp_path_factory.mktemp("elsewhere"))
        descriptors = _descriptors(server)
        with running(command, tmp_path, ready=re.compile(READY, re.MULTILINE), seconds=120.0) as peers:
            held = _descriptors(server)
            during = _late(await _good(server, client, SECONDS))
            assert peers.process.poll() is None
            peers.wait()
        wait_until(lambda: _descriptors(server) <= descriptors + GOOD_LINES, 20.0, "giving the connections back")
        after = _late(await _good(server, client, BASE_SECONDS))
        figures = ", ".join(f"{seconds * 1000:.1f} ms" for seconds in (before, during, after))
        print(f"p{PERCENT} before, among {held - descriptors} slow connections, and after: {figures}")
        print(f"p{PERCENT} while the same peers are slow at another server on this machine: {elsewhere * 1000:.1f} ms")
        print(peers.output)
    assert held - descriptors > 0.8 * (HEADS + BODIES + SILENT)
    alone = max(before, after)  # what else the machine does changes in a minute
    assert during < max(2 * alone, alone + NOISE_SECONDS)
    assert during < 2 * elsewhere + (0.0 if FULL else NOISE_SECONDS)


@pytest.mark.attack("HTT-11")
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
@pytest.mark.parametrize("path", ["/token", "/par", "/login", "/consent", "/nowhere"])
async def test_a_form_of_5_mb_costs_next_to_nothing(server: AuthorizationServer, path: str, declared: bool) -> None:
    form = b"a&" * (5 * 1024 * 1024 // 2)
    headers = [("content-type", "application/x-www-form-urlencoded")]
    request = prepare(f"{server.issuer}{path}", headers, form).wire
    if not declared:
        head = request.partition(b"\r\n\r\n")[0].replace(
            b"Content-Length: %d" % len(form), b"Transfer-Encoding: chunked"
        )
        chunks = (form[start : start + 65_536] for start in range(0, len(form), 65_536))
        request = (
            head + b"\r\n\r\n" + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        )
    costs = [await _cost(server, request, path) for _ in range(2)]
    assert min(costs) < FORM_CPU_SECONDS, costs


async def _cost(server: AuthorizationServer, request: bytes, path: str) -> float:
    """CPU seconds of the whole server for one request, the handshake included."""
    before = server.server.cpu_seconds()
    (line,) = await server.connections(1)
    line.writer.write(request)
    answer = await line.reader.readuntil(b"\r\n")
    assert b" 413 " in answer or (path == "/nowhere" and b" 404 " in answer), answer
    line.writer.transport.abort()
    return server.server.cpu_seconds() - before
