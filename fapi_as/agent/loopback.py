"""Where a person's browser comes back to: an address of this machine that takes one answer and nothing else (RFC 8252).

It judges only whether a browser went there by itself. Whether what it brings answers our request (`iss`, `state`) is
judged by the core, which knows the request.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from fapi_as.agent.address import acceptable_redirect
from fapi_as.agent.errors import AgentError, Misconfigured

PATIENCE: Final = timedelta(minutes=5)  # for a person to sign in and decide
_HEAD_SECONDS: Final = 5.0  # for a browser to send its request
_HEAD_LIMIT: Final = 16_384  # bytes
_VISITORS: Final = 16  # at once; a browser opens two or three connections
_HOSTS: Final = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}  # RFC 8252 §8.3: literals, never a name
_REQUEST: Final = re.compile(r"([A-Z]+) ([!-~]+) HTTP/1\.[01]\Z")
_PAGE: Final = (
    "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
    "<h1>{title}</h1><p>You can close this page. The program that sent you here says whether it worked.</p></html>\n"
)


class NobodyCameBack(AgentError):
    """The person's browser did not come back in time; nothing was allowed."""


class Loopback:
    """A port of this machine, taken when the object is made and served within `listening`.

    Args:
        redirect_uri: as it is registered: `http`, 127.0.0.1 or [::1], and a path; a port only when it must be that one.

    Raises:
        Misconfigured: another address, or its port is taken.
    """

    def __init__(self, redirect_uri: str) -> None:
        acceptable_redirect(redirect_uri)
        parts = urlsplit(redirect_uri)
        if parts.scheme != "http" or parts.hostname not in _HOSTS or not parts.path.startswith("/") or parts.query:
            raise Misconfigured("the redirect_uri must be http://127.0.0.1/ or http://[::1]/ with a path and no query")
        host = parts.hostname
        self._socket = socket.socket(_HOSTS[host], socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if parts.port and os.name == "posix":
            # the last sign-in's connections linger for a minute; who listens on the port still keeps all others out
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with self._taken():
            self._socket.bind((host, parts.port or 0))
        self._authority = f"{f'[{host}]' if ':' in host else host}:{self._socket.getsockname()[1]}"
        self._path = parts.path
        self._came_back: asyncio.Future[str] | None = None
        self._visitors = 0
        self._patience = self._end = 0.0  # seconds, and a time of the event loop's clock

    @contextmanager
    def _taken(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._socket.close()
            raise Misconfigured(f"the port of the redirect_uri cannot be taken: {error.strerror}") from None

    @property
    def redirect_uri(self) -> str:
        """The address with its port, for this run's requests."""
        return f"http://{self._authority}{self._path}"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Answer browsers until the end of the block; the port is free afterwards.

        Raises:
            Misconfigured: somebody else listens on the port by now.
        """
        with self._taken():
            server = await asyncio.start_server(self._visited, sock=self._socket, limit=_HEAD_LIMIT)
        try:
            yield
        finally:
            server.close()

    async def answer(self, patience: timedelta = PATIENCE) -> str:
        """Wait for the address that the browser comes back to.

        Raises:
            NobodyCameBack: it did not within `patience`.
        """
        self._patience = patience.total_seconds()
        self._end = asyncio.get_running_loop().time() + self._patience
        return await self.another()

    async def another(self) -> str:
        """Wait for one more address, in what is left of the time of `answer`: the first was brought by a stranger.

        Raises:
            NobodyCameBack: there was none.
        """
        self._came_back = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout_at(self._end):
                return await self._came_back
        except TimeoutError:
            minutes = self._patience / 60
            raise NobodyCameBack(f"nobody came back from the browser within {minutes:g} minutes") from None
        finally:
            self._came_back = None

    async def _visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._visitors += 1
        try:
            if self._visitors <= _VISITORS:
                with contextlib.suppress(TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
                    async with asyncio.timeout(_HEAD_SECONDS):
                        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                        writer.write(self._reply(head))
                        await writer.drain()
        finally:
            self._visitors -= 1
            writer.close()

    def _reply(self, head: str) -> bytes:
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        request, headers = _REQUEST.match(first), _headers(lines)
        if request is None or headers is None or headers.get("host") != self._authority:  # DNS rebinding: another name
            return _page("400 Bad Request", "This is no request for this address")
        method, target = request.groups()
        path, _, query = target.partition("?")
        if path != self._path or not query:
            return _page("404 Not Found", "There is nothing here")
        if method != "GET":
            return _page("405 Method Not Allowed", "There is nothing to do here")
        if not _went_there(headers):
            return _page("403 Forbidden", "A page may not do this in your place")
        if self._came_back is None or self._came_back.done():
            return _page("410 Gone", "This sign-in has ended")
        self._came_back.set_result(f"http://{self._authority}{target}")
        return _page("200 OK", "Your answer has arrived")


def _headers(lines: list[str]) -> Mapping[str, str] | None:
    pairs = [line.partition(":") for line in lines]
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return headers if len(headers) == len(pairs) else None  # a header twice has two readings


def _went_there(headers: Mapping[str, str]) -> bool:
    """Whether a browser that says how it came (Fetch Metadata) was led here, and no page used an image or a script."""
    led = headers.get("sec-fetch-mode", "navigate") == "navigate"
    shown = headers.get("sec-fetch-dest", "document") == "document"
    return led and shown and "prefetch" not in headers.get("sec-purpose", headers.get("purpose", ""))


def _page(status: str, title: str) -> bytes:
    body = _PAGE.format(title=title).encode()
    lines = (
        f"HTTP/1.1 {status}",
        "Content-Type: text/html; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'",
        "Referrer-Policy: no-referrer",  # the code is in the address
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    )
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body
