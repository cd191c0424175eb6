"""The TLS transport on both event loops: what goes in comes out, however it is cut and whoever is slow."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from rs_kit.adapters.listener.tls import RenewedTls, TlsContext, UnusableCertificate
from rs_kit.adapters.listener.tls_transport import PEER_TLS, TlsTransport
from tests.support.negotiating_peer import negotiating

MUCH = 3 * 1024 * 1024
POURED = 32 * 1024 * 1024  # more than the kernel keeps for a socket
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
Peer = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Files:
    """The certificate of a server, and a client that trusts it."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.both = directory / "both.pem"
        self.issue()

    def issue(self) -> None:
        self.authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(self.both)

    def renewed(self, **options: Any) -> RenewedTls:
        return RenewedTls(str(self.both), str(self.both), **options)

    def client(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Runs a test's coroutine on one loop; what the loop calls a failure of a callback is one."""

    def runs(coroutine: Coroutine[Any, Any, None]) -> None:
        failures: list[dict[str, Any]] = []

        async def bounded() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
            async with asyncio.timeout(20):
                await coroutine

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(bounded())
        assert failures == []

    return runs


class Side:
    """Our side of connections: what the transports do is watched here."""

    def __init__(self, files: Files, serve: Callable[[Peer], Awaitable[None]]) -> None:
        self._context = TlsContext(str(files.both), str(files.both))
        self._serve = serve
        self._tasks: set[asyncio.Task[None]] = set()
        self.transports: list[TlsTransport] = []

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        loop = asyncio.get_running_loop()

        def made() -> TlsTransport:
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader, self._connected)
            self.transports.append(TlsTransport(self._context, protocol, loop))
            return self.transports[-1]

        server = await loop.create_server(made, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for transport in self.transports:
                transport.abort()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.get_running_loop().create_task(self._run((reader, writer))))

    async def _run(self, peer: Peer) -> None:
        try:
            await self._serve(peer)
        finally:
            peer[1].close()


async def echo(peer: Peer) -> None:
    """Everything back, as it comes, as fast as the peer takes it."""
    reader, writer = peer
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


@contextlib.asynccontextmanager
async def connected(port: int, **tls: Any) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **tls)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        await asyncio.sleep(0.01)


def client(files: Files, port: int) -> contextlib.AbstractAsyncContextManager[Peer]:
    return connected(port, ssl=files.client(), server_hostname="localhost")


class ByHand:
    """A client whose records the test holds in its hands."""

    def __init__(self, files: Files, peer: Peer) -> None:
        self._incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = files.client().wrap_bio(self._incoming, self.outgoing, server_hostname="localhost")
        self.reader, self.writer = peer

    async def shake_hands(self) -> None:
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
                self.writer.write(self.outgoing.read())
                return
            self.writer.write(self.outgoing.read())
            self._incoming.write(await self.reader.read(65536))

    async def read(self, length: int) -> bytes:
        said = b""
        while len(said) < length:
            try:
                said += self.tls.read(65536)
            except ssl.SSLWantReadError:
                self._incoming.write(await self.reader.read(65536))
        return said


Run = Callable[[Coroutine[Any, Any, None]], None]


def test_much_goes_through_in_both_directions(run: Run, files: Files) -> None:
    async def test() -> None:
        side = Side(files, echo)
        async with side.listening() as port, client(files, port) as (reader, writer):
            sent = bytes(range(256)) * (MUCH // 256)

            async def send() -> None:
                for start in range(0, MUCH, 100_000):
                    writer.write(sent[start : start + 100_000])
                    await writer.drain()

            sending = asyncio.create_task(send())
            assert await reader.readexactly(MUCH) == sent
            await sending

    run(test())


def test_a_peer_that_does_not_read_stops_the_writer_and_not_the_process(run: Run, files: Files) -> None:
    async def test() -> None:
        written = 0

        async def pour(peer: Peer) -> None:
            nonlocal written
            for _ in range(POURED // 65536):
                peer[1].write(b"x" * 65536)
                await peer[1].drain()
                written += 65536

        side = Side(files, pour)
        async with side.listening() as port, client(files, port) as (reader, writer):
            writer.transport.pause_reading()
            before = -1
            while written > before:  # until the buffers on the way are full
                before = written
                await asyncio.sleep(0.1)
            assert written < POURED
            assert side.transports[0].get_write_buffer_size() < 1024 * 1024
            writer.transport.resume_reading()
            assert len(await reader.readexactly(POURED)) == POURED

    run(test())


def test_what_a_slow_reader_has_not_taken_is_not_lost(run: Run, files: Files) -> None:
    async def test() -> None:
        may_read = asyncio.Event()
        taken: asyncio.Queue[bytes] = asyncio.Queue()

        async def late(peer: Peer) -> None:
            await may_read.wait()  # its buffer fills, and the transport stops reading
            await taken.put(await peer[0].readexactly(MUCH))

        side = Side(files, late)
        async with side.listening() as port, client(files, port) as (_, writer):
            writer.write(b"y" * MUCH)
            await asyncio.sleep(0.2)
            may_read.set()
            assert await taken.get() == b"y" * MUCH

    run(test())


def test_tls_is_given_no_more_at_once_than_it_may_keep_room_for(run: Run, files: Files) -> None:
    async def test() -> None:
        sizes: list[int] = []
        side = Side(files, echo)
        async with side.listening() as port, client(files, port) as (reader, writer):
            tls = side.transports[0]._tls
            give = tls.bio_write
            tls.bio_write = lambda data: sizes.append(len(data)) or give(data)  # type: ignore[method-assign,func-returns-value]
            writer.write(b"x" * MUCH)
            assert len(await reader.readexactly(MUCH)) == MUCH
        assert sum(sizes) > MUCH
        assert max(sizes) <= 17 * 1024

    run(test())


@pytest.mark.parametrize("size", [1, 1024 * 1024], ids=["one by one", "in one piece"])
def test_records_may_come_cut_and_together(run: Run, files: Files, size: int) -> None:
    async def test() -> None:
        async with Side(files, echo).listening() as port, connected(port) as peer:
            by_hand = ByHand(files, peer)
            await by_hand.shake_hands()
            for word in (b"one ", b"two ", b"three"):
                by_hand.tls.write(word)
            records = by_hand.outgoing.read()
            for start in range(0, len(records), size):
                by_hand.writer.write(records[start : start + size])
                await by_hand.writer.drain()
                await asyncio.sleep(0)
            assert await by_hand.read(13) == b"one two three"

    run(test())


def test_the_end_is_said_by_each_side_and_heard_by_the_other(run: Run, files: Files) -> None:
    async def test() -> None:
        async def once(peer: Peer) -> None:
            peer[1].write(await peer[0].readexactly(2))

        side = Side(files, once)
        async with side.listening() as port, client(files, port) as (reader, writer):
            writer.write(b"hi")
            assert await reader.read() == b"hi"  # to its end: a close_notify, not a connection cut off
            await writer.wait_closed()

        assert side.transports[0].is_closing()
        assert side.transports[0].get_extra_info(PEER_TLS) is not None

    run(test())


def test_a_record_that_was_changed_on_its_way_ends_the_connection_with_an_alert(run: Run, files: Files) -> None:
    async def test() -> None:
        heard: list[bytes] = []

        async def listen(peer: Peer) -> None:
            heard.append(await peer[0].read())

        async with Side(files, listen).listening() as port, connected(port) as peer:
            by_hand = ByHand(files, peer)
            await by_hand.shake_hands()
            by_hand.tls.write(b"secret")
            record = bytearray(by_hand.outgoing.read())
            record[-1] ^= 1
            by_hand.writer.write(record)
            with pytest.raises(ssl.SSLError, match=r"BAD_RECORD_MAC|bad record mac"):
                await by_hand.read(1)
            assert heard == [b""]

    run(test())


@pytest.mark.attack("HTT-16")
def test_a_peer_that_makes_tls_answer_and_never_reads_is_cut_off(run: Run, files: Files) -> None:
    async def test() -> None:
        side = Side(files, echo)
        async with side.listening() as port:
            plain, record = await asyncio.to_thread(negotiating, port)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            plain.setblocking(False)
            with plain, contextlib.suppress(ConnectionError):
                for _ in range(2000):
                    assert side.transports[0].get_write_buffer_size() < 1024 * 1024
                    await asyncio.get_running_loop().sock_sendall(plain, b"".join(record() for _ in range(1000)))
            assert side.transports[0].is_closing()

    run(test())


def test_a_handshake_is_told_whether_it_came_about(run: Run, files: Files) -> None:
    async def test() -> None:
        side = Side(files, echo)
        async with side.listening() as port:
            with socket.create_connection(("127.0.0.1", port)) as plain:
                plain.sendall(b"\x16\x03\x01\0\5hello")
                while not side.transports:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
                plain.settimeout(0)
                alert = await asyncio.get_running_loop().sock_recv(plain, 100)
                assert alert[:1] == b"\x15"
            assert await side.transports[0].handshaken is False
            async with client(files, port) as (_, _writer):
                assert await side.transports[1].handshaken is True

    run(test())


def test_files_are_looked_at_once_a_second_and_read_when_they_changed(files: Files) -> None:
    tls = files.renewed()
    first = tls.context(10.0)
    files.issue()
    assert tls.context(10.9) is first
    second = tls.context(11.0)
    assert second is not first
    assert second.server_certificate != first.server_certificate
    assert tls.context(20.0) is second


@pytest.mark.parametrize("broken", [b"", b"nothing", None])
def test_a_pair_that_cannot_be_used_leaves_the_former_one_and_is_told_once(
    files: Files, broken: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    tls = files.renewed()
    first = tls.context(10.0)
    good = files.both.read_bytes()
    if broken is None:
        files.both.unlink()
    else:
        files.both.write_bytes(broken)
    assert [tls.context(now) for now in (11.0, 12.0, 13.0)] == [first] * 3
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the former certificate is shown" in caplog.text
    files.both.write_bytes(good)
    assert tls.context(14.0) is not first


def test_halves_of_different_pairs_are_no_pair(files: Files, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    files.authority.issue_cert("localhost").private_key_pem.write_to_path(other)
    with pytest.raises(UnusableCertificate, match="do not belong together"):
        TlsContext(str(files.both), str(other))
    with pytest.raises(FileNotFoundError):
        TlsContext(str(files.both), str(tmp_path / "missing.pem"))
