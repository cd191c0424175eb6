"""Hypercorn's HTTP/1.1 protocol and ASGI stream, with strict framing and fewer steps per request."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol

import h11
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

from rs_kit.adapters.hypercorn_framing import BAD_REQUEST, PAYLOAD_TOO_LARGE, StrictBuffer, judge_request

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


class StrictH11(H11Protocol):
    """HTTP/1.1 and nothing else: no upgrade, no prior knowledge, no WebSocket, no request with two readings."""

    wire: Wire

    def __init__(  # noqa: PLR0913, PLR0917 - Hypercorn's own signature
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
    ) -> None:
        super().__init__(app, config, context, task_group, connection_state, ssl, client, server, send)
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=config.h11_max_incomplete_size)
        self._h11._receive_buffer = StrictBuffer()  # noqa: SLF001 - the only place before normalisation
        self.connection = self._h11
        self._body: list[bytes] = []
        self._body_bytes = 0

    @override
    async def handle(self, event: Event) -> None:
        if isinstance(event, RawData):
            self._h11.receive_data(event.data)
            try:
                await self._handle_events()
            except h11.RemoteProtocolError as error:
                await self.refuse(error.error_status_hint)
        elif isinstance(event, Closed):
            await self._close_stream()
            await self.can_read.set()

    async def refuse(self, status: int) -> None:
        """Answer what cannot be served, unless an answer has begun already, and serve nothing more."""
        unanswered = self._h11.our_state in {h11.IDLE, h11.SEND_RESPONSE}
        self._body.clear()
        await self._close_stream()
        if unanswered:
            await self._send_error_response(status)
        self.wire.linger()

    @override
    async def _handle_events(self) -> None:
        while self.wire.is_open:
            event = self._h11.next_event()
            if isinstance(event, h11.Request):
                await self._begin(event)
            elif isinstance(event, h11.Data):
                self._take(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.wire.enter(Phase.ANSWERING, None)
                await self._deliver(more=False)
            elif event is h11.PAUSED:
                # a pipelined request waits unread until the one before it is answered
                await self.can_read.clear()
                await self.can_read.wait()
            else:
                break
        if self._body:
            await self._deliver(more=True)
        if self.wire.is_open and self._h11.they_are_waiting_for_100_continue:
            await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))

    async def _begin(self, request: h11.Request) -> None:
        limits = self.wire.limits
        judge_request(request, body_limit=limits.body_bytes)
        self._body_bytes = 0
        self.wire.enter(Phase.BODY, limits.body_seconds)
        await self._create_stream(request)

    @override
    async def _create_stream(self, request: h11.Request) -> None:
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
        self.keep_alive_requests += 1
        await stream.begin(request, self.connection_state)

    def _take(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > self.wire.limits.body_bytes:
            raise h11.RemoteProtocolError("body too large", error_status_hint=PAYLOAD_TOO_LARGE)
        self._body.append(bytes(data))

    async def _deliver(self, *, more: bool) -> None:
        body = b"".join(self._body)
        self._body.clear()
        if isinstance(self.stream, RequestStream):
            await self.stream.receive_body(body, more=more)

    @override
    async def stream_send(self, event: StreamEvent) -> None:
        if isinstance(event, Response):
            await self._begin_answer(event)
        elif isinstance(event, Body):
            await self._send_h11_event(h11.Data(data=event.data))
            await self.wire.drained()
        elif isinstance(event, EndBody):
            await self._send_h11_event(h11.EndOfMessage())
            self.wire.flush()
            await self.wire.drained()
        elif isinstance(event, StreamClosed):
            await self._maybe_recycle()

    async def _begin_answer(self, event: Response) -> None:
        if event.status_code < _FINAL_STATUS:
            return  # an application has nothing to tell in between
        headers = [*event.headers, *self.config.response_headers("h11")]
        if (
            self.wire.draining
            or self.keep_alive_requests >= self.config.keep_alive_max_requests
            or self._h11.their_state is h11.SEND_BODY  # answered before it was read: what follows is not for us
        ):
            headers.append((b"connection", b"close"))
        await self._send_h11_event(h11.Response(headers=headers, status_code=event.status_code))

    @override
    async def _send_error_response(self, status_code: int) -> None:
        headers = [(b"content-length", b"0"), (b"connection", b"close"), (b"cache-control", b"no-store")]
        headers += self.config.response_headers("h11")
        status = max(status_code, BAD_REQUEST)
        await self._send_h11_event(h11.Response(status_code=status, headers=headers))
        await self._send_h11_event(h11.EndOfMessage())

    @override
    async def _maybe_recycle(self) -> None:
        await self._close_stream()
        if not self.wire.is_open:
            pass
        elif self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            self.wire.enter(Phase.IDLE, self.wire.idle_seconds)
        elif self._h11.their_state is h11.SEND_BODY:
            self.wire.linger()
        else:
            await self.send(Closed())
        await self.can_read.set()


class RequestStream(HTTPStream):
    """One request as ASGI messages; what an application says after its peer left is dropped."""

    async def begin(self, request: h11.Request, state: ConnectionState) -> None:
        """Hand the head to the application."""
        await self.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode("ascii"),
                method=request.method.decode("ascii"),
                raw_path=request.target,
                state=state,
            )
        )

    async def receive_body(self, body: bytes, *, more: bool) -> None:
        """Hand over what was read of the body: a small one is a single message."""
        if not self.closed:
            message: ASGIReceiveEvent = {"type": "http.request", "body": body, "more_body": more}
            await self.app_put(message)

    @override
    async def app_send(self, message: ASGISendEvent | None) -> None:
        if not self.closed:
            await super().app_send(message)
