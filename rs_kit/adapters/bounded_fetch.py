"""HTTPS GET of a small JSON document by the standard library: bounded in size and time, no redirects, no proxies."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from rs_kit.adapters.clock import monotonic_seconds

_MAX_BYTES: Final = 256 * 1024
_SECONDS: Final = 5.0
_CHUNK: Final = 16 * 1024
_JSON_TYPES: Final = frozenset({"application/json", "application/jwk-set+json"})

Fetch = Callable[[str], bytes]


class FetchFailed(Exception):
    """The document could not be had; the text says why, for the log."""


class HttpsGet:
    """Fetches one document; blocking, so it is called in a thread.

    Args:
        ca_file: the authorities to trust, as PEM; by default those of the system.
    """

    __slots__ = ("_context",)

    def __init__(self, ca_file: Path | str | None = None) -> None:
        self._context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2  # FAPI2-NET-1

    def __call__(self, url: str) -> bytes:
        """The body of a 200 answer.

        Raises:
            FetchFailed: anything else happened; a redirect too (MCP-15).
        """
        deadline = monotonic_seconds() + _SECONDS
        connection, target = self._connection_to(url)
        # a head that drips stays below every socket time-out, and a thread that hangs is lost to everybody
        watch = threading.Timer(_SECONDS, _cut, (connection,))
        watch.daemon = True
        watch.start()
        try:
            connection.request("GET", target, headers={"Accept": "application/json", "Connection": "close"})
            return _bounded_body(connection.getresponse(), deadline)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise FetchFailed(f"{type(error).__name__}: {error}") from error
        finally:
            watch.cancel()
            connection.close()

    def _connection_to(self, url: str) -> tuple[http.client.HTTPSConnection, str]:
        try:
            parts = urlsplit(url)
            if parts.scheme != "https" or not parts.hostname or parts.username is not None:
                raise FetchFailed("the address is not an https URL")
            connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=_SECONDS, context=self._context, blocksize=_CHUNK
            )
        except (http.client.InvalidURL, ValueError) as error:
            raise FetchFailed(f"the address is none: {error}") from error
        return connection, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _cut(connection: http.client.HTTPSConnection) -> None:
    """End a connection under the thread that reads from it; TLS keeps its state, so no ciphertext is read as text."""
    with contextlib.suppress(OSError, AttributeError):  # closed already, or not open yet
        socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


def _bounded_body(response: http.client.HTTPResponse, deadline: float) -> bytes:
    if response.status != http.client.OK:
        raise FetchFailed(f"status {response.status}")
    content_type = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
    if content_type not in _JSON_TYPES or response.getheader("Content-Encoding") is not None:
        raise FetchFailed("the answer is not plain JSON")
    chunks: list[bytes] = []
    room = _MAX_BYTES
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
    return b"".join(chunks)
