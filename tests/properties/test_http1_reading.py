"""The reader of requests against h11: what it accepts, h11 reads alike; how bytes are cut changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.properties.http1_readers import comparable, lowered_coding, ours, theirs

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
    assume(comparable(data))
    mine, _ = ours([data])
    others = theirs(data)
    assert [lowered_coding(one) for one in mine] == others[: len(mine)]


@pytest.mark.parametrize("space", [b" ", b"\t", b" \t "])
def test_bad_whitespace_before_a_chunk_extension_is_taken_away(space: bytes) -> None:
    head, rest = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5", b";a\r\nhello\r\n0\r\n\r\n"
    mine, refused = ours([head + space + rest])
    assert (mine, refused) == (theirs(head + rest), False)
    assert theirs(head + space + rest) == []  # once h11 reads it, too, nothing above need be left out


@pytest.mark.parametrize("field", [b"Transfer-Encoding: c", b"Content-Length: 3", b"host: b"])
def test_a_trailer_that_would_frame_or_route_is_refused(field: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert ours([head + b"0\r\n" + field + b"\r\n\r\n"]) == ([], True)


@given(streams(), st.lists(st.integers(0, 400), max_size=6))
def test_how_the_bytes_are_cut_changes_nothing(data: bytes, cuts: list[int]) -> None:
    places = sorted({cut for cut in cuts if cut < len(data)})
    pieces = [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]
    assert ours(pieces) == ours([data])


@pytest.mark.attack("HTT-16")
@given(streams(), st.lists(st.integers(0, 400), max_size=40))
def test_bytes_for_which_nobody_is_woken_change_nothing(data: bytes, cuts: list[int]) -> None:
    places = sorted({cut for cut in cuts if cut < len(data)})
    pieces = [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]
    assert ours(pieces, absorbing=True) == ours([data])


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
