"""Who is known and floods gets what the quota gives; what a worker holds does not grow with the requests."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fapi_as.adapters.keys import Sealing
from fapi_as.adapters.store import Database
from fapi_as.protocol.profile import PUSHED_REQUESTS_LIMIT
from tests.support.authorization_server import AuthorizationServer, authorization_server, ready
from tests.support.fapi_client import FapiClient
from tests.support.load import Connection, Prepared, drive, prepare
from tests.support.peer_keys import PeerKey

FULL = os.environ.get("LOAD") == "full"
PUSHES = 1_000_000 if FULL else PUSHED_REQUESTS_LIMIT + 500
MIXED, SETTLED = (1_000_000, 100_000) if FULL else (6_000, 2_000)
AT_ONCE = 500  # requests that are signed before they are sent
LIFETIME, LIFETIME_OF_A_ROW = 90, 90 + 600 + 120 + 120  # the janitor's grace, and two minutes of sweeping
GROWTH = 1.10
FLOODING, OTHERS = "agent-0", ("agent-1", "agent-2", "agent-3")
STRANGER = PeerKey.es256(seed=666)
pytestmark = pytest.mark.xdist_group("slow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What one worker holds."""

    resident: int
    descriptors: int
    threads: int

    @classmethod
    def by(cls, pid: int) -> Held:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        found = dict(line.split(":", 1) for line in lines)
        return cls(
            resident=int(found["VmRSS"].split()[0]) * 1024,
            descriptors=sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
            threads=int(found["Threads"]),
        )


def _held(server: AuthorizationServer) -> dict[int, Held]:
    return {pid: Held.by(pid) for pid in server.server.workers()}


def _flat(before: dict[int, Held], after: dict[int, Held]) -> None:
    assert before.keys() == after.keys()  # nobody was replaced meanwhile
    for pid, held in after.items():
        assert held.resident <= GROWTH * before[pid].resident, (before[pid], held)
        assert held.descriptors <= before[pid].descriptors
        assert held.threads <= before[pid].threads


@pytest.fixture(scope="module")  # the oracles look at it after the test
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    with authorization_server(tmp_path_factory.mktemp("lasting"), workers=2, clients=5) as server:
        yield server


def _rows(directory: Path, condition: str) -> int:
    with contextlib.closing(sqlite3.connect(directory / "fapi-as.db", timeout=10.0)) as connection:
        query = f"SELECT count(*) FROM handle WHERE kind = 'request_uri' AND client_id = '{FLOODING}' AND {condition}"
        return int(connection.execute(query).fetchone()[0])


async def _sent(lines: list[Connection], make: Callable[[int], Prepared], numbers: range) -> Counter[int]:
    """Signed in portions, so that no proof is old when it is sent."""
    answers: Counter[int] = Counter()
    for start in range(numbers.start, numbers.stop, AT_ONCE):
        portion = [make(number) for number in range(start, min(start + AT_ONCE, numbers.stop))]
        answers.update(reply.status for reply in await drive(lines, portion))
    return answers


@pytest.mark.attack("EXH-01")
async def test_a_client_that_pushes_without_end_keeps_what_its_quota_gives(server: AuthorizationServer) -> None:
    async with server.http() as http:
        client, other = server.client(http, FLOODING), server.client(http, "agent-4")
        await client.client_credentials()
        lines = await server.connections(8)

        def push(number: int) -> Prepared:
            return ready(client.push_request(code_verifier="v" * 43, state=f"state {number}"))

        began = time.time()
        answers = await _sent(lines, push, range(SETTLED))
        before = _held(server)
        answers += await _sent(lines, push, range(SETTLED, PUSHES))
        after, windows = _held(server), 1 + int((time.time() - began) // LIFETIME)
        alive = _rows(server.directory, f"usable_until > {int(time.time())}")
        assert set(answers) == {201, 429}
        assert PUSHED_REQUESTS_LIMIT <= answers[201] <= windows * PUSHED_REQUESTS_LIMIT
        assert alive <= PUSHED_REQUESTS_LIMIT
        assert (
            _rows(server.directory, "true") <= min(windows, 1 + LIFETIME_OF_A_ROW // LIFETIME) * PUSHED_REQUESTS_LIMIT
        )
        _flat(before, after)
        assert (await other.push()).response.status_code == 201
        for line in lines:
            await line.close()
    await _swept(server.directory, int(time.time()) + LIFETIME_OF_A_ROW)
    assert _rows(server.directory, "true") == 0


async def _swept(directory: Path, now: int) -> None:
    """What the janitor of a worker does meanwhile."""
    database = Database.open(f"sqlite:///{directory}/fapi-as.db", sealing=Sealing(b"s" * 32))
    for minute in range(LIFETIME_OF_A_ROW // 60 + 2):  # the horizon follows the clock in strides
        await database.janitor.sweep("after the flood", now + 60 * minute)
    await database.close()


@pytest.mark.attack("EXH-10")
async def test_a_worker_holds_no_more_after_many_requests_than_after_some(server: AuthorizationServer) -> None:
    async with server.http() as http:
        clients = [server.client(http, client_id) for client_id in OTHERS]
        for client in clients:
            await client.client_credentials()
        opened = [client.authorization_url(await client.push()) for client in clients]
        lines = await server.connections(8)

        def mixed(number: int) -> Prepared:
            return _one_of_all(server, clients[number % len(clients)], opened[number % len(opened)], number)

        answers = await _sent(lines, mixed, range(SETTLED))
        before = _held(server)
        answers += await _sent(lines, mixed, range(SETTLED, MIXED))
        _flat(before, _held(server))
        for line in lines:
            await line.close()
    assert set(answers) <= {200, 201, 303, 400, 401, 404, 429}
    assert answers[200] > MIXED // 4
    assert answers[201] > 0
    assert answers[401] > 0


def _one_of_all(server: AuthorizationServer, client: FapiClient, opened: str, number: int) -> Prepared:
    """Tokens, pushes, documents and pages; wrong keys, unknown names, half a form."""
    match number % 7:
        case 0 | 1:
            return ready(client.credentials_request())
        case 2:
            return ready(client.push_request(code_verifier="v" * 43, state=f"state {number}"))
        case 3:
            return prepare(f"{server.issuer}/.well-known/oauth-authorization-server", [], b"", method="GET")
        case 4:
            return prepare(opened, [("sec-fetch-site", "cross-site")], b"", method="GET")
        case 5:
            name = f"nobody-{number}"
            with client.lying(sub=name, iss=name, assertion_key=STRANGER, form={"client_id": name}):
                return ready(client.credentials_request())
        case _:
            form = [("content-type", "application/x-www-form-urlencoded")]
            return prepare(f"{server.issuer}/token", form, f"grant_type=x{number}&client_id=a".encode())
