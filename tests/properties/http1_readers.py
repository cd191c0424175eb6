"""Bytes of a connection, read by our reader and by h11."""

from __future__ import annotations

import re
from dataclasses import dataclass

import h11

from rs_kit.adapters.listener.reading import End, Head, RefusedRequest, RequestReader

BODY_LIMIT = 1024
_BAD_WHITESPACE = re.compile(rb"[ \t];")


@dataclass(frozen=True, slots=True)
class Seen:
    """One whole request, as a reader understood it."""

    method: str
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


def ours(pieces: list[bytes], *, absorbing: bool = False) -> tuple[list[Seen], bool]:
    """The whole requests in these bytes, and whether the rest was refused; perhaps without looking at every piece."""
    reader = RequestReader(body_limit=BODY_LIMIT)
    seen: list[Seen] = []
    head, body = None, b""
    try:
        for piece in pieces:
            if absorbing and reader.absorb(piece):
                continue
            reader.receive(piece)
            while (event := reader.next()) is not None:
                if isinstance(event, Head):
                    head, body = event, b""
                elif isinstance(event, bytes):
                    body += event
                elif event is End.OF_REQUEST:
                    assert head is not None
                    seen.append(Seen(head.method, head.target, tuple(head.fields), body))
                    if head.close:
                        return seen, False
                    reader.next_request()
    except RefusedRequest:
        return seen, True
    return seen, False


def theirs(data: bytes) -> list[Seen]:
    """The same by h11."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    seen: list[Seen] = []
    body = b""
    request = None
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None
                fields = tuple((bytes(name), bytes(value)) for name, value in request.headers)
                seen.append(Seen(request.method.decode(), bytes(request.target), fields, body))
                connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                connection.start_next_cycle()
            else:
                return seen
    except (h11.RemoteProtocolError, h11.LocalProtocolError):
        return seen


def comparable(data: bytes) -> bool:
    """Whether h11 must read what ours accepts; it refuses a space before the semicolon of a chunk extension.

    RFC 9112 §7.1.1 calls that space bad, and RFC 9110 §5.6.3 says that whoever receives it must take it away.
    """
    return _BAD_WHITESPACE.search(data) is None


def lowered_coding(seen: Seen) -> Seen:
    # h11 tells "Chunked" in lower case
    fields = tuple((n, v.lower() if n == b"transfer-encoding" else v) for n, v in seen.fields)
    return Seen(seen.method, seen.target, fields, seen.body)
