"""Accepting: one after the other, everybody in the end, and nobody lost when the listener stops."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import time
from pathlib import Path

import pytest
import trustme

from rs_kit.adapters.listener.accepting import Acceptor
from rs_kit.adapters.listener.tls import RenewedTls

MANY = 40


class OutOfDescriptors(socket.socket):
    """A listening socket of a process that has no file descriptor left for a while."""

    failures = 2

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def bound(kind: type[socket.socket] = socket.socket) -> socket.socket:
    made = kind(socket.AF_INET, socket.SOCK_STREAM)
    made.bind(("127.0.0.1", 0))
    made.settimeout(0)
    return made


class Greeter:
    """Says hello on every connection and notes when."""

    def __init__(self) -> None:
        self.moments: list[float] = []

    def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.moments.append(time.monotonic())
        writer.write(b"hello")
        writer.close()


async def greeting(port: int, context: ssl.SSLContext | None = None) -> bytes:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost" if context else None
    )
    with contextlib.closing(writer):
        return await reader.read()


def contexts(directory: Path) -> tuple[RenewedTls, ssl.SSLContext]:
    authority, client = trustme.CA(), ssl.create_default_context()
    both = directory / "both.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(both)
    authority.configure_trust(client)
    return RenewedTls(str(both), str(both)), client


async def test_everybody_who_connects_at_once_is_let_in() -> None:
    listening = bound()
    acceptor = Acceptor(listening, Greeter(), tls=None, handshake_seconds=5.0, handshake_limit=MANY)
    acceptor.start(MANY)
    said = await asyncio.gather(*(greeting(listening.getsockname()[1]) for _ in range(MANY)))
    acceptor.close()
    assert said == [b"hello"] * MANY


@pytest.mark.attack("HTT-16")
async def test_handshakes_begin_one_after_the_other(tmp_path: Path) -> None:
    server, client = contexts(tmp_path)
    listening, greeter = bound(), Greeter()
    acceptor = Acceptor(listening, greeter, tls=server, handshake_seconds=5.0, handshake_limit=MANY)
    acceptor.start(MANY)
    began = time.monotonic()
    said = await asyncio.gather(*(greeting(listening.getsockname()[1], client) for _ in range(MANY)))
    acceptor.close()
    assert said == [b"hello"] * MANY
    assert max(greeter.moments) - began >= (MANY - 1) * 0.001


@pytest.mark.attack("HTT-16")
async def test_peers_that_never_begin_their_handshake_hold_no_more_than_a_number_of_descriptors(tmp_path: Path) -> None:
    server, client = contexts(tmp_path)
    listening = bound()
    acceptor = Acceptor(listening, Greeter(), tls=server, handshake_seconds=60.0, handshake_limit=3)
    acceptor.start(MANY)
    port = listening.getsockname()[1]
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MANY)]
    assert await greeting(port, client) == b"hello"  # the newest is served, the oldest were given up
    async with asyncio.timeout(5):
        for reader, _ in silent[: MANY - 3]:
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
    assert not any(reader.at_eof() for reader, _ in silent[MANY - 2 :])
    for _, writer in silent:
        writer.close()
    acceptor.close()


async def test_without_descriptors_nobody_is_lost_and_nothing_spins() -> None:
    listening = bound(OutOfDescriptors)
    acceptor = Acceptor(listening, Greeter(), tls=None, handshake_seconds=5.0, handshake_limit=MANY)
    acceptor.start(MANY)
    used, began = time.process_time(), time.monotonic()
    said = await greeting(listening.getsockname()[1])
    acceptor.close()
    assert said == b"hello"
    assert time.monotonic() - began >= 1.9
    assert time.process_time() - used < 1.0


async def test_who_waits_when_the_listener_stops_is_let_in_and_later_ones_are_refused() -> None:
    listening = bound()
    acceptor = Acceptor(listening, Greeter(), tls=None, handshake_seconds=5.0, handshake_limit=MANY)
    acceptor.start(MANY)
    port = listening.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)) as waiting:  # accepted by the kernel, not by us
        acceptor.close()
        waiting.settimeout(0)
        said = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(waiting, 64), 5.0)
    assert said == b"hello"
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
