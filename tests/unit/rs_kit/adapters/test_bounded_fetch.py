"""The fetch of small documents, against real TLS on the loopback."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from rs_kit.adapters import bounded_fetch
from rs_kit.adapters.bounded_fetch import FetchFailed, HttpsGet

Answer = Callable[[ssl.SSLSocket], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def fetch(authority: trustme.CA, tmp_path: Path) -> HttpsGet:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    return HttpsGet(ca_file)


@contextlib.contextmanager
def serving(authority: trustme.CA, answer: Answer, *names: str, common_name: str | None = None) -> Iterator[str]:
    """One connection, answered byte by byte as the test says."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("localhost",)), common_name=common_name).configure_cert(context)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError), contextlib.closing(listener):
            plain, _ = listener.accept()
            plain.settimeout(5)
            with context.wrap_socket(plain, server_side=True) as connection:
                connection.recv(4096)
                answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"https://localhost:{listener.getsockname()[1]}/jwks"
    thread.join(10)
    assert not thread.is_alive()


def saying(*pieces: bytes) -> Answer:
    def answer(connection: ssl.SSLSocket) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return answer


@pytest.mark.requirement("MCP-15", proves="holds")
def test_a_json_document_is_read_whole(authority: trustme.CA, fetch: HttpsGet) -> None:
    with serving(authority, saying(OK + b"Content-Length: 11\r\n\r\n", b'{"keys"', b":[]}")) as url:
        assert fetch(url) == b'{"keys":[]}'


def test_a_chunked_document_is_read_whole(authority: trustme.CA, fetch: HttpsGet) -> None:
    pieces = saying(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\n{}\r\n0\r\n\r\n")
    with serving(authority, pieces) as url:
        assert fetch(url) == b"{}"


@pytest.mark.requirement("MCP-15", proves="refused")
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 302 Found\r\nLocation: https://169.254.169.254/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Oops\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 204 No Content\r\nContent-Type: application/json\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        OK + b"Content-Length: 99\r\n\r\n{}",
        b"not HTTP\r\n\r\n",
        b"",
    ],
)
def test_any_other_answer_is_a_failure_and_no_redirect_is_followed(
    head: bytes, authority: trustme.CA, fetch: HttpsGet
) -> None:
    with serving(authority, saying(head)) as url, pytest.raises(FetchFailed):
        fetch(url)


@pytest.mark.attack("DPR-27")
def test_an_endless_answer_is_cut(authority: trustme.CA, fetch: HttpsGet) -> None:
    def flood(connection: ssl.SSLSocket) -> None:
        connection.sendall(OK + b"\r\n")
        with contextlib.suppress(OSError):
            for _ in range(10 * 1024):
                connection.sendall(b" " * 1024)

    with serving(authority, flood) as url, pytest.raises(FetchFailed, match="too large"):
        fetch(url)


def test_an_answer_that_drips_is_cut(authority: trustme.CA, fetch: HttpsGet, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(0, 1000, 2))  # two seconds pass with every look at the clock
    monkeypatch.setattr(bounded_fetch, "monotonic_seconds", lambda: next(seconds))

    def drip(connection: ssl.SSLSocket) -> None:
        connection.sendall(OK + b"\r\n")
        with contextlib.suppress(OSError):
            for _ in range(100_000):
                connection.sendall(b" ")

    with serving(authority, drip) as url, pytest.raises(FetchFailed, match="too long"):
        fetch(url)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        OK + b"Transfer-Encoding: chunked\r\n\r\n",
        OK + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    ids=["head", "chunk size", "chunk size of a connection that closes"],
)
def test_a_line_that_drips_does_not_hold_the_thread(
    head: bytes, authority: trustme.CA, fetch: HttpsGet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_fetch, "_SECONDS", 0.5)
    gone = threading.Event()

    def drip(connection: ssl.SSLSocket) -> None:
        connection.sendall(head)
        with contextlib.suppress(OSError):
            for _ in range(100):
                connection.sendall(b"0")
                gone.wait(0.1)

    started = time.monotonic()
    with serving(authority, drip) as url, pytest.raises(FetchFailed):
        fetch(url)
    assert time.monotonic() - started < 5


def test_a_server_that_is_not_the_one_that_was_named_is_a_failure(authority: trustme.CA, fetch: HttpsGet) -> None:
    with serving(authority, saying(OK), "other.example") as url, pytest.raises(FetchFailed, match="Hostname"):
        fetch(url)
    with serving(trustme.CA(), saying(OK)) as url, pytest.raises(FetchFailed, match="certificate"):
        fetch(url)


@pytest.mark.requirement("FAPI2-NET-6", proves="refused")
def test_a_name_that_stands_in_the_subject_alone_is_none(authority: trustme.CA, fetch: HttpsGet) -> None:
    names = serving(authority, saying(OK), "somebody@localhost", common_name="localhost")
    with names as url, pytest.raises(FetchFailed, match="certificate"):
        fetch(url)


def test_what_a_peer_says_is_told_in_printable_words_and_few_of_them(authority: trustme.CA, fetch: HttpsGet) -> None:
    said = b"HTTP/9 \x1b[31m\xff\n" + b"y" * 1000 + b"\r\n\r\n"
    with serving(authority, saying(said)) as url, pytest.raises(FetchFailed) as raised:
        fetch(url)
    assert str(raised.value).isprintable()
    assert str(raised.value).isascii()
    assert len(str(raised.value)) <= 200


@pytest.mark.parametrize("url", ["http://localhost/jwks", "file:///etc/passwd", "https://", "https://u:p@localhost/"])
def test_only_plain_https_is_fetched(url: str, fetch: HttpsGet) -> None:
    with pytest.raises(FetchFailed, match="https"):
        fetch(url)


def test_a_proxy_in_the_environment_is_not_used(
    authority: trustme.CA, fetch: HttpsGet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with serving(authority, saying(OK + b"Content-Length: 2\r\n\r\n{}")) as url:
        assert fetch(url) == b"{}"


@pytest.mark.parametrize(
    "url",
    ["https://a b/", "https://a\x00b/x", "https://h:99999/", "https://h:abc/", "https://[::1/", "https://h\u2100/"],
)
def test_an_address_that_is_none_is_a_fetch_that_failed(fetch: HttpsGet, url: str) -> None:
    with pytest.raises(FetchFailed):
        fetch(url)
