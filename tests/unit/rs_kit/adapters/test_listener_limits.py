"""What a peer may take of the listener's time and memory; time is moved by moving deadlines."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.typing import ASGIFramework

from rs_kit.adapters.hypercorn import Listener, ListenerConfig
from rs_kit.adapters.listener.connection import Connection
from rs_kit.adapters.listener.incoming import Incoming
from rs_kit.adapters.listener.strict_http1 import Phase
from tests.support.raw_http import RawAnswer, answers, request

Application = Callable[..., Awaitable[None]]


class Echo:
    """Answers with what it read; `release` lets it answer, `ended` tells how each request ended."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.release.set()
        self.ended: list[str] = []
        self.begun = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.begun.set()
        try:
            body = b""
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    self.ended.append("disconnected")
                    return
                body += message["body"]
                if not message["more_body"]:
                    break
            await self.release.wait()
            await send(
                {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}
            )
            await send({"type": "http.response.body", "body": body})
            self.ended.append("answered")
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise


class Listening:
    """A listener in this loop and peers of it."""

    def __init__(self, listener: Listener, port: int) -> None:
        self.listener = listener
        self.port = port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        before = len(self.listener.shared.connections)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        await reached(lambda: len(self.listener.shared.connections) > before)
        return reader, writer

    @property
    def connection(self) -> Connection:
        (only,) = self.listener.shared.connections
        return only

    def pass_time(self, seconds: float) -> None:
        for connection in self.listener.shared.connections:
            if connection.deadline is not None:
                connection.deadline -= seconds
        self.listener.sweep()


@contextlib.asynccontextmanager
async def listening(app: Application, **settings: Any) -> AsyncIterator[Listening]:
    config = ListenerConfig(**settings)
    listener = Listener(ASGIWrapper(cast(ASGIFramework, app)), config, {})
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Incoming(asyncio.StreamReader(), listener.accept), "127.0.0.1", 0)
    try:
        yield Listening(listener, server.sockets[0].getsockname()[1])
    finally:
        server.close()
        listener.shared.last_call_seconds = 0.0
        for connection in listener.shared.connections:
            connection.writer.transport.abort()
        await listener.drain()


async def reached(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not happened():  # noqa: ASYNC110 - what happens is inside the listener
            await asyncio.sleep(0.001)


async def rest(reader: asyncio.StreamReader) -> list[RawAnswer]:
    async with asyncio.timeout(5):
        return answers(await reader.read())


@pytest.mark.attack("HTT-16")
async def test_a_head_that_is_not_whole_after_10_seconds_gets_408() -> None:
    async with listening(Echo()) as server:
        reader, writer = await server.connect()
        writer.write(b"GET / HTTP/1.1\r\nHost: loc")
        await reached(lambda: server.connection.phase is Phase.HEAD)
        server.pass_time(9.5)
        writer.write(b"al")  # a byte now and then gives no more time
        await asyncio.sleep(0.01)
        assert server.connection.phase is Phase.HEAD
        server.pass_time(0.5)
        (got,) = await rest(reader)
        assert (got.status, got.headers["connection"]) == (408, "close")
        writer.close()


@pytest.mark.attack("HTT-16")
async def test_a_body_that_is_not_whole_after_15_seconds_gets_408_and_its_application_learns_of_it() -> None:
    echo = Echo()
    async with listening(echo) as server:
        reader, writer = await server.connect()
        writer.write(request("POST", "/", "Content-Length: 10") + b"abc")
        await echo.begun.wait()
        server.pass_time(14.5)
        writer.write(b"d")
        await asyncio.sleep(0.01)
        assert server.connection.phase is Phase.BODY
        server.pass_time(0.5)
        (got,) = await rest(reader)
        assert (got.status, got.headers["connection"]) == (408, "close")
        await reached(lambda: echo.ended == ["disconnected"])
        writer.close()


async def test_an_application_may_take_as_long_as_it_needs() -> None:
    echo = Echo()
    echo.release.clear()
    async with listening(echo) as server:
        reader, writer = await server.connect()
        writer.write(request("GET", "/", "Connection: close"))
        await reached(lambda: echo.begun.is_set() and server.connection.phase is Phase.ANSWERING)
        server.pass_time(3600)
        echo.release.set()
        assert (await rest(reader))[0].status == 200
        writer.close()


async def test_a_kept_alive_connection_that_is_silent_is_closed_without_a_word() -> None:
    async with listening(Echo()) as server:
        reader, writer = await server.connect()
        writer.write(request("GET", "/"))
        await reached(lambda: server.connection.phase is Phase.IDLE and server.connection.deadline is not None)
        await reader.readuntil(b"\r\n\r\n")
        server.pass_time(59)
        assert server.connection.phase is Phase.IDLE
        server.pass_time(1)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


async def test_a_request_that_comes_while_silent_connections_are_ended_is_answered() -> None:
    echo = Echo()
    async with listening(echo) as server:
        peers = [await server.connect() for _ in range(60)]
        echo.release.clear()
        server.pass_time(10)  # they are ended one after the other
        last = tuple(server.listener.shared.connections)[-1].writer.get_extra_info("peername")
        ((reader, writer),) = (peer for peer in peers if peer[1].get_extra_info("sockname") == last)
        writer.write(request("GET", "/", "Connection: close"))
        await reached(lambda: len(server.listener.shared.connections) == 1)
        assert server.connection.phase is Phase.ANSWERING
        echo.release.set()
        assert (await rest(reader))[0].status == 200
        for _, other in peers:
            other.close()


class Unending:
    """A connection whose end fails."""

    deadline: float | None = 0.0

    async def expire(self) -> None:
        raise ValueError


async def test_a_connection_that_cannot_be_ended_keeps_no_other_from_its_end(caplog: pytest.LogCaptureFixture) -> None:
    async with listening(Echo()) as server:
        unending = cast(Connection, Unending())
        peers = [await server.connect(), await server.connect()]
        connections = server.listener.shared.connections
        connections.add(unending)
        server.pass_time(10)
        await reached(lambda: connections == {unending})
        connections.remove(unending)
        for _, writer in peers:
            writer.close()
    assert [record.message for record in caplog.records] == ["a connection did not end as it should"]


async def test_a_fresh_connection_that_is_silent_is_closed_after_10_seconds() -> None:
    async with listening(Echo()) as server:
        reader, writer = await server.connect()
        server.pass_time(10)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


@pytest.mark.attack("HTT-16")
async def test_a_peer_that_never_reads_is_cut_off_and_its_application_waits_no_longer() -> None:
    done = asyncio.Event()

    async def flood(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(400):
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
        done.set()

    async with listening(flood) as server:
        raw = socket.create_connection(("127.0.0.1", server.port))
        raw.sendall(request("GET", "/"))
        await reached(lambda: server.listener.shared.connections and server.connection.deadline is not None)
        await reached(lambda: server.connection.phase is Phase.ANSWERING and server.connection.deadline is not None)
        assert not done.is_set()
        buffered = server.connection.writer.transport.get_write_buffer_size()
        assert buffered < 4 * 65_536
        server.pass_time(15)
        async with asyncio.timeout(5):
            await done.wait()
        raw.close()


async def test_connections_over_the_limit_are_closed_at_once_and_the_others_served() -> None:
    async with listening(Echo(), connection_limit=1) as server:
        reader, writer = await server.connect()
        late, late_writer = await asyncio.open_connection("127.0.0.1", server.port)
        with contextlib.suppress(ConnectionResetError):
            assert await late.read() == b""
        writer.write(request("GET", "/", "Connection: close"))
        assert (await rest(reader))[0].status == 200
        late_writer.close()
        writer.close()


@pytest.mark.attack("HTT-16")
async def test_one_address_may_not_hold_all_connections_and_gets_them_back() -> None:
    async with listening(Echo(), connections_per_source=1) as server:
        _, writer = await server.connect()
        late, late_writer = await asyncio.open_connection("127.0.0.1", server.port)
        with contextlib.suppress(ConnectionResetError):
            assert await late.read() == b""
        reader, other = await asyncio.open_connection("127.0.0.1", server.port, local_addr=("127.0.0.9", 0))
        other.write(request("GET", "/", "Connection: close"))
        assert (await rest(reader))[0].status == 200
        writer.close()
        await reached(lambda: not server.listener.shared.connections)
        reader, again = await server.connect()
        again.write(request("GET", "/", "Connection: close"))
        assert (await rest(reader))[0].status == 200
        for left in (late_writer, other, again):
            left.close()


async def test_connections_never_take_the_last_descriptors_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (129, 129))
    async with listening(Echo()) as server:
        _, writer = await server.connect()
        late, late_writer = await asyncio.open_connection("127.0.0.1", server.port)
        with contextlib.suppress(ConnectionResetError):
            assert await late.read() == b""
        late_writer.close()
        writer.close()


async def test_a_peer_that_leaves_cancels_nothing_and_a_stop_waits_for_what_it_began() -> None:
    echo = Echo()
    echo.release.clear()
    async with listening(echo, graceful_seconds=5.0, lame_duck_seconds=0.0) as server:
        _, writer = await server.connect()
        writer.write(request("GET", "/"))
        await echo.begun.wait()
        writer.close()
        await reached(lambda: not server.listener.shared.connections)
        draining = asyncio.create_task(server.listener.drain())
        await asyncio.sleep(0.01)
        assert not draining.done()
        echo.release.set()
        await draining
    assert echo.ended == ["answered"]


async def test_an_application_that_outlasts_the_graceful_time_is_cancelled_at_last() -> None:
    echo = Echo()
    echo.release.clear()
    async with listening(echo, graceful_seconds=0.05, lame_duck_seconds=0.0) as server:
        _, writer = await server.connect()
        writer.write(request("GET", "/"))
        await echo.begun.wait()
        await server.listener.drain()
        writer.close()
    assert echo.ended == ["cancelled"]


async def test_while_draining_a_request_that_was_under_way_is_answered_with_connection_close() -> None:
    async with listening(Echo(), lame_duck_seconds=5.0) as server:
        reader, writer = await server.connect()
        writer.write(request("GET", "/"))
        await reader.readuntil(b"\r\n\r\n")
        draining = asyncio.create_task(server.listener.drain())
        await asyncio.sleep(0)
        writer.write(request("GET", "/"))
        (got,) = await rest(reader)
        assert (got.status, got.headers["connection"]) == (200, "close")
        writer.close()
        await draining


async def test_an_application_that_fails_is_answered_500_without_a_word_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("the reason")

    async with listening(broken) as server:
        reader, writer = await server.connect()
        writer.write(request("GET", "/", "Connection: close"))
        (got,) = await rest(reader)
        assert (got.status, got.body) == (500, b"")
        writer.close()
    assert "the application failed" in caplog.text


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ([{"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"b\r\nset-cookie: c=d")]}], 500),
        (
            [
                {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]},
                {"body": b"short"},
            ],
            200,
        ),
    ],
    ids=["a forged field", "less than announced"],
)
async def test_an_answer_that_would_be_malformed_ends_its_connection(said: list[Any], status: int) -> None:
    async def wrong(scope: Any, receive: Any, send: Any) -> None:
        for message in said:
            await send({"type": "http.response.body", **message})

    async with listening(wrong) as server:
        reader, writer = await server.connect()
        writer.write(request("GET", "/"))
        async with asyncio.timeout(5):
            received = await reader.read()
        assert received.startswith(b"HTTP/1.1 %d " % status)
        assert b"set-cookie" not in received
        writer.close()


async def test_an_answer_leaves_in_one_write() -> None:
    written: list[bytes] = []
    async with listening(Echo()) as server:
        reader, writer = await server.connect()
        original = server.connection.writer.write
        server.connection.writer.write = lambda data: (written.append(data), original(data))[1]
        writer.write(request("POST", "/", "Connection: close", body=b"hello"))
        assert (await rest(reader))[0].body == b"hello"
        writer.close()
    assert len(written) == 1
