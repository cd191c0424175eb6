"""The Fetch port: the fake and the adapter agree, and the adapter stands hostile hosts over real TLS."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from fapi_as.adapters import fetch as fetch_adapter
from fapi_as.adapters.fetch import HttpsFetch
from fapi_as.ports import Fetch
from fapi_as.protocol.fetched_document import FetchedDocument, FetchFailed
from tests.support.document_host import OK, Answer, DocumentHost, document, document_host, endless, saying
from tests.support.fake_fetch import FakeFetch

LIMIT = 64 * 1024
QUICK = "quick.example"
REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:8080/admin\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentHost]:
    with document_host(tmp_path_factory.mktemp("host"), "localhost", QUICK) as host:
        yield host


@pytest.fixture
async def https(host: DocumentHost) -> AsyncIterator[HttpsFetch]:
    fetch = HttpsFetch(ca_file=host.ca_file, allowed_private_hosts=["localhost"])
    yield fetch
    fetch.close()


@pytest.fixture(params=["fake", "https"])
def fetch(request: pytest.FixtureRequest, host: DocumentHost, https: HttpsFetch) -> Fetch:
    bodies = {"/good": (b'{"keys":[]}', 120), "/silent": (b"{}", None), "/large": (b" " * (LIMIT + 1), None)}
    for path, (body, age) in bodies.items():
        fields = () if age is None else (b"Cache-Control: public, max-age=%d" % age,)
        host.answers[path] = document(body, *fields)
    if request.param == "https":
        return https
    fake = FakeFetch(allowed_private_hosts=frozenset({"localhost"}))
    for path, (body, age) in bodies.items():
        fake.documents[host.url(path)] = FetchedDocument(body=body, max_age=age)
    return fake


# --- what every implementation does


@pytest.mark.requirement("FAPI2-JWKS-1", proves="holds")
async def test_a_document_is_brought_whole_with_the_age_that_its_host_allows(fetch: Fetch, host: DocumentHost) -> None:
    assert await fetch.get(host.url("/good"), max_bytes=LIMIT) == FetchedDocument(body=b'{"keys":[]}', max_age=120)
    assert await fetch.get(host.url("/silent"), max_bytes=LIMIT) == FetchedDocument(body=b"{}", max_age=None)


async def test_what_is_larger_than_asked_for_or_not_there_fails(fetch: Fetch, host: DocumentHost) -> None:
    for path in ("/large", "/missing"):
        with pytest.raises(FetchFailed):
            await fetch.get(host.url(path), max_bytes=LIMIT)
    with pytest.raises(FetchFailed):
        await fetch.get(host.url("/good"), max_bytes=10)


@pytest.mark.attack("SSR-02")
@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "gopher://localhost/", "ftp://localhost/", "http://localhost:{port}/good"),
        *("https://2130706433:{port}/good", "https://0x7f.1:{port}/good", "https://127.1:{port}/good"),
        *("https://0177.0.0.1:{port}/good", "https://0x7f000001:{port}/good", "https://u:p@localhost:{port}/good"),
        "https://localhost:{port}/good#x",
    ],
)
async def test_another_scheme_or_spelling_reaches_nobody(fetch: Fetch, host: DocumentHost, url: str) -> None:
    before = host.connections
    with pytest.raises(FetchFailed):
        await fetch.get(url.format(port=host.port), max_bytes=LIMIT)
    assert host.connections == before


@pytest.mark.attack("SSR-04")
@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "[::1]", "[::1%25lo]", "[::ffff:127.0.0.1]", "[::]", "0.0.0.0", "[fe80::1]", "169.254.169.254"],
)
async def test_an_address_that_is_not_public_reaches_nobody(fetch: Fetch, host: DocumentHost, address: str) -> None:
    before = host.connections
    with pytest.raises(FetchFailed):
        await fetch.get(host.url("/good", address), max_bytes=LIMIT)
    assert host.connections == before


# --- names, and where they lead


def leading(monkeypatch: pytest.MonkeyPatch, answers: dict[str, list[str]]) -> list[str]:
    """Make names lead where the test says; tells which were looked up."""
    looked_up: list[str] = []
    resolve = socket.getaddrinfo

    def getaddrinfo(name: str, port: int, **options: Any) -> list[Any]:
        looked_up.append(name)
        found = answers.get(name)
        if found is None:
            raise socket.gaierror("nobody knows this name")
        return [place for text in found for place in resolve(text, port, **options)]

    monkeypatch.setattr(fetch_adapter.socket, "getaddrinfo", getaddrinfo)
    return looked_up


@pytest.mark.attack("SSR-03")
@pytest.mark.parametrize("name", ["localhost.", "a.localhost", "metadata.google.internal", "printer.local", "metadata"])
async def test_a_name_for_the_inside_is_not_even_looked_up(
    https: HttpsFetch, host: DocumentHost, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = leading(monkeypatch, {name: ["127.0.0.1"]})
    before = host.connections
    with pytest.raises(FetchFailed):
        await https.get(host.url("/good", name), max_bytes=LIMIT)
    assert looked_up == []
    assert host.connections == before


@pytest.mark.attack("SSR-03")
@pytest.mark.parametrize(
    "places",
    [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["169.254.169.254"], ["10.0.0.1"]],
)
async def test_a_name_that_leads_inside_is_refused_though_it_looks_like_any(
    https: HttpsFetch, host: DocumentHost, places: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up = leading(monkeypatch, {"client.example": places})
    before = host.connections
    with pytest.raises(FetchFailed, match="not public"):
        await https.get(host.url("/good", "client.example"), max_bytes=LIMIT)
    assert looked_up == ["client.example"]
    assert host.connections == before


async def test_the_connection_goes_to_the_address_that_was_judged_and_the_certificate_is_for_the_name(
    https: HttpsFetch, host: DocumentHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads elsewhere the second time: it is looked up once, and that answer is used."""
    host.answers["/pinned"] = document(b"{}")
    resolve, times = socket.getaddrinfo, []

    def rebinding(name: str, port: int, **options: Any) -> list[Any]:
        times.append(name)
        return resolve("127.0.0.1" if len(times) == 1 else "169.254.169.254", port, **options)

    monkeypatch.setattr(fetch_adapter.socket, "getaddrinfo", rebinding)
    assert (await https.get(host.url("/pinned"), max_bytes=LIMIT)).body == b"{}"
    assert times == ["localhost"]
    assert f"\r\nHost: localhost:{host.port}\r\n".encode() in host.heads[-1]


async def test_the_next_address_is_tried_when_one_does_not_answer(
    https: HttpsFetch, host: DocumentHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.answers["/second"] = document(b"{}")
    leading(monkeypatch, {"localhost": ["::1", "127.0.0.1"]})
    assert (await https.get(host.url("/second"), max_bytes=LIMIT)).body == b"{}"


@pytest.mark.parametrize("wrong", ["name", "authority"])
async def test_a_host_that_is_not_the_one_that_was_named_is_refused(
    host: DocumentHost, tmp_path: Path, wrong: str
) -> None:
    with document_host(tmp_path, "other.example") as other:
        other.answers["/good"] = document(b"{}")
        fetch = HttpsFetch(
            ca_file=other.ca_file if wrong == "name" else host.ca_file, allowed_private_hosts=["localhost"]
        )
        with pytest.raises(FetchFailed, match="certificate"):
            await fetch.get(other.url("/good"), max_bytes=LIMIT)
        assert other.heads == []
        fetch.close()


# --- hosts that lie, drip and flood


@pytest.mark.attack("SSR-01")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(https: HttpsFetch, host: DocumentHost, status: int) -> None:
    host.answers["/elsewhere"] = saying(REDIRECT.replace(b"302", b"%d" % status))
    host.answers["/here"] = saying(REDIRECT.replace(b"http://127.0.0.1:8080/admin", host.url("/good").encode()))
    before = host.asked("/good")
    for path in ("/elsewhere", "/here"):
        with pytest.raises(FetchFailed, match="status 30"):
            await https.get(host.url(path), max_bytes=LIMIT)
    assert host.asked("/good") == before


@pytest.mark.attack("SSR-05")
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (saying(OK, b"Content-Length: 52428800\r\n\r\n"), "too large"),
        (endless(OK + b"\r\n", b" " * 4096), "too large"),
        (endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b" " * 4096 + b"\r\n"), "too large"),
        (endless(OK, b"X: y\r\n"), "more than 100 headers"),
        (endless(OK, b"X: " + b"y" * 4000 + b"\r\n"), "head of the answer is too large"),
        (endless(OK + b"X: ", b"y" * 4096), "too large|LineTooLong"),
        (endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "head of the answer is too large"),
        (endless(b"HTTP/1.1 200 ", b"y" * 4096), "too large|LineTooLong"),
        (saying(OK + b"".join(b"X-%d: y\r\n" % n for n in range(10_000)) + b"\r\n{}"), "more than 100 headers"),
    ],
    ids=["50 MiB told", "body", "chunks", "fields", "long fields", "one field", "interim answers", "reason", "10 000"],
)
async def test_what_never_ends_is_cut_at_its_limit(
    https: HttpsFetch, host: DocumentHost, answer: Answer, reason: str
) -> None:
    host.answers["/endless"] = answer
    with pytest.raises(FetchFailed, match=reason):
        await https.get(host.url("/endless"), max_bytes=LIMIT)


@pytest.mark.attack("SSR-05")
async def test_peers_that_drip_are_cut_in_time_and_nobody_else_waits_for_them(
    host: DocumentHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once, in real time: a head, a body and chunk sizes that drip, and a handshake that never happens."""
    resolve = socket.getaddrinfo
    monkeypatch.setattr(fetch_adapter.socket, "getaddrinfo", lambda _, port, **o: resolve("localhost", port, **o))
    https = HttpsFetch(ca_file=host.ca_file, allowed_private_hosts=["localhost", QUICK])
    host.answers["/head"] = endless(OK, b"X", pause=0.1)
    host.answers["/body"] = endless(OK + b"\r\n", b" ", pause=0.1)
    host.answers["/chunk"] = endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0", pause=0.1)
    host.answers["/nothing"] = endless(b"", b"", pause=0.1, times=200)
    host.answers["/quick"] = document(b"{}")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never says anything
        urls = [host.url(path) for path in ("/head", "/body", "/chunk", "/nothing")]
        urls.append(f"https://localhost:{silent.getsockname()[1]}/")
        started = time.monotonic()
        slow = [asyncio.create_task(https.get(url, max_bytes=LIMIT)) for url in urls]
        longest = 0.0
        while not all(task.done() for task in slow):
            before = time.monotonic()
            await https.get(host.url("/quick", QUICK), max_bytes=LIMIT)
            await asyncio.sleep(0.05)
            longest = max(longest, time.monotonic() - before)
        results = await asyncio.gather(*slow, return_exceptions=True)
    assert all(isinstance(result, FetchFailed) for result in results), results
    assert time.monotonic() - started < fetch_adapter.SECONDS + 2
    assert longest < 2
    https.close()


@pytest.mark.attack("SSR-06")
@pytest.mark.parametrize(
    "answer",
    [
        document(b"<html></html>", content_type=b"text/html"),
        document(b"{}", content_type=b"text/plain"),
        document(b"{}", content_type=b"application/jose"),
        saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
        saying(OK, b"Content-Type: text/html\r\nContent-Length: 2\r\n\r\n{}"),
        document(b"\x1f\x8b", b"Content-Encoding: gzip"),
        document(b"{}", b"Content-Encoding: identity"),
        saying(b"HTTP/1.1 206 Partial Content\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"),
        saying(b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"),
        saying(OK + b"Content-Length: 9\r\n\r\n{}"),
        saying(b"SSH-2.0-OpenSSH\r\n"),
        saying(b""),
    ],
)
async def test_what_is_no_json_document_is_refused(https: HttpsFetch, host: DocumentHost, answer: Answer) -> None:
    host.answers["/odd"] = answer
    with pytest.raises(FetchFailed):
        await https.get(host.url("/odd"), max_bytes=LIMIT)


@pytest.mark.attack("SSR-07")
@pytest.mark.parametrize(
    "answer",
    [
        saying(b"HTTP/1.1 302 Fo\x1b[31mund\r\nLocation: https://x/\x1b]0;owned\x07%0d%0aINFO forged\r\n\r\n"),
        saying(b"HTTP/1.1 five \x1b[2J\nINFO forged line\r\n\r\n"),
        saying(b"\xff\xfe\x00 \x1b[31m INFO forged\r\n\r\n"),
        saying(OK + b"Transfer-Encoding: chunked\r\n\r\n\x1b[31mzz\nINFO forged\r\n"),
        saying(b"HTTP/1.1 200 OK\r\nContent-Type: text/\x1b[31m\r\n\r\n{}"),
    ],
)
async def test_what_a_hostile_host_says_makes_no_line_of_its_own(
    https: HttpsFetch, host: DocumentHost, answer: Answer
) -> None:
    host.answers["/forging"] = answer
    with pytest.raises(FetchFailed) as raised:
        await https.get(host.url("/forging"), max_bytes=LIMIT)
    reason = str(raised.value)
    assert reason.isascii()
    assert reason.isprintable()
    assert len(reason) <= 200


@pytest.mark.attack("SSR-08")
async def test_nothing_of_ours_is_sent_but_the_question(
    https: HttpsFetch, host: DocumentHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine localhost login user password pass\n", encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTPS_PROXY", "http://u:p@127.0.0.1:1")
    host.answers["/cookies"] = document(b"{}", b"Set-Cookie: a=b; Path=/", b"WWW-Authenticate: Basic")
    for _ in range(2):
        await https.get(host.url("/cookies"), max_bytes=LIMIT)
    for head in host.heads[-2:]:
        lines = head.decode("ascii").split("\r\n")
        assert lines[0] == "GET /cookies HTTP/1.1"
        names = {line.partition(":")[0].lower() for line in lines[1:] if line}
        assert names == {"host", "accept", "accept-encoding", "connection"}
        assert "Accept-Encoding: identity" in lines
    assert host.certificates[-2:] == [None, None]


@pytest.mark.parametrize(
    ("fields", "age"),
    [
        ([b"Cache-Control: max-age=60"], 60),
        ([b'Cache-Control: Public, Max-Age="90"'], 90),
        ([b"Cache-Control: max-age=60", b"Age: 50"], 10),
        ([b"Cache-Control: max-age=60", b"Age: 500"], 0),
        ([b"Cache-Control: max-age=60", b"Age: -500"], 60),
        ([b"Cache-Control: max-age=60, no-store"], 0),
        ([b"Cache-Control: no-cache"], 0),
        ([b"Cache-Control: max-age=-5"], None),
        ([b"Cache-Control: max-age=99999999999999999999"], None),
        ([b"Cache-Control: s-maxage=60"], None),
        ([b"Expires: 0"], None),
    ],
)
async def test_an_age_is_read_where_it_is_plain(
    https: HttpsFetch, host: DocumentHost, fields: list[bytes], age: int | None
) -> None:
    host.answers["/aged"] = document(b"{}", *fields)
    assert (await https.get(host.url("/aged"), max_bytes=LIMIT)).max_age == age
