"""The writer of answers: whatever an application says, the peer sees one well-formed answer or a broken connection."""

from __future__ import annotations

import h11
import pytest

from rs_kit.adapters.listener.writing import AnswerWriter, UnframedAnswer


def read_by_h11(wire: bytes, method: str = "GET") -> tuple[int, bytes, bool]:
    """Status, body, and whether h11 sees the end of the answer."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(wire)
    status, body = 0, b""
    while True:
        event = client.next_event()
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            return status, body, isinstance(event, h11.EndOfMessage)


@pytest.mark.parametrize(
    "fields", [[(b"content-length", b"10")], [(b"Content-Length", b"10")], [], [(b"transfer-encoding", b"gzip")]]
)
def test_an_answer_is_framed_by_its_length_or_in_chunks(fields: list[tuple[bytes, bytes]]) -> None:
    writer = AnswerWriter("GET")
    wire = (
        writer.begin(200, fields)
        + writer.content(b"hello")
        + writer.content(b"")
        + writer.content(b"world")
        + writer.end()
    )
    assert read_by_h11(wire) == (200, b"helloworld", True)
    assert writer.is_whole
    assert b"gzip" not in wire


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 304), ("DELETE", 204)])
def test_an_answer_without_content_ends_with_its_head(method: str, status: int) -> None:
    writer = AnswerWriter(method)
    wire = writer.begin(status, [(b"content-length", b"10")] if status != 204 else []) + writer.end()
    assert read_by_h11(wire, method) == (status, b"", True)


@pytest.mark.parametrize(
    "field",
    [
        (b"x-a", b"b\r\nset-cookie: c=d"),
        (b"x-a", b"b\nset-cookie: c=d"),
        (b"x-a", b"b\rc"),
        (b"x-a", b"b\0"),
        (b"x-a: b\r\nx-c", b"d"),
        (b"x a", b"b"),
        (b"", b"b"),
        (b"content-length", b"1x"),
    ],
)
def test_a_field_that_could_say_more_than_its_value_is_never_written(field: tuple[bytes, bytes]) -> None:
    writer = AnswerWriter("GET")
    with pytest.raises(UnframedAnswer):
        writer.begin(200, [field])
    assert not writer.begun
    assert read_by_h11(writer.begin(500, [(b"content-length", b"0")]) + writer.end()) == (500, b"", True)


def test_a_second_length_or_a_second_head_is_never_written() -> None:
    with pytest.raises(UnframedAnswer):
        AnswerWriter("GET").begin(200, [(b"content-length", b"1"), (b"content-length", b"1")])
    writer = AnswerWriter("GET")
    writer.begin(200, [])
    with pytest.raises(UnframedAnswer):
        writer.begin(200, [])


def test_more_or_less_than_was_announced_leaves_the_answer_open() -> None:
    writer = AnswerWriter("GET")
    writer.begin(200, [(b"content-length", b"3")])
    with pytest.raises(UnframedAnswer):
        writer.content(b"four")
    writer.content(b"tw")
    with pytest.raises(UnframedAnswer):
        writer.end()
    assert not writer.is_whole


def test_an_application_can_end_the_connection() -> None:
    writer = AnswerWriter("GET")
    writer.begin(200, [(b"connection", b"Close")])
    assert writer.close
