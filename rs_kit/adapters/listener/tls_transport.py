"""TLS between an event loop and a protocol: one transport over pyOpenSSL's memory buffers, the same on every loop.

The loops' own TLS takes the standard library's contexts only. These cannot ask for a certificate without judging it,
and the loops drop the alert of a handshake that failed; asyncio's keeps a quarter of a mebibyte per connection.
"""

from __future__ import annotations

import asyncio
import enum
import sys
from typing import Any, Final, cast

from OpenSSL import SSL

from rs_kit.adapters.listener.tls import MonstrousCertificate, PeerTls, TlsContext

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

PEER_TLS: Final = "peer_tls"  # what `get_extra_info` calls the outcome of the handshake

_RECORD_BYTES: Final = 16 * 1024  # the largest piece that one read can give
_PIECE_BYTES: Final = 17 * 1024  # a record and its frame
_WRITE_BYTES: Final = 64 * 1024
_UNREAD_BYTES: Final = 256 * 1024  # of a peer that makes TLS answer and reads nothing; a writer stops long before
_HEADER_BYTES: Final = 5
_APPLICATION_DATA: Final = 23
_GOODBYE_SECONDS: Final = 2.0  # how long the peer may take to close after our alert or close_notify


class _Phase(enum.Enum):
    HANDSHAKE = enum.auto()
    OPEN = enum.auto()
    GOODBYE = enum.auto()  # the last word is said: what still comes is dropped until the peer closes
    ENDED = enum.auto()


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """A protocol to the loop and a transport to its own protocol; `handshaken` tells whether there is a connection.

    Args:
        context: whose certificate is shown, and whether the peer is asked for one.
        protocol: connected once the handshake is done.
        loop: the running loop.
    """

    def __init__(self, context: TlsContext, protocol: asyncio.Protocol, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._context = context
        self._protocol = protocol
        self._loop = loop
        self._tls = context.connection()
        self._peer: PeerTls | None = None
        self._phase = _Phase.HANDSHAKE
        self._under: asyncio.Transport | None = None
        self._paused = False
        self._ahead = bytearray()  # came, and is not given to TLS yet
        self._aligned = True  # whether all that came so far were single whole records
        self._goodbye: asyncio.TimerHandle | None = None
        self.handshaken: asyncio.Future[bool] = loop.create_future()

    # --- what the loop calls

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._under = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    @override
    def data_received(self, data: bytes) -> None:
        if self._ahead or len(data) > _PIECE_BYTES:
            self._ahead += data
            self._take_ahead()
        else:
            self._take(data)

    @override
    def eof_received(self) -> bool | None:
        self._go_on()
        if self._phase is _Phase.OPEN:
            self._end_of_stream()
        return False  # the transport closes itself once what is written has left

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._phase = _Phase.ENDED
        self._under = None
        if self._goodbye is not None:
            self._goodbye.cancel()
        if not self.handshaken.done():
            self.handshaken.set_result(False)
        if self._peer is not None:
            self._protocol.connection_lost(exc)

    @override
    def pause_writing(self) -> None:
        if self._peer is not None:
            self._protocol.pause_writing()

    @override
    def resume_writing(self) -> None:
        if self._peer is not None:
            self._protocol.resume_writing()

    # --- what the protocol calls

    @override
    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == PEER_TLS:
            return self._peer
        return default if self._under is None else self._under.get_extra_info(name, default)

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._phase is _Phase.OPEN and data:
            try:
                self._tls.sendall(data)
            except SSL.Error:
                self.abort()
            else:
                self._flush()

    @override
    def close(self) -> None:
        if self._phase is _Phase.HANDSHAKE:
            self.abort()
        elif self._phase is _Phase.OPEN:
            try:
                self._tls.shutdown()
            except SSL.Error:
                self.abort()
            else:
                self._say_goodbye()

    @override
    def abort(self) -> None:
        self._phase = _Phase.ENDED
        if self._under is not None:
            self._under.abort()

    @override
    def is_closing(self) -> bool:
        return self._phase is _Phase.GOODBYE or self._phase is _Phase.ENDED

    @override
    def can_write_eof(self) -> bool:
        return False

    @override
    def pause_reading(self) -> None:
        self._paused = True
        if self._under is not None:
            self._under.pause_reading()

    @override
    def resume_reading(self) -> None:
        if self._paused and self._under is not None:
            self._paused = False
            self._under.resume_reading()
            self._loop.call_soon(self._go_on)

    @override
    def get_write_buffer_size(self) -> int:
        return 0 if self._under is None else self._under.get_write_buffer_size()

    @override
    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast(asyncio.Protocol, protocol)

    @override
    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    # --- the steps

    def _take(self, data: bytes) -> None:
        if self._phase is _Phase.HANDSHAKE:
            self._tls.bio_write(data)
            self._shake_hands()
        elif self._phase is _Phase.OPEN:
            self._tls.bio_write(data)
            single = len(data) == _HEADER_BYTES + int.from_bytes(data[3:_HEADER_BYTES])
            # a single whole record is read at once: asking for another would cost as much again
            self._aligned &= single
            self._read(whole=self._aligned)
            if not single or data[0] != _APPLICATION_DATA:
                self._reply()

    def _take_ahead(self) -> None:
        """Give TLS what came in pieces: it keeps room for the most that it was given, as long as the connection."""
        while self._ahead and not self._paused and not self.is_closing():
            piece = bytes(self._ahead[:_PIECE_BYTES])
            del self._ahead[:_PIECE_BYTES]
            self._take(piece)
        if self.is_closing():
            self._ahead.clear()

    def _go_on(self) -> None:
        """Deliver what came before a pause, or before the end."""
        self._read()
        self._take_ahead()

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self._flush()
        except SSL.Error:
            self._say_goodbye()  # the alert is written already
        else:
            self._flush()
            self._open()

    def _open(self) -> None:
        try:
            self._peer = self._context.peer(self._tls)
        except MonstrousCertificate:
            self.abort()
            return
        self._phase = _Phase.OPEN
        self._protocol.connection_made(self)
        if not self.handshaken.done():
            self.handshaken.set_result(True)
        self._read()  # a request that came with the end of the handshake

    def _read(self, *, whole: bool = False) -> None:
        while self._phase is _Phase.OPEN and not self._paused:
            try:
                data = self._tls.recv(_RECORD_BYTES)
            except SSL.WantReadError:
                return
            except SSL.ZeroReturnError:
                self._end_of_stream()
                return
            except SSL.Error:
                self._say_goodbye()  # the alert is written already
                self._protocol.eof_received()
                return
            self._protocol.data_received(data)
            if whole:
                return

    def _reply(self) -> None:
        """Send what TLS itself answers to alerts and new negotiations; whoever asks and never reads is cut off."""
        if self._flush() and self.get_write_buffer_size() > _UNREAD_BYTES:
            self.abort()

    def _end_of_stream(self) -> None:
        self._protocol.eof_received()
        self.close()

    def _say_goodbye(self) -> None:
        """Let the last word leave and wait a moment for the peer's end.

        Closing over unread bytes would reset it, and an end of the stream before the peer has read what is before it
        is an end to some clients at once.
        """
        self._phase = _Phase.GOODBYE
        if not self._flush():
            self.abort()  # TLS has no word for it
        elif self._under is not None:
            if self._paused:
                self._under.resume_reading()
            self._goodbye = self._loop.call_later(_GOODBYE_SECONDS, self.abort)

    def _flush(self) -> bool:
        """Send what TLS wants to say; tells whether there was anything."""
        said = False
        while self._under is not None:
            try:
                data = self._tls.bio_read(_WRITE_BYTES)
            except SSL.WantReadError:
                break
            self._under.write(data)
            said = True
            if len(data) < _WRITE_BYTES:
                break
        return said
