"""Calls an ASGI application with one request, as a listener would; the peer may be slow or leave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

Message = MutableMapping[str, Any]
Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]


@dataclass(kw_only=True)
class AsgiAnswer:
    """What an application sent."""

    messages: list[Message] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def pairs(self) -> list[tuple[bytes, bytes]]:
        return list(self.messages[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    def header(self, name: str) -> str | None:
        """The one value of a header; two are a failure."""
        values = [value.decode("latin-1") for key, value in self.pairs if key == name.encode()]
        assert len(values) < 2, f"{name} is there {len(values)} times"
        return values[0] if values else None


async def call(
    app: Application,
    method: str,
    target: str,
    headers: dict[str, str] | list[tuple[bytes, bytes]] | None = None,
    body: bytes | list[bytes] = b"",
    *,
    source: str = "192.0.2.7",
) -> AsgiAnswer:
    """One whole request; a list is a body in pieces."""
    pieces = body if isinstance(body, list) else [body]
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    for number, piece in enumerate(pieces, 1):
        inbox.put_nowait({"type": "http.request", "body": piece, "more_body": number < len(pieces)})
    return await call_with(app, scope(method, target, headers, source=source), inbox)


async def call_with(app: Application, asked: dict[str, Any], inbox: asyncio.Queue[Message]) -> AsgiAnswer:
    """One request whose messages the test puts into the inbox."""
    answer = AsgiAnswer()

    async def send(message: Message) -> None:
        answer.messages.append(message)

    await app(asked, inbox.get, send)
    return answer


def scope(
    method: str,
    target: str,
    headers: dict[str, str] | list[tuple[bytes, bytes]] | None = None,
    *,
    source: str = "192.0.2.7",
) -> dict[str, Any]:
    """The scope of a request."""
    if not isinstance(headers, list):
        headers = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"spec_version": "2.1", "version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"as.example"), *headers],
        "client": (source, 4711),
        "server": ("127.0.0.1", 8443),
        "state": {},
        "extensions": {},
    }


class Lifespan:
    """Starts and stops an application as the listener does."""

    def __init__(self, application: Application) -> None:
        self._to: asyncio.Queue[Any] = asyncio.Queue()
        self._from: asyncio.Queue[Any] = asyncio.Queue()
        self._task = asyncio.ensure_future(application({"type": "lifespan"}, self._to.get, self._from.put))

    async def __aenter__(self) -> None:
        await self._to.put({"type": "lifespan.startup"})
        assert await self._from.get() == {"type": "lifespan.startup.complete"}

    async def __aexit__(self, *_: object) -> None:
        await self._to.put({"type": "lifespan.shutdown"})
        assert await self._from.get() == {"type": "lifespan.shutdown.complete"}
        await self._task
