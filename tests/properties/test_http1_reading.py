"""The reader of requests against h11: what it accepts, h11 reads alike; how bytes are cut changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

import h11
from hypothesis import example, given
from hypothesis import strategies as st

from rs_kit.adapters.http1_reading import End, Head, RefusedRequest, RequestReader

BODY_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Seen:
    """One whole request, as a reader understood it."""

    method: str
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


def ours(pieces: list[bytes]) -> tuple[list[Seen], bool]:
    """The whole requests in these bytes, and whether the rest was refused."""
    reader = RequestReader(body_limit=BODY_LIMIT)
    seen: list[Seen] = []
    head, body = None, b""
    try:
        for piece in pieces:
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


def lowered_coding(seen: Seen) -> Seen:
    # h11 tells "Chunked" in lower case
    fields = tuple((n, v.lower() if n == b"transfer-encoding" else v) for n, v in seen.fields)
    return Seen(seen.method, seen.target, fields, seen.body)


FIELD_LINES = st.sampled_from(
    [
        b"Host: localhost",
        b"Host: localhost:8443",
        b"Host:localhost \t",
        b"Host: a/b",
        b"Content-Length: 5",
        b"content-length:5",
        b"Content-Length: 05",
        b"Content-Length: 5, 5",
        b"Content-Length: 0",
        b"Content-Length: 2000",
        b"Content-Length : 5",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: Chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Upgrade: h2c",
        b"Expect: 100-continue",
        b"X-A: b",
        b"X-A:\t b c\t",
        b"X-A:",
        b"X-A: \xe9",
        b"X\xe9: a",
        b" folded",
        b"X-A: a\x00b",
        b"X-A: a\x7fb",
        b"no colon",
        b": no name",
    ]
)
LINE_ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b"\n\r\n"])
REQUEST_LINES = st.sampled_from(
    [b"GET / HTTP/1.1"] * 3
    + [b"POST /token HTTP/1.1"] * 3
    + [
        b"get /a?b=c HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.0",
        b"GET http://x/ HTTP/1.1",
        b"GET /\x80 HTTP/1.1",
        b"",
    ]
)
BODIES = st.sampled_from(
    [
        b"",
        b"",
        b"hello",
        b"hello",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
        b"5 ;a\r\nhello\r\n00\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n",
        b"0\r\n\n",
        b"ffffffffffffffff\r\n",
    ]
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    lines = [draw(REQUEST_LINES), b"Host: localhost", *draw(st.lists(FIELD_LINES, max_size=3))]
    wire = b"".join(line + draw(LINE_ENDS) for line in lines)
    return wire + draw(LINE_ENDS) + draw(BODIES)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Some requests behind each other, perhaps with one byte changed."""
    wire = b"".join(draw(st.lists(requests(), min_size=1, max_size=3)))
    if draw(st.booleans()) and wire:
        place = draw(st.integers(0, len(wire) - 1))
        wire = wire[:place] + bytes([draw(st.integers(0, 255))]) + wire[place + draw(st.integers(0, 1)) :]
    return wire


@given(streams())
@example(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
def test_whatever_is_accepted_is_read_by_h11_in_the_same_way(data: bytes) -> None:
    mine, _ = ours([data])
    others = theirs(data)
    assert [lowered_coding(one) for one in mine] == others[: len(mine)]


@given(streams(), st.lists(st.integers(0, 400), max_size=6))
def test_how_the_bytes_are_cut_changes_nothing(data: bytes, cuts: list[int]) -> None:
    places = sorted({cut for cut in cuts if cut < len(data)})
    pieces = [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]
    assert ours(pieces) == ours([data])


@given(st.binary(max_size=300))
def test_any_bytes_give_requests_or_the_one_refusal(data: bytes) -> None:
    ours([data])
    ours([data[:1], data[1:]])


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.sampled_from([b"", b";x", b" ; x=y"]))
def test_a_chunked_body_is_what_was_cut_into_chunks(chunks: list[bytes], extension: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    seen, refused = ours([head + body + b"0\r\n\r\n"])
    assert not refused
    assert seen[0].body == b"".join(chunks)
