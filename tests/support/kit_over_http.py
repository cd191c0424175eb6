"""The guarded bank over real sockets: our listener, the kit, and behind it the MCP SDK or a plain ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx2

from rs_kit.adapters.asgi import RsKit
from rs_kit.adapters.hypercorn import Application, ListenerConfig, serve
from rs_kit.adapters.mcp import protect
from tests.support.guarded_bank import RESOURCE, Bank, Line
from tests.support.plain_bank import PlainBank
from tests.support.raw_http import RawAnswer, answers

ORIGIN: Final = RESOURCE.removesuffix("/mcp")
HOST: Final = ORIGIN.removeprefix("https://")
_SECONDS: Final = 20.0
Header = tuple[bytes, bytes]


class RawHttp:
    """One connection per request; what the test says is what goes over the wire, byte by byte."""

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self.tls = tls

    async def request(self, method: str, url: str, *, headers: list[Header], content: bytes | None) -> httpx2.Response:
        """One request and its whole answer; Host, length and Connection are added where they are missing."""
        sent = wire(method, url, headers, content)
        received = await self.exchange(sent)
        (answer,) = answers(received, to_head=method == "HEAD")
        pairs = [line.partition(b":") for line in received.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
        return httpx2.Response(
            answer.status,
            headers=[(name, value.strip()) for name, _, value in pairs],
            content=answer.body,
            request=httpx2.Request(method, ORIGIN + url, headers=headers, content=content or b""),
        )

    async def raw(self, sent: bytes) -> list[RawAnswer]:
        """Every answer to these bytes."""
        return answers(await self.exchange(sent))

    async def exchange(self, sent: bytes) -> bytes:
        """Send, and read until the server closes."""
        async with asyncio.timeout(_SECONDS), connected(self.port, tls=self.tls) as (reader, writer):
            writer.write(sent)
            await writer.drain()
            return await reader.read()


def wire(method: str, url: str, headers: list[Header], content: bytes | None) -> bytes:
    """The bytes of one request after which the server closes."""
    names = {name.lower() for name, _ in headers}
    own = [] if b"host" in names else [(b"Host", HOST.encode())]
    if content is not None and b"content-length" not in names:
        own.append((b"Content-Length", b"%d" % len(content)))
    if b"connection" not in names:
        own.append((b"Connection", b"close"))
    lines = [b"%s: %s" % pair for pair in (*own, *headers)]
    return b"\r\n".join([f"{method} {url} HTTP/1.1".encode("latin-1"), *lines, b"", content or b""])


@contextlib.asynccontextmanager
async def connected(
    port: int, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """An open connection to this machine."""
    named = None if tls is None else "localhost"
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=named)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def listening(app: Application, **config: Any) -> AsyncIterator[int]:
    """The application on the kit's own listener, on a free port of the loopback; stopped gracefully."""
    shutdown, port = asyncio.Event(), asyncio.get_running_loop().create_future()
    limits = ListenerConfig(lame_duck_seconds=0.0, graceful_seconds=5.0, **config)
    task = asyncio.create_task(serve(app, limits, shutdown, ready=port.set_result))
    try:
        yield await port
    finally:
        shutdown.set()
        await task


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Both ends of the connections to one site; `server` is a file with its certificate and its key."""

    server: str
    client: ssl.SSLContext
    client_certificates: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One kind of application behind the kit and the listener."""

    name: str
    behind_the_kit: Callable[..., RsKit]

    def __str__(self) -> str:
        return self.name

    @contextlib.asynccontextmanager
    async def serving(
        self,
        bank: Bank,
        *,
        stateless: bool = True,
        json_response: bool = True,
        tls: Tls | None = None,
        **options: Any,
    ) -> AsyncIterator[Line]:
        """A line to the bank, over HTTP, and over TLS where the test says how."""
        app = self.behind_the_kit(bank, stateless=stateless, json_response=json_response, options=options)
        config: dict[str, Any] = {}
        if tls is not None:
            config = {
                "certfile": tls.server,
                "keyfile": tls.server,
                "client_certificates": tls.client_certificates,
            }
        async with listening(app, **config) as port:
            yield Line(bank, RawHttp(port, tls=tls and tls.client), path=options.get("path", "/mcp"))


def _sdk(bank: Bank, *, stateless: bool, json_response: bool, options: dict[str, Any]) -> RsKit:
    inner = bank.sdk_application(stateless=stateless, json_response=json_response)
    return protect(inner, bank.guard, **options)


def _plain(bank: Bank, *, stateless: bool, json_response: bool, options: dict[str, Any]) -> RsKit:
    return RsKit(PlainBank(bank, stateless=stateless, json_response=json_response), bank.guard, **options)


SITES: Final = (
    Site(name="the MCP SDK", behind_the_kit=_sdk),
    Site(name="plain ASGI", behind_the_kit=_plain),
)
