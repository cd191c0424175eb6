"""The oracles over real processes: the server of tests.support.authorization_server, and the bank behind the kit."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2

from tests.support.oracles import CONTROL_SECONDS, Exchange, Fact, Watched, active

if TYPE_CHECKING:
    from tests.support.authorization_server import AuthorizationServer
    from tests.support.guarded_bank import Bank
    from tests.support.load import Prepared, Reply

_DEFECTS = ("Traceback (most recent call last)", "endpoint failed", "the application failed")


class WatchedServer(Watched):
    """A running authorization server: what it wrote since the test began, its database and its audit."""

    def __init__(self, server: AuthorizationServer) -> None:
        self.server = server
        self._said = len(server.server.errors)
        self._first = max((row for row, *_ in self._rows(0)), default=0)
        self._redirects = {server.issuer, server.redirect_uri}

    def redirects(self) -> set[str]:
        return self._redirects

    def facts(self) -> list[Fact]:
        return [
            Fact(correlation_id=correlation_id, error=error, detail=detail, text=f"{error} {detail} {client_id}")
            for _, correlation_id, error, detail, client_id in self._rows(self._first)
        ]

    def refusals(self) -> int:
        """Those of earlier tests, too: the minute of a budget does not end with a test."""
        return sum(error is not None for _, _, error, _, _ in self._rows(0))

    def kept(self) -> Iterator[tuple[str, bytes]]:
        written = self.server.server.errors[self._said :]
        for defect in _DEFECTS:
            assert defect not in written, written
        yield "the log", written.encode()
        yield "the output", self.server.server.output.encode()
        for path in self._databases():
            yield f"the database ({path.name})", path.read_bytes()

    def control(self) -> None:
        """Push once more over a fresh connection; a busy machine is given a second chance."""
        assert self.server.server.process.poll() is None, "the server has ended"
        taken = [asyncio_run(self._push) for _ in range(2)]
        assert min(taken) < CONTROL_SECONDS, taken

    async def _push(self) -> float:
        client_id = list(self.server.client_keys)[-1]
        started = time.perf_counter()
        async with httpx2.AsyncClient(verify=self.server.trust, timeout=20.0, trust_env=False) as http:
            await self.server.client(http, client_id).push()
            return time.perf_counter() - started

    def _databases(self) -> list[Path]:
        return [path for path in self.server.directory.iterdir() if ".db" in path.name and path.is_file()]

    def _rows(self, after: int) -> list[tuple[int, str, str | None, str | None, str | None]]:
        query = "SELECT id, correlation_id, error, detail, client_id FROM audit WHERE id > ?"
        path = next((path for path in self._databases() if path.suffix == ".db"), None)
        if path is None:  # it lies elsewhere, and whoever put it there judges it
            return []
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return database.execute(query, (after,)).fetchall()


class WatchedBank(Watched):
    """The kit in front of a bank: its answers are judged, and a good call goes through afterwards."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank

    def redirects(self) -> set[str]:
        return set()

    def facts(self) -> list[Fact]:
        return []

    def control(self) -> None:
        """Nothing: tests of the kit take its ports apart, and say themselves what still works."""


def asyncio_run(what: Callable[[], Awaitable[float]]) -> float:
    """In a loop of its own, which leaves the loop of the tests alone."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(what())  # type: ignore[arg-type] # a coroutine is awaitable
    finally:
        loop.close()


def of_response(response: httpx2.Response, *, correlation_id: str | None = None) -> Exchange:
    """The exchange behind an answer that was read."""
    request = response.request
    return Exchange(
        method=request.method,
        target=str(request.url),
        status=response.status_code,
        request_headers=list(request.headers.multi_items()),
        request_body=request.content,
        headers=list(response.headers.multi_items()),
        body=response.content,
        correlation_id=correlation_id or response.headers.get("x-correlation-id"),
    )


def watch_server(server: AuthorizationServer) -> Callable[[Exchange], None] | None:
    """Whom to tell of an exchange with a server, when the running test plays an attack."""
    oracles = active()
    if oracles is None:
        return None
    oracles.watch(server, lambda: WatchedServer(server))
    return lambda exchange: oracles.saw(server, exchange)


def saw_bank(bank: Bank, response: httpx2.Response) -> None:
    """Judge an answer of the kit, when the running test plays an attack."""
    oracles = active()
    if oracles is not None:
        oracles.watch(bank, lambda: WatchedBank(bank))
        oracles.saw(bank, of_response(response))


def event_hooks(tell: Callable[[Exchange], None]) -> dict[str, list[Callable[..., Awaitable[None]]]]:
    """Hooks of an HTTP client that tell of every answer."""

    async def answered(response: httpx2.Response) -> None:
        await response.aread()
        tell(of_response(response))

    return {"response": [answered]}


def of_reply(request: Prepared, reply: Reply) -> Exchange:
    """The exchange behind an answer that tests.support.load has read."""
    head, _, body = request.wire.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return Exchange(
        method=first.partition(" ")[0],
        target=request.target,
        status=reply.status,
        request_headers=[(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)],
        request_body=body,
        headers=list(reply.headers.items()),
        body=reply.body,
        correlation_id=reply.headers.get("x-correlation-id"),
    )
