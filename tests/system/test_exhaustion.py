"""Floods at the real server: what is cheap to refuse is refused cheaply, and what is scarce is never all taken."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.support.authorization_server import AuthorizationServer, authorization_server, ready, register
from tests.support.browser import Browser, Page
from tests.support.fapi_client import FapiClient
from tests.support.load import Connection, Prepared, drive, prepare
from tests.support.processes import running

DESCRIPTORS = 1024
HALF_OPEN = 5000 if os.environ.get("LOAD") == "full" else 1500
FLOOD = 2000
SIGN_INS = 200
RECOVERY_SECONDS = 5.0
THREADS, WAITING = 2, 32  # of a worker: what hashes passwords, and who may wait for it
HASH_MEMORY = 64 * 1024 * 1024  # of one argon2id hash
pytestmark = pytest.mark.xdist_group("exhaustion")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    directory: Path = tmp_path_factory.mktemp("floods")
    with authorization_server(directory, workers=2, clients=3) as server:
        yield server


def _resident(server: AuthorizationServer) -> int:
    """The largest resident memory that the workers have had, in bytes."""
    total = 0
    for pid in server.server.workers():
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                total += int(line.split()[1]) * 1024
    return total


async def _from(server: AuthorizationServer, address: str) -> Connection:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", server.port, ssl=server.trust, server_hostname="localhost", local_addr=(address, 0)
    )
    return Connection(reader, writer)


@pytest.mark.parametrize("what", ["nobody", "unknown client", "wrong key", "oversized"])
async def test_a_flood_of_strangers_is_refused_at_less_cost_than_a_good_request(
    server: AuthorizationServer, what: str
) -> None:
    async with server.http() as http:
        client = server.client(http)
        await client.client_credentials()
        good = [ready(client.credentials_request()) for _ in range(200)]
        lines = await server.connections(8)
        per_good = await _cpu(server, lines, good, {200})
        bad = _strangers(server, server.client(http, "agent-1"), what)
        per_bad = await _cpu(server, lines, [bad] * FLOOD, {401, 400, 413, 429})
        assert per_bad < per_good
        assert per_bad < 0.002, f"{1 / per_bad:.0f} refusals per CPU-second"  # 1,000 a second on two processors
        for line in lines:
            await line.close()


def _strangers(server: AuthorizationServer, client: FapiClient, what: str) -> Prepared:
    url = f"{server.issuer}/par"
    form = [("content-type", "application/x-www-form-urlencoded")]
    if what == "nobody":
        return prepare(url, form, b"response_type=code")
    if what == "oversized":
        return prepare(url, form, b"client_assertion=" + b"a" * 20_000)
    claims = {"iss": "stranger", "sub": "stranger"} if what == "unknown client" else {}
    changed = {"assertion_key": type(client.client_key).es256()} if what == "wrong key" else {}
    said = {"client_id": "stranger"} if claims else {}
    with client.lying(**claims, **changed, form=said, proof=...):
        return ready(client.push_request(code_verifier="v" * 43, state="state"))


async def _cpu(
    server: AuthorizationServer, lines: list[Connection], requests: list[Prepared], expected: set[int]
) -> float:
    before = server.server.cpu_seconds()
    replies = await _drive(lines, requests)
    assert set(replies) <= expected, replies
    return (server.server.cpu_seconds() - before) / len(requests)


async def _drive(lines: list[Connection], requests: list[Prepared]) -> Counter[int]:
    return Counter(reply.status for reply in await drive(lines, requests))


@pytest.mark.attack("EXH-08")
async def test_200_sign_ins_at_once_hash_no_more_than_the_pool_and_tokens_are_issued_meanwhile(
    server: AuthorizationServer,
) -> None:
    before = _resident(server)
    async with server.http() as http:
        client, browser = server.client(http), Browser(http)
        await client.client_credentials()
        place = await browser.open(client.authorization_url(await client.push()))
        assert isinstance(place, Page)
        form = place.form_of("login-submit")
        fields = Browser.fields(form, "login-submit", {})
        lines = [await _from(server, f"127.9.{number // 100}.{number % 100 + 1}") for number in range(SIGN_INS)]
        guesses = [_guess(server, browser, form.action, fields, number) for number in range(SIGN_INS)]
        answered: list[int] = []  # the statuses in the order in which they came
        for line in lines:
            line.tell = lambda _, reply: answered.append(reply.status)
        flood = asyncio.gather(*(line.send(guess) for line, guess in zip(lines, guesses, strict=True)))
        token_lines = await server.connections(2)
        slowest = 0.0
        while not flood.done():
            for line in token_lines:
                reply = await line.send(ready(client.credentials_request()))
                assert reply.status == 200
                slowest = max(slowest, reply.seconds)
        await flood
        for line in (*lines, *token_lines):
            await line.close()
    assert (len(answered), set(answered)) == (SIGN_INS, {401, 429})
    assert _after_the_last_refusal(answered) <= 2 * (THREADS + WAITING + THREADS)
    assert slowest < 1.0
    assert _resident(server) - before < 2 * 2 * HASH_MEMORY + 64 * 1024 * 1024


def _after_the_last_refusal(answered: list[int]) -> int:
    """How many attempts ended once nobody was refused any more: those that were in the pools by then.

    What ended before made room for as many others, and more may get in the longer it takes until all have come. What a
    thread ends between the last refusal and the last arrival makes room for one more.
    """
    return [*answered, 429][::-1].index(429, 1) - 1


def _guess(
    server: AuthorizationServer, browser: Browser, action: str, fields: list[tuple[str, str]], number: int
) -> Prepared:
    said = [(name, {"username": f"nobody-{number}", "password": "a guess"}.get(name, value)) for name, value in fields]
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies[server.issuer].items())
    headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("origin", server.issuer),
        ("sec-fetch-site", "same-origin"),
        ("cookie", cookies),
    ]
    url = action if action.startswith("https://") else server.issuer + action
    return prepare(url, headers, urlencode(said).encode())


@pytest.fixture(scope="module")  # the oracles look at it after the test
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    directory = tmp_path_factory.mktemp("limited")
    registered = register(directory)
    command = ["bash", "-c", f'ulimit -n {DESCRIPTORS} && exec "$@"', "--", *registered.serving(1)]
    with running(command, directory) as process:
        yield registered.running(process)


@pytest.mark.attack("EXH-07")
async def test_half_open_connections_beyond_all_descriptors_leave_who_is_there_served(
    limited: AuthorizationServer,
) -> None:
    async with limited.http() as http:
        client = limited.client(http)
        await client.client_credentials()
        (line,) = await limited.connections(1)
        with contextlib.ExitStack() as held:
            for _ in range(HALF_OPEN):
                silent = held.enter_context(socket.socket())
                silent.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    silent.connect(("127.0.0.1", limited.port))
            for _ in range(10):
                assert (await line.send(ready(client.credentials_request()))).status == 200
                await asyncio.sleep(0.05)
        async with asyncio.timeout(RECOVERY_SECONDS):
            fresh = await _connected(limited)
            assert (await fresh.send(ready(client.credentials_request()))).status == 200
        await line.close()
        await fresh.close()
    assert limited.server.process.poll() is None
    assert len(limited.server.workers()) == 1


async def _connected(server: AuthorizationServer) -> Connection:
    while True:
        with contextlib.suppress(OSError, ssl.SSLError):
            (fresh,) = await server.connections(1)
            return fresh
        await asyncio.sleep(0.1)
