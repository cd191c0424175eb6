"""One proof at two worker processes of a resource: it runs one call, whatever the workers do and whoever falls.

`make load` plays 20 rounds, `make test` a few.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.load import Connection, Reply, at_once
from tests.support.processes import Server
from tests.support.resource_worker import Workers, call, two_workers

ROUNDS = 20 if os.environ.get("LOAD") == "full" else 6
COPIES = 50
REPLAYED = (401, "invalid_dpop_proof")
RAN = (200, None)
pytestmark = pytest.mark.xdist_group("races")


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    with two_workers(tmp_path) as workers:
        yield workers


async def lines_to(servers: Sequence[Server], count: int) -> list[Connection]:
    """Connections to each in turn, as a load balancer makes them."""
    return [await line_to(servers[number % len(servers)]) for number in range(count)]


async def line_to(server: Server) -> Connection:
    return await Connection.open("127.0.0.1", server.port, None)  # type: ignore[arg-type] # plain HTTP


def outcome(reply: Reply) -> tuple[int, str | None]:
    return reply.status, json.loads(reply.body).get("error")


def move(file: Path, target: Path) -> None:
    file.rename(target)


async def close(lines: Sequence[Connection]) -> None:
    for line in lines:
        await line.close()


@pytest.fixture
async def lines(workers: Workers) -> AsyncIterator[list[Connection]]:
    opened = await lines_to(workers.servers, COPIES)
    yield opened
    await close(opened)


@pytest.mark.attack("RAC-03")
async def test_of_50_copies_of_a_proof_at_two_workers_exactly_one_runs(
    workers: Workers, lines: list[Connection]
) -> None:
    agent = workers.agent()
    for number in range(ROUNDS):
        replies = await at_once(lines, [call(agent)] * COPIES)
        assert Counter(map(outcome, replies)) == {RAN: 1, REPLAYED: COPIES - 1}
        assert workers.runs().total() == number + 1


async def test_without_a_store_that_they_share_each_worker_runs_it_once(tmp_path: Path) -> None:
    """What the test above would see: it is the store that makes the workers one."""
    with two_workers(tmp_path, "memory") as workers:
        opened = await lines_to(workers.servers, COPIES)
        replies = await at_once(opened, [call(workers.agent())] * COPIES)
        await close(opened)
        assert Counter(map(outcome, replies)) == {RAN: 2, REPLAYED: COPIES - 2}
        assert sorted(workers.runs().values()) == [1, 1]


@pytest.mark.attack("DPR-07")
async def test_a_proof_that_was_used_is_used_at_the_other_worker_and_after_a_restart(workers: Workers) -> None:
    first, second = workers.servers
    proof = call(workers.agent())
    for server, told in ((first, RAN), (first, REPLAYED), (second, REPLAYED)):
        line = await line_to(server)
        assert outcome(await line.send(proof)) == told
        await line.close()
    first.signal_group(signal.SIGKILL)
    first.wait()
    third = workers.start()
    workers.ready()
    line = await line_to(third)
    assert outcome(await line.send(proof)) == REPLAYED
    assert outcome(await line.send(call(workers.agent()))) == RAN
    await line.close()
    assert workers.runs().total() == 2


async def test_the_nonces_of_one_worker_are_good_at_the_other(workers: Workers) -> None:
    first, second = [await line_to(server) for server in workers.servers]
    agent = workers.agent()
    demand = await first.send(call(agent, nonce="A" * 32))
    assert outcome(demand) == (401, "use_dpop_nonce")
    accepted = await second.send(call(agent, nonce=demand.headers["dpop-nonce"]))
    assert outcome(accepted) == RAN
    assert outcome(await first.send(call(agent, nonce=accepted.headers["dpop-nonce"]))) == RAN
    await close([first, second])


async def test_a_worker_with_a_nonce_key_of_its_own_takes_only_its_own_nonces(workers: Workers) -> None:
    workers.start(nonce_key=b"another key, which is 32 bytes long")
    workers.ready()
    first, stranger = [await line_to(server) for server in (workers.servers[0], workers.servers[2])]
    agent = workers.agent()
    assert outcome(await first.send(call(agent))) == RAN
    demand = await stranger.send(call(agent))
    assert outcome(demand) == (401, "use_dpop_nonce")
    assert outcome(await stranger.send(call(agent, nonce=demand.headers["dpop-nonce"]))) == RAN
    assert outcome(await first.send(call(agent, nonce=demand.headers["dpop-nonce"]))) == (401, "use_dpop_nonce")
    await close([first, stranger])


@pytest.mark.attack("DPR-10")
async def test_while_the_store_cannot_tell_no_worker_runs_anything(workers: Workers, lines: list[Connection]) -> None:
    agent = workers.agent()
    assert outcome(await lines[0].send(call(agent))) == RAN
    file = workers.shared / "used-once.db"
    move(file, workers.shared / "aside")
    replies = await at_once(lines, [call(agent) for _ in lines])
    assert Counter(map(outcome, replies)) == {(503, "temporarily_unavailable"): COPIES}
    assert {reply.headers["retry-after"] for reply in replies} == {"2"}
    assert workers.runs().total() == 1
    move(workers.shared / "aside", file)
    replies = await at_once(lines, [call(agent)] * COPIES)
    assert Counter(map(outcome, replies)) == {RAN: 1, REPLAYED: COPIES - 1}
