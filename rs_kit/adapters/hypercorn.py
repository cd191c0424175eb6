"""The listener: any ASGI application over strict HTTP/1.1, TLS 1.2 or later, with limits on time and size.

`run(app, host="127.0.0.1", port=8445, certfile=..., keyfile=...)` is all that an MCP server needs. Hypercorn reads,
writes and speaks ASGI; what it accepts too generously or does too often is replaced in the package `listener`, by
subclasses and without touching its modules.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.config import Config
from hypercorn.typing import AppWrapper, ASGIFramework, LifespanState

from rs_kit.adapters.listener.accepting import Acceptor
from rs_kit.adapters.listener.connection import Connection, Shared
from rs_kit.adapters.listener.sockets import bind
from rs_kit.adapters.listener.strict_http1 import Limits
from rs_kit.adapters.listener.tasks import ApplicationTasks
from rs_kit.adapters.listener.tls import RenewedTls

# what an ASGI application is, in the words of the ASGI specification
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Application = Callable[[Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

_OWN_DESCRIPTORS: Final = 64  # the database, logs, sockets that listen
_HANDSHAKES: Final = 1024  # under way at once, each of which may take a quarter of a mebibyte
_FEWEST_HANDSHAKES: Final = 64  # where a process may have few descriptors: a quarter of them otherwise
_SWEEP_SECONDS: Final = 0.5
_EXPIRY_PAUSE_SECONDS: Final = 0.001  # peers that came together also end together: others must not wait for that
_LAST_ACCEPTS_SECONDS: Final = 0.02
_REQUESTS_PER_CONNECTION: Final = 1_000_000

_logger: Final = logging.getLogger("rs_kit.listener")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerConfig:
    """Where to listen, with which certificate, and what a peer may take of our time and memory.

    `port` 0 picks a free one. Without the two files the listener speaks plain HTTP; with them, files that change are
    read again. `client_certificates` asks every peer for a certificate and takes any whose key it has: an application
    finds it in the ASGI TLS extension and judges it.
    No single address may hold all connections (`connections_per_source`), and never so many are held that the process
    has no descriptor left for its own files.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certfile: str | None = None
    keyfile: str | None = None
    client_certificates: bool = False
    reuse_port: bool = False
    backlog: int = 1024
    connection_limit: int = 4096
    connections_per_source: int = 2048
    body_bytes: int = 4 * 1024 * 1024
    head_seconds: float = 10.0
    body_seconds: float = 15.0
    idle_seconds: float = 60.0
    handshake_seconds: float = 10.0
    graceful_seconds: float = 15.0
    lame_duck_seconds: float = 0.5

    def tls(self) -> RenewedTls | None:
        """What to listen with, or None for plain HTTP.

        Raises:
            ValueError: half of a pair, client certificates without TLS, or files that cannot be used.
            OSError: a file cannot be read.
        """
        if self.certfile is None or self.keyfile is None:
            if self.certfile != self.keyfile or self.client_certificates:
                raise ValueError("certfile and keyfile belong together, and client_certificates needs both")
            return None
        return RenewedTls(self.certfile, self.keyfile, client_certificates=self.client_certificates)


class Places:
    """How many connections there are, of all the listeners of one process."""

    def __init__(self, config: ListenerConfig) -> None:
        self._limit = min(config.connection_limit, _descriptors() - _OWN_DESCRIPTORS - _handshake_limit())
        self._per_source = config.connections_per_source
        self._taken = 0
        self._of_source: Counter[str] = Counter()

    def take(self, source: str) -> bool:
        """Whether one more may come from there; it is counted then."""
        if self._taken >= self._limit or self._of_source[source] >= self._per_source:
            return False
        self._taken += 1
        self._of_source[source] += 1
        return True

    def leave(self, source: str) -> None:
        """Count one less."""
        self._taken -= 1
        self._of_source[source] -= 1
        if not self._of_source[source]:
            del self._of_source[source]


class Listener:
    """The connections of one address and the applications that run for them."""

    def __init__(
        self, app: AppWrapper, config: ListenerConfig, state: LifespanState, places: Places | None = None
    ) -> None:
        loop = asyncio.get_running_loop()
        self._config = config
        self._loop = loop
        self._tasks = ApplicationTasks(loop, _logger)
        self._connections: set[asyncio.Task[None]] = set()
        self._places = Places(config) if places is None else places
        self._sweeper: asyncio.TimerHandle | None = None
        self._expiring = False
        limits = Limits(
            head_seconds=config.head_seconds,
            body_seconds=config.body_seconds,
            idle_seconds=config.idle_seconds,
            body_bytes=config.body_bytes,
        )
        self.shared = Shared(
            app=app, config=_hypercorn_config(), limits=limits, loop=loop, state=state, tasks=self._tasks
        )

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one more connection."""
        source = str((writer.get_extra_info("peername") or ("",))[0])
        if not self._places.take(source):
            writer.transport.abort()
            return
        task = self._loop.create_task(Connection(self.shared, reader, writer).run())
        self._connections.add(task)
        task.add_done_callback(partial(self._forget, source))
        self._watch()

    def _forget(self, source: str, task: asyncio.Task[None]) -> None:
        self._connections.discard(task)
        self._places.leave(source)

    def sweep(self) -> None:
        """End every connection that is past its deadline: one timer for all instead of one per request."""
        self._sweeper = None
        now = self._loop.time()
        overdue = [(c, c.deadline) for c in self.shared.connections if c.deadline is not None and c.deadline <= now]
        if overdue and not self._expiring:
            self._expiring = True
            self._tasks.start(self._expire(overdue))
        if self._connections:
            self._watch()

    async def _expire(self, overdue: Sequence[tuple[Connection, float]]) -> None:
        try:
            for connection, deadline in overdue:
                if connection.deadline != deadline:
                    continue  # while others were ended it has gone on: what it began meanwhile is answered
                connection.deadline = None
                try:
                    await connection.expire()
                except Exception:
                    _logger.exception("a connection did not end as it should")
                await asyncio.sleep(_EXPIRY_PAUSE_SECONDS)
        finally:
            self._expiring = False

    def _watch(self) -> None:
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self.sweep)

    async def drain(self) -> None:
        """Answer what is in flight, then close; whoever is not done after `graceful_seconds` is cut off."""
        # a request may be on its way on a kept-alive connection: it is answered, with Connection: close
        self.shared.last_call_seconds = self._config.lame_duck_seconds
        for connection in self.shared.connections:
            connection.hurry()
        self._rest()
        self._sweeper = self._loop.call_later(self._config.lame_duck_seconds, self.sweep)
        end = self._loop.time() + self._config.graceful_seconds
        while (left := {*self._connections, *self._tasks.running}) and (seconds := end - self._loop.time()) > 0:
            await asyncio.wait(left, timeout=seconds)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        self._rest()

    def _rest(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None


def _descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def _handshake_limit() -> int:
    return max(_FEWEST_HANDSHAKES, min(_HANDSHAKES, _descriptors() // 4))


def _hypercorn_config() -> Config:
    config = Config()
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = _logger
    config.max_app_queue_size = 0  # an application that answers before it read the body must not block its connection
    config.keep_alive_max_requests = _REQUESTS_PER_CONNECTION
    return config


async def serve(
    app: Application,
    config: ListenerConfig | Sequence[ListenerConfig],
    shutdown: asyncio.Event,
    *,
    ready: Callable[..., None] | None = None,
) -> None:
    """Serve until `shutdown` is set, then stop gracefully; `ready` is told the ports once connections are accepted.

    Several configs are several addresses of one application, which is started once; how many connections there may be
    in all is what the first one says.

    Raises:
        OSError: an address cannot be listened on, or a file cannot be read.
        ValueError: a certificate cannot be used.
        hypercorn.utils.LifespanFailureError: the application refused to start.
    """
    configs = (config,) if isinstance(config, ListenerConfig) else tuple(config)
    state: LifespanState = {}
    wrapped = ASGIWrapper(cast(ASGIFramework, app))  # the same callable; Hypercorn's types are narrower than ASGI's
    async with _lifespan(Lifespan(wrapped, _hypercorn_config(), asyncio.get_running_loop(), state)):
        places = Places(configs[0])
        with contextlib.ExitStack() as unless_served:
            addresses = [_Address(config, Listener(wrapped, config, state, places)) for config in configs]
            for address in addresses:
                address.bind(unless_served)
            unless_served.pop_all()
        share = _handshake_limit() // sum(len(address.sockets) for address in addresses)
        for address in addresses:
            address.start(share)
        if ready is not None:
            ready(*(int(address.sockets[0].getsockname()[1]) for address in addresses))
        try:
            await shutdown.wait()
        finally:
            await asyncio.sleep(_LAST_ACCEPTS_SECONDS)
            for address in addresses:
                address.close()
            await asyncio.gather(*(address.listener.drain() for address in addresses))


class _Address:
    """One address that is listened on; its certificate is read before anything is bound."""

    def __init__(self, config: ListenerConfig, listener: Listener) -> None:
        self._config = config
        self._tls = config.tls()
        self._acceptors: list[Acceptor] = []
        self.listener = listener
        self.sockets: list[socket.socket] = []

    def bind(self, unless_served: contextlib.ExitStack) -> None:
        self.sockets = bind(self._config.host, self._config.port, reuse_port=self._config.reuse_port)
        for bound in self.sockets:
            unless_served.enter_context(bound)

    def start(self, handshakes: int) -> None:
        for bound in self.sockets:
            acceptor = Acceptor(
                bound,
                self.listener.accept,
                tls=self._tls,
                handshake_seconds=self._config.handshake_seconds,
                handshake_limit=handshakes,
            )
            acceptor.start(self._config.backlog)
            self._acceptors.append(acceptor)

    def close(self) -> None:
        for acceptor in self._acceptors:
            acceptor.close()


@contextlib.asynccontextmanager
async def _lifespan(lifespan: Lifespan) -> Any:
    running = asyncio.get_running_loop().create_task(lifespan.handle_lifespan())
    try:
        await lifespan.wait_for_startup()
        if running.done():
            running.result()
        try:
            yield
        finally:
            await lifespan.wait_for_shutdown()
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def run(  # noqa: PLR0913 - what a listener is, named at every call
    app: Application,
    *,
    host: str,
    port: int,
    certfile: str | None = None,
    keyfile: str | None = None,
    client_certificates: bool = False,
) -> None:
    """Serve one application in this process until SIGTERM or SIGINT.

    Raises:
        OSError: the address cannot be listened on, or a file cannot be read.
        ValueError: half of a pair, client certificates without TLS, or files that cannot be used.
    """
    config = ListenerConfig(
        host=host, port=port, certfile=certfile, keyfile=keyfile, client_certificates=client_certificates
    )

    async def main() -> None:
        shutdown = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, shutdown.set)
        await serve(app, config, shutdown)

    with runner() as loop_runner:
        loop_runner.run(main())


@contextlib.contextmanager
def runner() -> Iterator[asyncio.Runner]:
    """A runner on uvloop where it is installed; failed handshakes and vanished peers are not logged as our errors."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        from uvloop import new_event_loop as factory  # noqa: PLC0415 - optional
    with asyncio.Runner(loop_factory=factory) as made:
        made.get_loop().set_exception_handler(_without_peer_errors)
        yield made


def _without_peer_errors(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)
