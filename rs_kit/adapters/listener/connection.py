"""One connection of the listener: Hypercorn's HTTP/1.1 machinery with strict framing, time limits and fewer steps."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from hypercorn.asyncio.tcp_server import MAX_RECV, TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.typing import (
    AppWrapper,
    ASGIReceiveCallable,
    ASGISendCallable,
    ConnectionState,
    HTTPScope,
    LifespanState,
    Scope,
    TaskGroup,
)
from hypercorn.utils import parse_socket_addr

from rs_kit.adapters.listener.incoming import Incoming
from rs_kit.adapters.listener.strict_http1 import Limits, Phase, StrictHttp1
from rs_kit.adapters.listener.tls import PeerTls
from rs_kit.adapters.listener.tls_transport import PEER_TLS
from rs_kit.adapters.peer_certificate import MUTUAL_TLS, PEER_CERTIFICATE, PEER_CHAIN

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

_REQUEST_TIMEOUT: Final = 408
_LINGER_SECONDS: Final = 1.0
_LINGER_BYTES: Final = 1024 * 1024
_WRITE_SECONDS: Final = 15.0
_CLOSE_SECONDS: Final = 5.0
_COALESCE_BYTES: Final = 64 * 1024


@dataclass(slots=True, kw_only=True)
class Shared:
    """What all connections of one listener share."""

    app: AppWrapper
    config: Config
    limits: Limits
    loop: asyncio.AbstractEventLoop
    state: LifespanState
    tasks: TaskGroup
    context: WorkerContext = field(default_factory=lambda: WorkerContext(None))
    connections: set[Connection] = field(default_factory=set)
    last_call_seconds: float | None = None  # set while draining: how long a request that is under way may still come

    @property
    def idle_seconds(self) -> float:
        """How long a kept-alive connection may be silent."""
        return self.limits.idle_seconds if self.last_call_seconds is None else self.last_call_seconds

    @property
    def first_head_seconds(self) -> float:
        """How long a fresh connection may be silent."""
        return self.limits.head_seconds if self.last_call_seconds is None else self.last_call_seconds


class Connection(TCPServer):
    """Reads requests and writes each answer at once; the listener's sweep calls `expire` after the deadline."""

    _http: StrictHttp1

    def __init__(self, shared: Shared, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(shared.app, shared.loop, shared.config, shared.context, shared.state, reader, writer)
        self.shared = shared
        self.phase = Phase.IDLE
        self.deadline: float | None = shared.loop.time() + shared.first_head_seconds
        self._unwritten: list[bytes] = []
        self._unwritten_bytes = 0
        self._discarded = 0
        self._incoming = cast(Incoming, writer.transport.get_protocol())

    @property
    def is_open(self) -> bool:
        """Whether another request could still be read."""
        return self.phase is not Phase.LINGERING and self.phase is not Phase.CLOSED

    @property
    def limits(self) -> Limits:
        """The limits of this listener."""
        return self.shared.limits

    @property
    def idle_seconds(self) -> float:
        """How long a kept-alive connection may be silent."""
        return self.shared.idle_seconds

    @property
    def draining(self) -> bool:
        """Whether the listener stops, so that every answer is the last of its connection."""
        return self.shared.last_call_seconds is not None

    @override
    async def run(self) -> None:
        """Serve until the peer or we are done; running applications outlive their connection."""
        try:
            with contextlib.suppress(OSError):  # a peer that goes away in the middle is no event
                self._http = self._protocol()
                self.shared.connections.add(self)
                await self._serve()
        finally:
            self._incoming.absorb = None
            self.shared.connections.discard(self)
            self.writer.transport.abort()

    async def _serve(self) -> None:
        try:
            await self._read_data()
        finally:
            await self._http.handle(Closed())
        await self._close()
        await self.writer.wait_closed()

    def _protocol(self) -> StrictHttp1:
        socket = self.writer.get_extra_info("socket")
        if socket is None:
            raise ConnectionResetError("the peer has gone")
        tls: PeerTls | None = self.writer.get_extra_info(PEER_TLS)
        state = dict(self.state)
        if tls is not None:
            self.app = TlsApplication(self.app, tls)
            state.update(_shown(tls))
        return StrictHttp1(
            self.app,
            self.config,
            self.context,
            self.shared.tasks,
            ConnectionState(state),
            tls is not None,
            parse_socket_addr(socket.family, socket.getpeername()),
            parse_socket_addr(socket.family, socket.getsockname()),
            self.protocol_send,
            wire=self,
        )

    @override
    async def _read_data(self) -> None:
        while data := await self._read():
            if self.is_open:
                if self.phase is Phase.IDLE:
                    self.enter(Phase.HEAD, self.shared.limits.head_seconds)
                await self._http.handle(RawData(data))
                continue
            self._discarded += len(data)
            if self.phase is Phase.CLOSED or self._discarded > _LINGER_BYTES:
                return

    async def _read(self) -> bytes:
        """The next bytes for which there is something to do; empty at the end of the stream."""
        self._incoming.absorb = self._http.absorb  # while we wait here, and not in the middle of anything
        data = await self.reader.read(MAX_RECV)
        self._incoming.absorb = None
        self._incoming.was_read(len(data))
        return data

    @override
    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            self.write(event.data)
        elif isinstance(event, Closed):
            await self._close()

    def enter(self, phase: Phase, seconds: float | None) -> None:
        """Begin a phase that may last so long."""
        self.phase = phase
        self.deadline = None if seconds is None else self.loop.time() + seconds

    def write(self, data: bytes) -> None:
        """Take bytes that leave together with what else this turn of the loop writes."""
        if not self._unwritten:
            self.loop.call_soon(self.flush)
        self._unwritten.append(data)
        self._unwritten_bytes += len(data)

    def flush(self) -> None:
        """Write what was taken: one system call and one TLS record for a small answer."""
        if self._unwritten:
            data = b"".join(self._unwritten)
            self._unwritten.clear()
            self._unwritten_bytes = 0
            if not self.writer.is_closing():
                self.writer.write(data)

    async def drained(self) -> None:
        """Wait while the peer does not read what we wrote; a peer that never does is cut off."""
        if self._unwritten_bytes + self.writer.transport.get_write_buffer_size() <= _COALESCE_BYTES:
            return
        self.flush()
        before = self.deadline
        self.deadline = self.loop.time() + _WRITE_SECONDS
        with contextlib.suppress(OSError):
            await self.writer.drain()
        self.deadline = before

    def linger(self) -> None:
        """Stop serving but read on for a moment: closing over unread bytes resets the answer away (RFC 9112 §9.6)."""
        self.flush()
        self.enter(Phase.LINGERING, _LINGER_SECONDS)
        if self.writer.can_write_eof() and not self.writer.is_closing():
            self.writer.write_eof()

    def hurry(self) -> None:
        """Bring the end of idleness forward; a request that still comes is answered with Connection: close."""
        if self.phase is Phase.IDLE:
            self.enter(Phase.IDLE, self.shared.idle_seconds)

    async def expire(self) -> None:
        """End what took too long."""
        if self.phase in {Phase.HEAD, Phase.BODY}:
            await self._http.refuse(_REQUEST_TIMEOUT)
        elif self.phase in {Phase.IDLE, Phase.LINGERING}:
            await self._close()
        else:
            self.writer.transport.abort()

    @override
    async def _close(self) -> None:
        if self.phase is not Phase.CLOSED:
            self.flush()
            self.enter(Phase.CLOSED, _CLOSE_SECONDS)
            self.writer.close()


class TlsApplication:
    """The application as one TLS connection sees it: every request tells how it came."""

    def __init__(self, app: AppWrapper, tls: PeerTls) -> None:
        self._app = app
        self._extension = tls.extension()

    async def __call__(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        sync_spawn: Callable[..., Any],
        call_soon: Callable[..., Any],
    ) -> None:
        """One request."""
        cast(HTTPScope, scope)["extensions"]["tls"] = dict(self._extension)
        await self._app(scope, receive, send, sync_spawn, call_soon)


def _shown(tls: PeerTls) -> Mapping[str, Any]:
    if not tls.asked:
        return {}
    if tls.certificate is None:
        return {MUTUAL_TLS: True}
    return {MUTUAL_TLS: True, PEER_CERTIFICATE: tls.certificate, PEER_CHAIN: tls.chain}
