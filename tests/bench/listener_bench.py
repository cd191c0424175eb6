"""What a new TLS connection costs the listener, beside a bare pyOpenSSL echo server in the same run, and what it holds.

A connection is a full handshake and one small request; the servers take turns in slices, and the lower quartile of
each is compared, as for the other figures. `ratio_to_crypto` is the CPU time of the bare server over that of ours.
"""

from __future__ import annotations

import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Final

from tests.support.bank_certificates import BankCertificates
from tests.support.processes import Server, running, supervised
from tests.support.raw_http import answer, request

Figures = dict[str, dict[str, float]]
Slice = Callable[[], tuple[float, list[float]]]

SLICES: Final = 12
HANDSHAKES: Final = 40  # in a slice
IDLE: Final = 400
_PAGE: Final = 4096
_ASK: Final = request("GET", "/ok")


@contextmanager
def _servers(directory: Path, certificates: BankCertificates) -> Iterator[tuple[Server, dict[bool, Server]]]:
    """The listener with both kinds of addresses, and two bare servers: one that never asks, and one that does."""
    own = certificates.bank
    command = supervised(
        "tests.support.tiny_application:build", str(directory), certfile=own, keyfile=own, mutual_tls=True
    )
    with ExitStack() as opened:

        def run(name: str, arguments: list[str]) -> Server:
            (directory / name).mkdir()
            return opened.enter_context(running(arguments, directory / name))

        bare = [sys.executable, "-m", "tests.bench.bare_echo", own]
        yield run("ours", command), {False: run("bare", bare), True: run("asking", [*bare, "asking"])}


def _seconds(server: Server, port: int, context: ssl.SSLContext) -> tuple[float, list[float]]:
    """CPU seconds of the server for one connection, and how long each took for the client."""
    taken: list[float] = []
    before = server.cpu_seconds()
    for _ in range(HANDSHAKES):
        begun = time.perf_counter()
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(_ASK)
            assert connection.recv(65536)
        taken.append(time.perf_counter() - begun)
    return (server.cpu_seconds() - before) / HANDSHAKES, taken


def _compared(
    ours: Callable[[], tuple[float, list[float]]], bare: Callable[[], tuple[float, list[float]]]
) -> dict[str, float]:
    ours(), bare()  # what is done once
    costs: tuple[list[float], list[float]] = ([], [])
    waits: list[float] = []
    for _ in range(SLICES):
        cost, taken = ours()
        costs[0].append(cost)
        waits += taken
        costs[1].append(bare()[0])
    mine, other = (quantiles(cost, n=4)[0] for cost in costs)
    hundredths = quantiles(waits, n=100)
    return {
        "ratio_to_crypto": round(other / mine, 3),
        "per_cpu_second": round(1 / mine),
        "p50_ms": round(hundredths[49] * 1000, 2),
        "p99_ms": round(hundredths[98] * 1000, 2),
    }


def _resident(server: Server) -> int:
    return sum(
        int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE for pid in server.workers()
    )


def _idle_kib(server: Server, port: int, context: ssl.SSLContext) -> float:
    """What one kept-alive connection holds while nothing happens on it, after a request."""
    with ExitStack() as opened:

        def one() -> None:
            plain = opened.enter_context(socket.create_connection(("127.0.0.1", port)))
            line = opened.enter_context(context.wrap_socket(plain, server_hostname="localhost"))
            line.sendall(_ASK)
            assert answer(line).status == 200

        for _ in range(IDLE // 4):
            one()
        before = _resident(server)
        for _ in range(IDLE):
            one()
        return round((_resident(server) - before) / IDLE / 1024, 1)


def connections() -> Figures:
    """Handshakes with and without a client certificate, and the memory of connections that wait."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        certificates = BankCertificates(directory)
        with _servers(directory, certificates) as (ours, bare):
            ports = {
                asking: int(address.rsplit(":", 1)[1])
                for asking, address in zip((False, True), ours.addresses, strict=True)
            }
            contexts = {False: certificates.client(None), True: certificates.client(certificates.agent)}
            names = {False: "listener.handshake", True: "listener.handshake.certificate"}
            figures: Figures = {}
            for asking, name in names.items():
                port, context, other = ports[asking], contexts[asking], bare[asking]
                figures[name] = _compared(
                    partial(_seconds, ours, port, context), partial(_seconds, other, other.port, context)
                )
            for asking, name in ((False, "listener.idle"), (True, "listener.idle.certificate")):
                figures[name] = {"kib_per_connection": _idle_kib(ours, ports[asking], contexts[asking])}
            return figures
