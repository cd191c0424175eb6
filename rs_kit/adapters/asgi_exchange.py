"""One admitted exchange: the application hears the bytes that were judged, and its stream ends with its token."""

from __future__ import annotations

import asyncio
from asyncio import sleep  # by name, so that a test can move its clock instead
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any, Final

from rs_kit.guard import Guard
from rs_kit.ports import AuthorizedCall
from rs_kit.protocol.http import Headers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_REPLACED: Final = frozenset({b"cache-control", b"dpop-nonce"})
_CROSS_ORIGIN: Final = b"access-control-"  # who may read an answer is the kit's to say (MCP-5)


class StreamEnded(OSError):
    """ASGI's way to tell an application that nobody listens any more."""


class Exchange:
    """What the application receives and sends in one admitted call.

    Its answer is never cached and carries the next nonce. A stream of events ends when its token does, whether the
    application has something to say at that moment or not (DPOP-RS-15, MCP-16); it then hears that the client left.

    Args:
        body: of the request, as it was judged.
        more: headers of ours for the answer.
    """

    __slots__ = ("_body", "_call", "_guard", "_lock", "_more", "_over", "_receive", "_send", "_watching", "ended")

    def __init__(  # noqa: PLR0913 - the two sides of one exchange, and whose it is
        self, guard: Guard, call: AuthorizedCall, *, body: bytes, receive: Receive, send: Send, more: Headers = ()
    ) -> None:
        self._guard = guard
        self._call = call
        self._body: bytes | None = body
        self._receive = receive
        self._send = send
        self._more = more
        self._over = asyncio.Event()
        self._lock = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self.ended = False

    async def receive(self) -> Message:
        """The body, once; then whatever the server says, and a disconnect when the token has ended the stream."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        told = asyncio.ensure_future(self._receive())
        over = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait({told, over}, return_when=asyncio.FIRST_COMPLETED)
            return told.result() if told.done() else {"type": "http.disconnect"}
        finally:
            told.cancel()
            over.cancel()

    async def send(self, message: Message) -> None:
        """The application's answer.

        Raises:
            StreamEnded: the token has expired, and the stream with it.
        """
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            if _streams(headers):
                self._watching = asyncio.create_task(self._watch())
            await self._send({**message, "headers": self._answer_headers(headers)})
        elif self._watching is None:
            await self._send(message)
        else:
            await self._send_event(message, self._watching)

    async def close(self) -> None:
        """The application is done; what the kit has to say is said."""
        if self._watching is None:
            return
        if self.ended:
            await asyncio.wait({self._watching})
        else:
            self._watching.cancel()

    async def _send_event(self, message: Message, watching: asyncio.Task[None]) -> None:
        async with self._lock:  # the end may come while the application speaks
            if not self.ended and not self._guard.seconds_left(self._call.token):
                watching.cancel()
                await self._end()
            if self.ended:
                raise StreamEnded("the access token has expired")
            await self._send(message)
            if not message.get("more_body", False):
                watching.cancel()

    async def _watch(self) -> None:
        while left := self._guard.seconds_left(self._call.token):  # noqa: ASYNC110 - a port, and it tells of no steps
            await sleep(left)
        async with self._lock:
            if not self.ended:
                await self._end()

    async def _end(self) -> None:
        self.ended = True
        self._over.set()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _answer_headers(self, headers: Collection[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        return [
            *((name, value) for name, value in headers if not _is_replaced(name.lower())),
            (b"cache-control", _cache_control(headers)),
            (b"vary", b"authorization, dpop"),
            *self._more,
            *self._call.response_headers,
        ]


def _is_replaced(name: bytes) -> bool:
    return name in _REPLACED or name.startswith(_CROSS_ORIGIN)


def _streams(headers: Collection[tuple[bytes, bytes]]) -> bool:
    return any(
        name.lower() == b"content-type" and value.lower().startswith(b"text/event-stream") for name, value in headers
    )


def _cache_control(headers: Collection[tuple[bytes, bytes]]) -> bytes:
    """RSE-9: whatever the application says, except that proxies must not transform an event stream."""
    transforms = any(name.lower() == b"cache-control" and b"no-transform" in value for name, value in headers)
    return b"private, no-store, no-transform" if transforms else b"private, no-store"
