"""Bytes over a socket, exactly as a test writes them, and the answers as they come back."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

HOST = "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAnswer:
    """One answer: status, headers in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes


@contextlib.contextmanager
def connected(port: int, *, context: ssl.SSLContext | None = None, seconds: float = 10.0) -> Iterator[socket.socket]:
    """An open connection to this machine."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as plain:
        if context is None:
            yield plain
        else:
            with context.wrap_socket(plain, server_hostname=HOST) as wrapped:
                yield wrapped


def exchange(port: int, sent: bytes, *, context: ssl.SSLContext | None = None) -> list[RawAnswer]:
    """Send and read until the server closes."""
    with connected(port, context=context) as connection:
        connection.sendall(sent)
        return answers(until_closed(connection))


def until_closed(connection: socket.socket) -> bytes:
    """All that comes until the server closes; a reset is a failure."""
    received = b""
    while piece := connection.recv(65536):
        received += piece
    return received


def answer(connection: socket.socket) -> RawAnswer:
    """The next answer on a connection that stays open."""
    received = b""
    while True:
        found = _first(received)
        if found is not None:
            return found[0]
        piece = connection.recv(65536)
        if not piece:
            raise AssertionError(f"closed after {received!r}")
        received += piece


def answers(received: bytes, *, to_head: bool = False) -> list[RawAnswer]:
    """Every answer in these bytes; those to HEAD have no body, whatever their length says."""
    found: list[RawAnswer] = []
    while received:
        first = _first(received, to_head=to_head)
        if first is None:
            raise AssertionError(f"an incomplete answer: {received!r}")
        found.append(first[0])
        received = first[1]
    return found


def request(method: str, target: str, *lines: str, body: bytes = b"") -> bytes:
    """A well-formed request; a body gets its Content-Length."""
    head = [f"{method} {target} HTTP/1.1", f"Host: {HOST}", *lines]
    if body:
        head.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def _first(received: bytes, *, to_head: bool = False) -> tuple[RawAnswer, bytes] | None:
    head, separator, rest = received.partition(b"\r\n\r\n")
    if not separator:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    status = int(first.split(" ")[1])
    if status < 200:
        return _first(rest, to_head=to_head)
    if to_head:
        return RawAnswer(status=status, headers=headers, body=b""), rest
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return _chunked(status, headers, rest)
    length = int(headers.get("content-length", 0))
    if len(rest) < length:
        return None
    return RawAnswer(status=status, headers=headers, body=rest[:length]), rest[length:]


def _chunked(status: int, headers: dict[str, str], rest: bytes) -> tuple[RawAnswer, bytes] | None:
    body = b""
    while True:
        size, separator, rest = rest.partition(b"\r\n")
        length = int(size, 16) if separator else 0
        if not separator or len(rest) < length + 2:
            return None
        body, rest = body + rest[:length], rest[length + 2 :]
        if not length:
            return RawAnswer(status=status, headers=headers, body=body), rest
