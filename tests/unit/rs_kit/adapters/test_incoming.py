"""Whoever serves a connection is woken when there is something to do, and nothing overtakes what came before."""

from __future__ import annotations

import asyncio

import pytest

from rs_kit.adapters.listener.incoming import Incoming
from rs_kit.adapters.listener.reading import ABSORBED_LIMIT, HEAD_LIMIT, Head, RequestReader

HEAD = b"POST /token HTTP/1.1\r\nHost: localhost\r\n"


def _reader() -> tuple[asyncio.StreamReader, Incoming]:
    stream = asyncio.StreamReader()
    return stream, Incoming(stream)


@pytest.mark.attack("HTT-16")
async def test_nobody_is_woken_for_bytes_that_were_absorbed() -> None:
    stream, incoming = _reader()
    taken: list[bytes] = []
    incoming.absorb = lambda data: not taken.append(data)
    reading = asyncio.create_task(stream.read(100))
    for _ in range(3):
        await asyncio.sleep(0)
        incoming.data_received(b"a")
    await asyncio.sleep(0)
    assert not reading.done()
    assert taken == [b"a"] * 3
    incoming.absorb = lambda _: False
    incoming.data_received(b"b")
    assert await reading == b"b"


@pytest.mark.attack("HTT-16")
async def test_bytes_behind_others_that_wait_are_not_absorbed() -> None:
    stream, incoming = _reader()
    incoming.absorb = lambda data: data != b"first"
    incoming.data_received(b"first")
    incoming.data_received(b"second")
    data = await stream.read(100)
    assert data == b"firstsecond"
    incoming.was_read(len(data))
    incoming.data_received(b"third")
    incoming.data_received(b"first")
    assert await stream.read(100) == b"first"


def _begun(wire: bytes) -> RequestReader:
    reader = RequestReader(body_limit=1024 * 1024)
    reader.receive(wire)
    reader.next()
    return reader


@pytest.mark.parametrize("data", [b"a", b"a b\tc", b"\xe9"])
def test_a_line_that_goes_on_is_absorbed(data: bytes) -> None:
    assert _begun(HEAD + b"X-A: b").absorb(data)


@pytest.mark.parametrize("data", [b"\r", b"\n", b"a\r\nb", b"\x00", b"\x7f", b"a" * HEAD_LIMIT])
def test_what_may_end_a_line_or_is_not_permitted_is_looked_at(data: bytes) -> None:
    assert not _begun(HEAD + b"X-A: b").absorb(data)


@pytest.mark.parametrize("wire", [b"", HEAD, HEAD + b"X-A: b\r"])
def test_what_begins_a_line_is_looked_at(wire: bytes) -> None:
    assert not _begun(wire).absorb(b" a")


def test_a_body_is_absorbed_until_it_is_whole_or_much() -> None:
    reader = _begun(HEAD + b"Content-Length: 50000\r\n\r\n")
    assert reader.absorb(b"a" * ABSORBED_LIMIT)
    assert not reader.absorb(b"a")
    short = RequestReader(body_limit=10)
    short.receive(HEAD + b"Content-Length: 3\r\n\r\na")
    assert isinstance(short.next(), Head)
    assert short.next() == b"a"
    assert short.absorb(b"b")
    assert not short.absorb(b"c")
    short.receive(b"c")
    assert short.next() == b"bc"


@pytest.mark.parametrize("wire", [HEAD + b"\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"])
def test_what_follows_a_request_or_comes_in_chunks_is_looked_at(wire: bytes) -> None:
    assert not _begun(wire).absorb(b"a")
