"""Accepting at a steady pace: a thousand peers who connect at once are let in one after the other.

The event loops accept all that waits in one turn and then do all its handshakes in the next ones; requests of
connections that are there already would wait behind a flood of newcomers for tens of milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Final

from rs_kit.adapters.listener.incoming import Incoming
from rs_kit.adapters.listener.tls import RenewedTls
from rs_kit.adapters.listener.tls_transport import TlsTransport

_PAUSE_SECONDS: Final = 0.001  # between two handshakes, each of which costs about half of it
_RETRY_SECONDS: Final = 1.0  # when there is no descriptor left

OnConnection = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]


class Acceptor:
    """One listening socket, on the running event loop.

    Args:
        bound: the socket, bound and without blocking.
        on_connection: called with every connection that is ready to be read, after its handshake.
        tls: None for plain HTTP, where accepting costs nothing and needs no pause.
        handshake_seconds: how long a handshake may take.
        handshake_limit: how many may be under way; for one more the oldest is given up, since peers that say nothing
            at all would else hold every descriptor of the process.
    """

    def __init__(
        self,
        bound: socket.socket,
        on_connection: OnConnection,
        *,
        tls: RenewedTls | None,
        handshake_seconds: float,
        handshake_limit: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._bound = bound
        self._on_connection = on_connection
        self._tls = tls
        self._handshake_seconds = handshake_seconds
        self._resumption: asyncio.TimerHandle | None = None
        self._handshakes: dict[asyncio.Task[None], None] = {}  # in the order in which they began
        self._handshake_limit = handshake_limit

    def start(self, backlog: int) -> None:
        """Listen; so many connections may wait in the kernel."""
        self._bound.listen(backlog)
        self._resume()

    def close(self) -> None:
        """Take in whoever waits, who would be reset with a request unread, and listen no more."""
        if self._resumption is not None:
            self._resumption.cancel()
        self._loop.remove_reader(self._bound)
        with contextlib.suppress(OSError):
            while True:
                self._begin(self._bound.accept()[0])
        self._bound.close()

    def _resume(self) -> None:
        self._resumption = None
        self._loop.add_reader(self._bound, self._accept)

    def _accept(self) -> None:
        try:
            peer, _ = self._bound.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another worker was faster, or the peer has gone
        except OSError:
            self._rest(_RETRY_SECONDS)  # the socket stays readable: trying at once would try for ever
            return
        if len(self._handshakes) >= self._handshake_limit:
            oldest = next(iter(self._handshakes))
            self._forget(oldest)
            oldest.cancel()
        self._begin(peer)
        if self._tls is not None:
            self._rest(_PAUSE_SECONDS)

    def _rest(self, seconds: float) -> None:
        self._loop.remove_reader(self._bound)
        self._resumption = self._loop.call_later(seconds, self._resume)

    def _begin(self, peer: socket.socket) -> None:
        peer.settimeout(0)
        handshake = self._loop.create_task(self._connect(peer))
        self._handshakes[handshake] = None
        handshake.add_done_callback(self._forget)

    def _forget(self, handshake: asyncio.Task[None]) -> None:
        self._handshakes.pop(handshake, None)

    async def _connect(self, peer: socket.socket) -> None:
        reader = asyncio.StreamReader(loop=self._loop)
        protocol = Incoming(reader, self._on_connection, loop=self._loop)
        with contextlib.suppress(OSError):
            if self._tls is None:
                await self._loop.connect_accepted_socket(lambda: protocol, peer)
            else:
                await self._shake_hands(self._tls, protocol, peer)

    async def _shake_hands(self, tls: RenewedTls, protocol: asyncio.Protocol, peer: socket.socket) -> None:
        transport = TlsTransport(tls.context(self._loop.time()), protocol, self._loop)
        await self._loop.connect_accepted_socket(lambda: transport, peer)
        connected = False
        try:
            async with asyncio.timeout(self._handshake_seconds):
                connected = await transport.handshaken
        finally:
            if not connected:
                transport.abort()  # it did not come in time, or makes room for another one
