"""Hypercorn's HTTP/1.1 protocol and ASGI stream, with strict framing and fewer steps per request."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.events import Body, EndBody, Request, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.typing import (
    AppWrapper,
    ASGIReceiveEvent,
    ASGISendEvent,
    ConnectionState,
    TaskGroup,
    WorkerContext,
)

from rs_kit.adapters.listener.reading import End, Head, RefusedRequest, RequestReader
from rs_kit.adapters.listener.writing import CONTINUE, AnswerWriter

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

_FINAL_STATUS: Final = 200  # what is below is informational (RFC 9110 §15.2)


class Phase(Enum):
    """What a connection waits for; each phase but ANSWERING ends at its deadline."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    ANSWERING = auto()
    LINGERING = auto()
    CLOSED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a peer may take, in seconds, and how much it may send."""

    head_seconds: float
    body_seconds: float
    idle_seconds: float
    body_bytes: int


class Wire(Protocol):
    """The connection below: it takes bytes and keeps the time."""

    @property
    def is_open(self) -> bool:
        """Whether another request could still be read."""
        ...

    @property
    def limits(self) -> Limits:
        """The limits of this listener."""
        ...

    @property
    def idle_seconds(self) -> float:
        """How long a kept-alive connection may be silent."""
        ...

    @property
    def draining(self) -> bool:
        """Whether the listener stops, so that every answer is the last of its connection."""
        ...

    def enter(self, phase: Phase, seconds: float | None) -> None:
        """Begin a phase that may last so long."""
        ...

    def flush(self) -> None:
        """Write what was taken."""
        ...

    async def drained(self) -> None:
        """Wait while the peer does not read what we wrote."""
        ...

    def linger(self) -> None:
        """Stop serving; read on for a moment, then close."""
        ...


class StrictHttp1(H11Protocol):
    """HTTP/1.1 and nothing else: no upgrade, no prior knowledge, no WebSocket, no request with two readings."""

    def __init__(  # noqa: PLR0913, PLR0917 - Hypercorn's own signature, and the wire
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        task_group: TaskGroup,
        connection_state: ConnectionState,
        ssl: bool,  # noqa: FBT001 - Hypercorn's own signature
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
        send: Callable[[Event], Awaitable[None]],
        *,
        wire: Wire,
    ) -> None:
        super().__init__(app, config, context, task_group, connection_state, ssl, client, server, send)
        self._wire = wire
        self._reader = RequestReader(body_limit=wire.limits.body_bytes)
        self._writer = AnswerWriter("")
        self._body: list[bytes] = []
        self._continue_due = False

    @override
    async def handle(self, event: Event) -> None:
        if isinstance(event, RawData):
            self._reader.receive(event.data)
            try:
                await self._handle_events()
            except RefusedRequest as refused:
                await self.refuse(refused.status)
        elif isinstance(event, Closed):
            await self._close_stream()
            await self.can_read.set()

    def absorb(self, data: bytes) -> bool:
        """Take bytes that change nothing yet; whether they were taken."""
        return self._wire.is_open and self._reader.absorb(data)

    async def refuse(self, status: int) -> None:
        """Answer what cannot be served, unless an answer has begun already, and serve nothing more."""
        self._body.clear()
        await self._close_stream()
        if not self._writer.begun:
            await self._send_error_response(status)
        self._wire.linger()

    @override
    async def _handle_events(self) -> None:
        reader = self._reader
        while self._wire.is_open:
            if reader.is_whole:
                if not reader.has_more:
                    break
                # a pipelined request waits unread until the one before it is answered
                await self.can_read.clear()
                await self.can_read.wait()
                continue
            event = reader.next()
            if event is None:
                break
            if isinstance(event, bytes):
                self._body.append(event)
            elif isinstance(event, Head):
                await self._begin(event)
            elif event is End.OF_REQUEST:
                self._wire.enter(Phase.ANSWERING, None)
                await self._deliver(more=False)
        await self._deliver_beginning()

    async def _begin(self, head: Head) -> None:
        self._writer = AnswerWriter(head.method)
        self._writer.close = head.close
        self._continue_due = head.expects_continue
        self.keep_alive_requests += 1
        self._wire.enter(Phase.BODY, self._wire.limits.body_seconds)
        stream = RequestStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        self.stream = stream
        await stream.begin(head, self.connection_state)

    async def _deliver(self, *, more: bool) -> None:
        body = b"".join(self._body)
        self._body.clear()
        if isinstance(self.stream, RequestStream):
            await self.stream.receive_body(body, more=more)

    async def _deliver_beginning(self) -> None:
        """What is there of a body that is not whole; the peer is asked for it when it waits to be asked."""
        if self._body:
            await self._deliver(more=True)
        elif self._continue_due and self._wire.is_open and not self._reader.is_whole and not self._writer.begun:
            await self.send(RawData(data=CONTINUE))
        self._continue_due = False

    @override
    async def stream_send(self, event: StreamEvent) -> None:
        if isinstance(event, Response):
            await self._begin_answer(event)
        elif isinstance(event, Body):
            await self.send(RawData(data=self._writer.content(event.data)))
            await self._wire.drained()
        elif isinstance(event, EndBody):
            await self.send(RawData(data=self._writer.end()))
            self._wire.flush()
            await self._wire.drained()
        elif isinstance(event, StreamClosed):
            await self._maybe_recycle()

    async def _begin_answer(self, event: Response) -> None:
        if event.status_code < _FINAL_STATUS:
            return  # an application has nothing to tell in between
        fields = [*event.headers, *self.config.response_headers("h11")]
        last = (
            self._writer.close
            or self._wire.draining
            or self.keep_alive_requests >= self.config.keep_alive_max_requests
            or not self._reader.is_whole  # answered before it was read: what follows is not for us
        )
        if last:
            fields.append((b"connection", b"close"))
        await self.send(RawData(data=self._writer.begin(event.status_code, fields)))

    @override
    async def _send_error_response(self, status_code: int) -> None:
        fields = [(b"content-length", b"0"), (b"connection", b"close"), (b"cache-control", b"no-store")]
        fields += self.config.response_headers("h11")
        self._writer = AnswerWriter("")
        await self.send(RawData(data=self._writer.begin(status_code, fields) + self._writer.end()))

    @override
    async def _maybe_recycle(self) -> None:
        await self._close_stream()
        if not self._wire.is_open:
            pass
        elif not self._reader.is_whole:
            self._wire.linger()
        elif self._writer.is_whole and not self._writer.close:
            self._reader.next_request()
            self._writer = AnswerWriter("")
            self._wire.enter(Phase.IDLE, self._wire.idle_seconds)
        else:
            await self.send(Closed())
        await self.can_read.set()


class RequestStream(HTTPStream):
    """One request as ASGI messages; what an application says after its peer left is dropped."""

    async def begin(self, head: Head, state: ConnectionState) -> None:
        """Hand the head to the application."""
        request = Request(
            stream_id=STREAM_ID,
            headers=head.fields,
            http_version="1.1",
            method=head.method,
            raw_path=head.target,
            state=state,
        )
        await self.handle(request)

    async def receive_body(self, body: bytes, *, more: bool) -> None:
        """Hand over what was read of the body: a small one is a single message."""
        if not self.closed:
            message: ASGIReceiveEvent = {"type": "http.request", "body": body, "more_body": more}
            await self.app_put(message)

    @override
    async def app_send(self, message: ASGISendEvent | None) -> None:
        if not self.closed:
            await super().app_send(message)
