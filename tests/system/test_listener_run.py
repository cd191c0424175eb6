"""What an author of an MCP server calls: `run` in its own process, and `serve` with a time limit on handshakes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypercorn.utils import LifespanFailureError

from rs_kit.adapters.hypercorn import ListenerConfig, serve
from tests.support.processes import free_port, start, wait_until
from tests.support.raw_http import exchange, request
from tests.support.tiny_application import build


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> dict[str, str]:
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    return {"certfile": str(tmp_path / "both.pem"), "keyfile": str(tmp_path / "both.pem")}


def accepts(port: int, context: ssl.SSLContext) -> bool:
    try:
        return exchange(port, request("GET", "/ok", "Connection: close"), context=context)[0].status == 200
    except ConnectionRefusedError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_call_serves_an_application_over_tls_until_a_signal(
    tmp_path: Path, authority: trustme.CA, files: dict[str, str], number: int
) -> None:
    port = free_port()
    code = (
        "from rs_kit.adapters.hypercorn import run; from tests.support.tiny_application import build; "
        f"run(build({str(tmp_path)!r}), host='localhost', port={port}, **{files!r})"
    )
    server = start([sys.executable, "-c", code], tmp_path)
    try:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        wait_until(lambda: accepts(port, context), what="the start")
        os.kill(server.process.pid, number)
        assert server.wait() == 0
    finally:
        server.stop()
    assert server.errors == ""
    assert (tmp_path / "stopped").exists()


@pytest.mark.attack("HTT-16")
async def test_a_handshake_that_does_not_come_is_given_up(tmp_path: Path, files: dict[str, str]) -> None:
    assert ListenerConfig().handshake_seconds == 10.0
    shutdown, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    config = ListenerConfig(**files, handshake_seconds=0.05, lame_duck_seconds=0.0)
    serving = asyncio.create_task(serve(build(str(tmp_path)), config, shutdown, ready=port.set_result))
    reader, writer = await asyncio.open_connection("127.0.0.1", await port)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    shutdown.set()
    await serving


async def test_an_application_that_refuses_to_start_is_not_served() -> None:
    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "the reason"})

    with pytest.raises(LifespanFailureError, match="the reason"):
        await serve(refusing, ListenerConfig(), asyncio.Event())


async def test_an_address_that_is_taken_ends_the_start_and_what_was_opened_for_it_is_closed(tmp_path: Path) -> None:
    shutdown, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    config = ListenerConfig(lame_duck_seconds=0.0)
    serving = asyncio.create_task(serve(build(str(tmp_path)), config, shutdown, ready=port.set_result))
    second = tmp_path / "second"
    second.mkdir()
    with pytest.raises(OSError, match="in use"):
        await serve(build(str(second)), ListenerConfig(port=await port), asyncio.Event())
    assert (second / "stopped").exists()
    shutdown.set()
    await serving


@pytest.mark.parametrize(
    "members",
    [{"certfile": "only.pem"}, {"keyfile": "only.pem"}, {"client_certificates": True}],
    ids=lambda members: next(iter(members)),
)
async def test_half_a_pair_is_never_served_in_clear(tmp_path: Path, members: dict[str, Any]) -> None:
    at_once = asyncio.Event()
    at_once.set()
    with pytest.raises(ValueError, match="belong together"):
        await serve(build(str(tmp_path)), ListenerConfig(**members), at_once)
    assert (tmp_path / "stopped").exists()


class TwoAddresses:
    """One application in this loop on two addresses, the second of which asks for certificates."""

    def __init__(self, directory: Path, files: dict[str, str], **limits: Any) -> None:
        self._directory = directory
        self._shutdown = asyncio.Event()
        self._ready: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
        limits = {"lame_duck_seconds": 0.0, **files, **limits}
        self._configs = [ListenerConfig(**limits), ListenerConfig(client_certificates=True, **limits)]
        self.serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> tuple[int, ...]:
        application = build(str(self._directory))
        told = self._ready.set_result
        self.serving = asyncio.create_task(
            serve(application, self._configs, self._shutdown, ready=lambda *ports: told(ports))
        )
        return await self._ready

    def stop(self) -> None:
        self._shutdown.set()

    async def __aexit__(self, *_: object) -> None:
        self.stop()
        assert self.serving is not None
        await self.serving


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def opened(port: int, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")


async def test_an_application_on_two_addresses_is_started_once_and_both_are_drained(
    tmp_path: Path, files: dict[str, str], trusting: ssl.SSLContext
) -> None:
    addresses = TwoAddresses(tmp_path, files)
    async with asyncio.timeout(20), addresses as ports:
        lines = [await opened(port, trusting) for port in ports]
        for _, writer in lines:
            writer.write(request("GET", "/slow"))
        while not (tmp_path / "begun").exists() or (tmp_path / "begun").stat().st_size < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        addresses.stop()
        await asyncio.sleep(0.05)
        (tmp_path / "gate").touch()
        for reader, writer in lines:  # what was under way is answered at both, and is the last
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            writer.close()
    assert (tmp_path / "started").read_bytes() == b"x"
    assert (tmp_path / "stopped").read_bytes() == b"x"


async def test_connections_to_both_addresses_are_counted_together(
    tmp_path: Path, files: dict[str, str], trusting: ssl.SSLContext
) -> None:
    async with asyncio.timeout(20), TwoAddresses(tmp_path, files, connections_per_source=2) as ports:
        lines = [await opened(port, trusting) for port in ports]
        for reader, writer in lines:
            writer.write(request("GET", "/ok"))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        for port in ports:
            reader, writer = await opened(port, trusting)
            writer.write(request("GET", "/ok"))
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                assert await reader.read() == b""
            writer.transport.abort()
        for _, writer in lines:
            writer.transport.abort()


async def test_an_address_that_is_taken_leaves_none_of_the_others_behind(tmp_path: Path, files: dict[str, str]) -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        configs = [ListenerConfig(port=port, **files), ListenerConfig(port=taken.getsockname()[1], **files)]
        with pytest.raises(OSError, match="in use"):
            await serve(build(str(tmp_path)), configs, asyncio.Event())
    with socket.socket() as again:
        again.bind(("127.0.0.1", port))
