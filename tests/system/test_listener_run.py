"""What an author of an MCP server calls: `run` in its own process, and `serve` with a time limit on handshakes."""

from __future__ import annotations

import asyncio
import os
import signal
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
