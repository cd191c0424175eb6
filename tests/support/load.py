"""Many prepared requests over kept-alive TLS connections: for races and for measuring, not for correctness of HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One request, ready to be written."""

    target: str
    wire: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back, and how long it took in seconds."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


def prepare(url: str, headers: Iterable[tuple[str, str]], body: bytes, *, method: str = "POST") -> Prepared:
    """Serialise a request once."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers if name.lower() not in {"host", "content-length"}]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return Prepared(target=target, wire="\r\n".join(lines).encode("latin-1") + body)


class Connection:
    """One kept-alive connection that sends one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.tell: Callable[[Prepared, Reply], None] | None = None  # who is told of every answer

    @classmethod
    async def open(cls, host: str, port: int, context: ssl.SSLContext) -> Connection:
        return cls(*await asyncio.open_connection(host, port, ssl=context))

    async def send(self, request: Prepared) -> Reply:
        started = time.perf_counter()
        self.writer.write(request.wire)
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head[:-4].split(b"\r\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(b":")
            headers[name.strip().lower().decode("latin-1")] = value.strip().decode("latin-1")
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        reply = Reply(
            status=int(first.split(b" ", 2)[1]), headers=headers, body=body, seconds=time.perf_counter() - started
        )
        if self.tell is not None:
            self.tell(request, reply)
        return reply

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await self.writer.wait_closed()


async def connections(count: int, host: str, port: int, context: ssl.SSLContext) -> list[Connection]:
    """Open connections one after another, so that the handshakes themselves are no race."""
    return [await Connection.open(host, port, context) for _ in range(count)]


async def at_once(lines: Sequence[Connection], requests: Sequence[Prepared]) -> list[Reply]:
    """One request on each connection, all released by one event in the same turn of the loop."""
    gate = asyncio.Event()

    async def one(line: Connection, request: Prepared) -> Reply:
        await gate.wait()
        return await line.send(request)

    tasks = [asyncio.create_task(one(line, request)) for line, request in zip(lines, requests, strict=True)]
    await asyncio.sleep(0)
    gate.set()
    return await asyncio.gather(*tasks)


async def drive(lines: Sequence[Connection], requests: Sequence[Prepared]) -> list[Reply]:
    """All requests, each connection taking the next one as soon as it has its answer."""
    queue = iter(requests)
    replies: list[Reply] = []

    async def one(line: Connection) -> None:
        for request in queue:
            replies.append(await line.send(request))  # noqa: PERF401 - several tasks share the iterator

    await asyncio.gather(*(one(line) for line in lines))
    return replies
