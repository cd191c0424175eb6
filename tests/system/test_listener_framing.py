"""The listener as a real process: what is framed ambiguously is refused whole and closes the connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import Server, running, supervised
from tests.support.raw_http import answer, answers, connected, exchange, request, until_closed

GOOD = request("GET", "/ok")
SMUGGLED = request("GET", "/slow")  # would wait for ever: executed once, it would be seen in `begun`
MANY_FIELDS = [f"X-{number}: x" for number in range(500)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("listener")
    command = supervised("tests.support.tiny_application:build", str(directory))
    with running(command, directory) as server:
        yield server


def post(*lines: str, body: bytes = b"") -> bytes:
    return request("POST", "/", *lines) + body


AMBIGUOUS_LENGTH = {
    "length and coding": post("Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "coding and length": post("Transfer-Encoding: chunked", "Content-Length: 5", body=b"0\r\n\r\n"),
    "two lengths": post("Content-Length: 5", "Content-Length: 6", body=b"hello"),
    "two equal lengths": post("Content-Length: 5", "content-length: 5", body=b"hello"),
    "a list of lengths": post("Content-Length: 5, 5", body=b"hello"),
}
BAD_LENGTH = {
    value: post(f"Content-Length: {value}", body=b"hello")
    for value in ("+5", "0x5", "-1", "5_0", "5 5", "", "5;", "9" * 30)
}
BAD_CODING = {
    "identity": post("Transfer-Encoding: identity", body=b"hello"),
    "a list": post("Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
    "an unknown one": post("Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "a control character": post("Transfer-Encoding: chunked\x0b", body=b"0\r\n\r\n"),
    "two codings": post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "HTTP/1.0": post("Transfer-Encoding: chunked", body=b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
}
BAD_CHUNKS = {
    "a long extension": b"5;" + b"x" * 20_000 + b"\r\nhello\r\n0\r\n\r\n",
    "a bare LF": b"5\nhello\r\n0\r\n\r\n",
    "a negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "a prefix": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a huge size": b"f" * 17 + b"\r\nhello",
    "blanks after the size": b"5 \r\nhello\r\n0\r\n\r\n",
    "a wrong terminator": b"5\r\nhelloXX0\r\n\r\n",
    "a CR in an extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "trailers ended by LF": b"5\r\nhello\r\n0\r\n\n",
    "a length behind the body": b"5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n",
    "a folded trailer": b"5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n",
}
BAD_LINES = {
    "a blank before the colon": request("GET", "/", "X-A : b"),
    "obs-fold": request("GET", "/", "X-A: b", " c"),
    "obs-fold by a tab": request("GET", "/", "X-A: b", "\tc"),
    "a bare CR": request("GET", "/", "X-A: b\rX-B: c"),
    "a bare LF": request("GET", "/", "X-A: b\nX-B: c"),
    "only LF": GOOD.replace(b"\r\n", b"\n"),
    "NUL in a value": request("GET", "/", "X-A: b\0c"),
    "NUL in the target": request("GET", "/\0"),
    "an escape character": request("GET", "/", "X-A: \x1b[2J"),
    "a non-ASCII name": request("GET", "/", "X-\xe9: b"),
    "no name": request("GET", "/", ": b"),
    "no colon": request("GET", "/", "X-A"),
    "a blank in the target": request("GET", "/a b"),
    "a blank line first": b"\r\n" + GOOD,
    "two blanks": GOOD.replace(b"GET /", b"GET  /"),
    "a TLS greeting": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}
BAD_HOST = {
    "none": b"GET / HTTP/1.1\r\n\r\n",
    "two": request("GET", "/", "Host: other"),
    "empty": b"GET / HTTP/1.1\r\nHost: \r\n\r\n",
    "user information": b"GET / HTTP/1.1\r\nHost: a@localhost\r\n\r\n",
    "a path": b"GET / HTTP/1.1\r\nHost: localhost/x\r\n\r\n",
    "port 0": b"GET / HTTP/1.1\r\nHost: localhost:0\r\n\r\n",
    "a large port": b"GET / HTTP/1.1\r\nHost: localhost:65536\r\n\r\n",
    "absolute form": request("GET", "http://other.example/"),
    "asterisk form": request("OPTIONS", "*"),
}
UPGRADES = {
    "h2c": request(
        "GET", "/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"
    ),
    "WebSocket": request(
        "GET",
        "/",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ),
    "prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 9,
    "PRI over HTTP/1.1": request("PRI", "/"),
    "CONNECT": request("CONNECT", "localhost:443"),
    "CONNECT of a path": request("CONNECT", "/"),
    "TRACE": request("TRACE", "/"),
    "HTTP/1.0": GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "HTTP/1.2": GOOD.replace(b"HTTP/1.1", b"HTTP/1.2"),
}
TOO_LARGE = {
    "33 KiB of fields": (request("GET", "/", *(f"X-{number}: {'x' * 1000}" for number in range(33))), 431),
    "500 fields": (request("GET", "/", *MANY_FIELDS), 431),
    "a long name": (request("GET", "/", f"{'x' * 17_000}: b"), 431),
    "a long target": (request("GET", "/" + "x" * 65_536), 414),
    "a long target alone": (b"GET /" + b"x" * 20_000, 414),
    "a long target that is whole": (request("GET", "/" + "x" * 9000), 414),
    "a declared body": (post(f"Content-Length: {1024 * 1024}"), 413),
}


def refused(server: Server, sent: bytes, status: int = 400) -> None:
    """One refusal, then the end of the connection; nothing that was sent behind it is executed."""
    directory = server.directory
    (got,) = exchange(server.port, sent + SMUGGLED)
    assert got.status == status
    assert got.headers["connection"] == "close"
    assert got.body == b""
    assert "server" not in got.headers
    assert not (directory / "begun").exists()
    assert exchange(server.port, request("GET", "/ok", "Connection: close"))[0].status == 200  # and others are served


def name(table: dict[str, object]) -> list[object]:
    return [pytest.param(value, id=key or "empty") for key, value in table.items()]


@pytest.mark.attack("HTT-01")
@pytest.mark.parametrize(
    "sent", name({key: AMBIGUOUS_LENGTH[key] for key in ("length and coding", "coding and length")})
)
def test_a_length_beside_a_transfer_coding_is_refused_and_nothing_behind_it_runs(server: Server, sent: bytes) -> None:
    refused(server, sent)


@pytest.mark.attack("HTT-02")
@pytest.mark.parametrize("sent", [AMBIGUOUS_LENGTH["two lengths"], *name(BAD_LENGTH)])
def test_a_length_that_is_no_number_is_refused(server: Server, sent: bytes) -> None:
    refused(server, sent)


@pytest.mark.attack("HTT-03")
@pytest.mark.parametrize(
    "sent", name({key: AMBIGUOUS_LENGTH[key] for key in ("two equal lengths", "a list of lengths")})
)
def test_a_length_that_is_told_twice_is_refused_even_when_both_agree(server: Server, sent: bytes) -> None:
    refused(server, sent)


@pytest.mark.attack("HTT-04")
@pytest.mark.parametrize("sent", name(BAD_CODING))
def test_a_transfer_coding_other_than_chunked_is_refused(server: Server, sent: bytes) -> None:
    (got,) = exchange(server.port, sent + SMUGGLED)
    assert got.status in {400, 501}
    assert got.headers["connection"] == "close"
    assert not (server.directory / "begun").exists()


@pytest.mark.attack("HTT-05")
@pytest.mark.parametrize("chunks", name(BAD_CHUNKS))
def test_a_malformed_chunked_body_is_refused(server: Server, chunks: bytes) -> None:
    refused(server, post("Transfer-Encoding: chunked", body=chunks))


@pytest.mark.attack("HTT-05")
def test_trailers_are_dropped_and_the_next_request_is_read_after_them(server: Server) -> None:
    body = b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nAuthorization: Bearer x\r\nX-Length: 3\r\n\r\n"
    sent = post("Transfer-Encoding: chunked", body=body) + request("GET", "/ok", "Connection: close")
    first, second = exchange(server.port, sent)
    assert (first.status, first.body) == (200, b"hello world")
    assert (second.status, second.body) == (200, b"ok")


@pytest.mark.attack("HTT-06")
@pytest.mark.parametrize("sent", name(BAD_LINES))
def test_a_malformed_line_is_refused(server: Server, sent: bytes) -> None:
    refused(server, sent)


@pytest.mark.attack("HTT-07")
@pytest.mark.parametrize("sent", name(BAD_HOST))
def test_a_request_that_does_not_name_one_plain_host_is_refused(server: Server, sent: bytes) -> None:
    refused(server, sent)


@pytest.mark.attack("HTT-08")
@pytest.mark.parametrize("sent", name(UPGRADES))
def test_nothing_but_http_1_1_is_spoken(server: Server, sent: bytes) -> None:
    refused(server, sent)


@pytest.mark.attack("HTT-09")
@pytest.mark.parametrize(("sent", "status"), [pytest.param(*pair, id=key) for key, pair in TOO_LARGE.items()])
def test_what_is_too_large_is_refused_by_its_own_status(server: Server, sent: bytes, status: int) -> None:
    refused(server, sent, status)


@pytest.mark.attack("HTT-10")
def test_an_undeclared_body_is_cut_off_at_the_limit(server: Server) -> None:
    sent = post("Transfer-Encoding: chunked", body=b"10000\r\n" + b"x" * 65_536 + b"\r\n")
    sent += b"".join(b"10000\r\n" + b"x" * 65_536 + b"\r\n" for _ in range(4))
    (got,) = exchange(server.port, sent)
    assert (got.status, got.headers["connection"]) == (413, "close")


@pytest.mark.attack("HTT-23")
def test_only_100_continue_can_be_expected_and_it_is_told_before_the_body(server: Server) -> None:
    (got,) = exchange(server.port, post("Expect: 200-ok", "Content-Length: 5", body=b"hello"))
    assert got.status == 417
    with connected(server.port) as connection:
        connection.sendall(post("Expect: 100-continue", "Content-Length: 5", "Connection: close"))
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"hello")
        assert answers(until_closed(connection))[0].body == b"hello"


def test_a_head_that_comes_byte_by_byte_is_the_same_head(server: Server) -> None:
    with connected(server.port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request("POST", "/", "Connection: close", body=b"hello"):
            connection.sendall(bytes([byte]))
        assert answers(until_closed(connection))[0].body == b"hello"


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    sent = b"".join(request("POST", "/", body=str(number).encode()) for number in range(20))
    got = exchange(server.port, sent + request("GET", "/ok", "Connection: close"))
    assert [one.body for one in got] == [*(str(number).encode() for number in range(20)), b"ok"]


def test_a_connection_is_kept_alive_and_answers_carry_a_date_and_no_server_name(server: Server) -> None:
    with connected(server.port) as connection:
        for _ in range(3):
            connection.sendall(GOOD)
            got = answer(connection)
            assert got.status == 200
            assert "date" in got.headers
            assert "server" not in got.headers
            assert "connection" not in got.headers


def test_a_second_request_that_is_malformed_is_told_so_like_a_first(server: Server) -> None:
    first, second = exchange(server.port, GOOD + b"GET / HTTP/1.1\nHost: a\n\n")
    assert (first.status, second.status) == (200, 400)
    with connected(server.port) as connection:
        connection.sendall(GOOD)
        assert answer(connection).status == 200
        connection.sendall(b"\0")
        assert answers(until_closed(connection))[0].status == 400


def test_an_answer_without_a_length_is_chunked(server: Server) -> None:
    with connected(server.port) as connection:
        connection.sendall(request("GET", "/stream", "Connection: close"))
        received = until_closed(connection)
    assert b"transfer-encoding: chunked" in received.lower()
    assert received.endswith(b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n")


def test_an_application_that_answers_before_it_read_the_body_ends_the_connection_and_not_the_server(
    server: Server,
) -> None:
    body = b"x" * 200_000
    (got,) = exchange(server.port, request("POST", "/early", body=body))
    assert (got.status, got.body) == (200, b"early")
    with connected(server.port) as connection:  # the body is still under way when the answer is given
        connection.sendall(request("POST", "/early", f"Content-Length: {len(body)}"))
        got = answer(connection)
        assert (got.body, got.headers["connection"]) == (b"early", "close")
        connection.sendall(body[:1000])


def test_the_scratch_directory_shows_that_nothing_was_smuggled(server: Server) -> None:
    assert not (Path(server.directory) / "begun").exists()
