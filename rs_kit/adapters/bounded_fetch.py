"""HTTPS GET of a small JSON document by the standard library: bounded in size and time, no redirects, no proxies."""

# typing.override came with Python 3.12
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

import contextlib
import http.client
import io
import re
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from rs_kit.adapters.clock import monotonic_seconds

_MAX_BYTES: Final = 256 * 1024
_LINE_BYTES: Final = 32 * 1024  # of the head and of every line between chunks together; http.client counts the fields
_SECONDS: Final = 5.0
_CHUNK: Final = 16 * 1024
_REASON_LIMIT: Final = 200  # characters
_JSON_TYPES: Final = frozenset({"application/json", "application/jwk-set+json"})
_ENTITY_TAG: Final = re.compile(r'(?:W/)?"[!#-~]{0,256}"\Z')  # RFC 9110 §8.8.3, in plain ASCII and short

Fetch = Callable[[str], bytes]
Dial = Callable[[str, int, float], socket.socket]  # host, port, and the seconds that are left


class FetchFailed(Exception):
    """The document could not be had; the text says why, for the log, in printable ASCII whatever the peer sent."""

    def __init__(self, reason: str) -> None:
        inert = "".join(character if " " <= character <= "~" else "?" for character in reason)
        super().__init__(inert[:_REASON_LIMIT])


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpsAnswer:
    """The body of a 200 answer, and what it says of how long it may be kept.

    With `is_known` it is a 304 answer: the document is the one whose entity tag was sent, and the body is empty.
    """

    body: bytes
    cache_control: str | None
    age: str | None
    entity_tag: str | None = None
    is_known: bool = False


class HttpsGet:
    """Fetches one document; blocking, so it is called in a thread.

    No credentials, cookies or certificate of ours are ever sent, and no compressed answer is asked for or taken.

    Args:
        ca_file: the authorities to trust, as PEM; by default those of the system.
        dial: opens the connection, where somebody wants to know better to which address.
    """

    __slots__ = ("_context", "_dial")

    def __init__(self, ca_file: Path | str | None = None, *, dial: Dial | None = None) -> None:
        self._context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2  # FAPI2-NET-1
        self._context.hostname_checks_common_name = False  # FAPI2-NET-6
        self._dial = _dial if dial is None else dial

    def __call__(self, url: str) -> bytes:
        """The body of a 200 answer.

        Raises:
            FetchFailed: anything else happened; a redirect too (MCP-15).
        """
        return self.get(url).body

    def get(self, url: str, *, max_bytes: int = _MAX_BYTES, entity_tag: str | None = None) -> HttpsAnswer:
        """A 200 answer whose body has at most `max_bytes`, or a 304 answer for the `entity_tag` of the one at hand.

        Raises:
            FetchFailed: anything else happened; a redirect too (MCP-15).
        """
        deadline = monotonic_seconds() + _SECONDS
        connection, target = self._connection_to(url, deadline)
        # a head that drips stays below every socket time-out, and a thread that hangs is lost to everybody
        watch = threading.Timer(_SECONDS, connection.cut)
        watch.daemon = True
        try:
            watch.start()
            connection.request("GET", target, headers=_fields(entity_tag))
            with connection.getresponse() as response:
                if response.status == http.client.NOT_MODIFIED and entity_tag is not None:
                    return _answer(response, b"", is_known=True)
                return _bounded_answer(response, deadline, max_bytes)
        except (
            OSError,
            http.client.HTTPException,
            ValueError,
            RuntimeError,
        ) as error:  # the last: no thread for the watch
            raise FetchFailed(f"{type(error).__name__}: {error}") from error
        finally:
            watch.cancel()
            connection.close()

    def _connection_to(self, url: str, deadline: float) -> tuple[_Connection, str]:
        try:
            parts = urlsplit(url)
            if parts.scheme != "https" or not parts.hostname or parts.username is not None:
                raise FetchFailed("the address is not an https URL")
            connection = _Connection(parts.hostname, parts.port, self._context, self._dial, deadline)
        except (http.client.InvalidURL, ValueError) as error:
            raise FetchFailed(f"the address is none: {error}") from error
        return connection, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


class _BoundedLines(io.BufferedReader):
    """A reader whose lines have a common limit: heads, chunk sizes and interim answers that never end."""

    room = _LINE_BYTES

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self.room -= len(line)
        if self.room < 0:
            raise http.client.HTTPException("the head of the answer is too large")
        return line


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = _BoundedLines(self.fp.detach())


class _Connection(http.client.HTTPSConnection):
    """A connection whose socket comes from `dial`; the name in the certificate is that of the URL all the same."""

    response_class = _Response

    def __init__(self, host: str, port: int | None, context: ssl.SSLContext, dial: Dial, deadline: float) -> None:
        super().__init__(host, port, timeout=_SECONDS, context=context, blocksize=_CHUNK)
        self._trust = context
        self._open = dial
        self._deadline = deadline
        self._opened: ssl.SSLSocket | None = None  # `sock` is forgotten once the answer has begun

    def connect(self) -> None:
        plain = self._open(self.host, self.port, self._left())
        # the socket is known before the handshake, so that it is cut when it drips
        opened = self._trust.wrap_socket(plain, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = self._opened = opened
        opened.settimeout(self._left())
        opened.do_handshake()

    def cut(self) -> None:
        """End it under the thread that reads from it; TLS keeps its state, so no ciphertext is read as text."""
        if self._opened is not None:  # what is not open yet has a time-out
            with contextlib.suppress(OSError):  # closed already
                socket.socket.shutdown(self._opened, socket.SHUT_RDWR)

    def _left(self) -> float:
        left = self._deadline - monotonic_seconds()
        if left <= 0:
            raise TimeoutError("the connection takes too long")
        return left


def _dial(host: str, port: int, seconds: float) -> socket.socket:
    return socket.create_connection((host, port), timeout=seconds)


def _fields(entity_tag: str | None) -> dict[str, str]:
    fields = {"Accept": "application/json", "Connection": "close"}
    return fields if entity_tag is None else {**fields, "If-None-Match": entity_tag}  # RFC 9110 §13.1.2


def _bounded_answer(response: http.client.HTTPResponse, deadline: float, max_bytes: int) -> HttpsAnswer:
    if response.status != http.client.OK:
        raise FetchFailed(f"status {response.status}")
    content_type = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
    if content_type not in _JSON_TYPES or response.getheader("Content-Encoding") is not None:
        raise FetchFailed("the answer is not plain JSON")
    if response.length is not None and response.length > max_bytes:
        raise FetchFailed("the answer is too large")
    chunks: list[bytes] = []
    room = max_bytes
    while chunk := response.read1(min(room + 1, _CHUNK)):
        room -= len(chunk)
        if room < 0:
            raise FetchFailed("the answer is too large")
        # a peer that sends a byte now and then stays below every socket time-out
        if monotonic_seconds() > deadline:
            raise FetchFailed("the answer takes too long")
        chunks.append(chunk)
    if response.length or monotonic_seconds() > deadline:
        raise FetchFailed("the answer ended early")
    return _answer(response, b"".join(chunks))


def _answer(response: http.client.HTTPResponse, body: bytes, *, is_known: bool = False) -> HttpsAnswer:
    entity_tag = response.getheader("ETag")
    return HttpsAnswer(
        body=body,
        cache_control=response.getheader("Cache-Control"),
        age=response.getheader("Age"),
        entity_tag=entity_tag if entity_tag is not None and _ENTITY_TAG.match(entity_tag) is not None else None,
        is_known=is_known,
    )
