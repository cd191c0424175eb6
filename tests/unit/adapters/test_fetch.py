"""How many documents are fetched at once, and what a resolver that hangs costs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from fapi_as.adapters import fetch as fetch_adapter
from fapi_as.adapters.fetch import HttpsFetch
from fapi_as.protocol.fetched_document import FetchFailed
from rs_kit.adapters import bounded_fetch
from tests.support.document_host import DocumentHost, document, document_host, saying
from tests.support.processes import ROOT, wait_until

LIMIT = 64 * 1024
NAMES = tuple(f"host{number}.example" for number in range(4))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentHost]:
    with document_host(tmp_path_factory.mktemp("host")) as host:
        host.answers["/good"] = document(b"{}")
        yield host


@pytest.fixture
async def https(host: DocumentHost) -> AsyncIterator[HttpsFetch]:
    fetch = HttpsFetch(ca_file=host.ca_file, allowed_private_hosts=["localhost"])
    yield fetch
    fetch.close()


class Held:
    """An answer that waits; `most` is how many did at once."""

    def __init__(self) -> None:
        self.may_answer, self._counting = threading.Event(), threading.Lock()
        self._now = self.most = 0

    def __call__(self, connection: socket.socket) -> None:
        with self._counting:
            self._now += 1
            self.most = max(self.most, self._now)
        self.may_answer.wait(10)
        with self._counting:
            self._now -= 1
        document(b"{}")(connection)


@pytest.fixture
def many_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name below .example leads to this machine."""
    resolve = socket.getaddrinfo

    def resolved(name: str, port: int, **options: Any) -> list[Any]:
        return resolve("localhost" if name.endswith(".example") else name, port, **options)

    monkeypatch.setattr(fetch_adapter.socket, "getaddrinfo", resolved)


@pytest.mark.usefixtures("many_names")
async def test_few_connections_are_open_at_once_and_what_is_too_much_is_refused_at_once(tmp_path: Path) -> None:
    held = Held()
    with document_host(tmp_path, *NAMES) as host:
        https = HttpsFetch(ca_file=host.ca_file, allowed_private_hosts=NAMES)
        host.answers["/held"], host.answers["/after"] = held, document(b"{}")
        urls = [host.url("/held", name) for name in NAMES]
        room = fetch_adapter.AT_ONCE + fetch_adapter.WAITING
        waiting = [asyncio.create_task(https.get(url, max_bytes=LIMIT)) for url in (urls * room)[:room]]
        await asyncio.to_thread(wait_until, lambda: held.most == fetch_adapter.AT_ONCE, what="a fetch in every thread")
        with pytest.raises(FetchFailed, match="too much"):
            await https.get(urls[0], max_bytes=LIMIT)
        held.may_answer.set()
        assert {answer.body for answer in await asyncio.gather(*waiting)} == {b"{}"}
        assert held.most == fetch_adapter.AT_ONCE
        assert (await https.get(host.url("/after", NAMES[0]), max_bytes=LIMIT)).body == b"{}"
        https.close()


@pytest.mark.usefixtures("many_names")
async def test_a_host_that_is_slow_keeps_the_places_of_no_other_host(tmp_path: Path) -> None:
    slow, other = NAMES[:2]
    held = Held()
    with document_host(tmp_path, *NAMES) as host:
        https = HttpsFetch(ca_file=host.ca_file, allowed_private_hosts=NAMES)
        host.answers["/held"], host.answers["/good"] = held, document(b"{}")
        room = fetch_adapter.AT_ONCE_PER_HOST + fetch_adapter.WAITING_PER_HOST
        url = host.url("/held", slow)
        waiting = [asyncio.create_task(https.get(url, max_bytes=LIMIT)) for _ in range(room)]
        await asyncio.to_thread(wait_until, lambda: held.most == fetch_adapter.AT_ONCE_PER_HOST, what="all its places")
        with pytest.raises(FetchFailed, match="from the host"):
            await https.get(url, max_bytes=LIMIT)
        for _ in range(3):
            assert (await https.get(host.url("/good", other), max_bytes=LIMIT)).body == b"{}"
        held.may_answer.set()
        await asyncio.gather(*waiting)
        assert held.most == fetch_adapter.AT_ONCE_PER_HOST
        assert (await https.get(host.url("/good", slow), max_bytes=LIMIT)).body == b"{}"
        assert len(https.hosts) == 0  # nothing is kept of a host where nothing is under way
        https.close()


async def test_a_site_whose_names_all_hang_keeps_the_places_of_no_other(
    https: HttpsFetch, host: DocumentHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names below one's own cost nothing, and a resolver that waits for their name server holds a thread for each."""
    may_end, resolve = threading.Event(), socket.getaddrinfo

    def hanging(name: str, port: int, **options: Any) -> list[Any]:
        if name != "localhost":
            may_end.wait(10)
            raise socket.gaierror("nobody answers")
        return resolve(name, port, **options)

    monkeypatch.setattr(fetch_adapter.socket, "getaddrinfo", hanging)
    urls = [f"https://name{number}.hostile.example/" for number in range(2 * fetch_adapter.AT_ONCE)]
    hung = [asyncio.create_task(https.get(url, max_bytes=LIMIT)) for url in urls]
    await asyncio.sleep(0.1)
    assert (await https.get(host.url("/good"), max_bytes=LIMIT)).body == b"{}"
    may_end.set()
    assert {type(outcome) for outcome in await asyncio.gather(*hung, return_exceptions=True)} == {FetchFailed}


async def test_who_gives_up_while_waiting_takes_no_place_along(
    https: HttpsFetch, host: DocumentHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_adapter, "SECONDS", 0.3)
    held = Held()
    host.answers["/held"] = held
    for _ in range(3):
        many = [https.get(host.url("/held"), max_bytes=LIMIT) for _ in range(20)]
        assert {type(outcome) for outcome in await asyncio.gather(*many, return_exceptions=True)} == {FetchFailed}
    held.may_answer.set()
    monkeypatch.setattr(fetch_adapter, "SECONDS", 5.0)
    answers = await asyncio.gather(*[https.get(host.url("/good"), max_bytes=LIMIT) for _ in range(20)])
    assert {answer.body for answer in answers} == {b"{}"}


@pytest.mark.usefixtures("many_names")
async def test_who_gives_up_while_waiting_for_a_thread_leaves_the_place_at_its_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held()
    with document_host(tmp_path, *NAMES, "last.example") as host:
        https = HttpsFetch(ca_file=host.ca_file, allowed_private_hosts=[*NAMES, "last.example"])
        host.answers["/held"], host.answers["/good"] = held, document(b"{}")
        urls = [host.url("/held", name) for name in NAMES]
        busy = [asyncio.create_task(https.get(url, max_bytes=LIMIT)) for url in urls * fetch_adapter.AT_ONCE_PER_HOST]
        await asyncio.to_thread(wait_until, lambda: held.most == fetch_adapter.AT_ONCE, what="a fetch in every thread")
        monkeypatch.setattr(fetch_adapter, "SECONDS", 0.1)
        for _ in range(fetch_adapter.AT_ONCE_PER_HOST + 1):
            with pytest.raises(FetchFailed, match="too long"):
                await https.get(host.url("/good", "last.example"), max_bytes=LIMIT)
        held.may_answer.set()
        await asyncio.gather(*busy)
        monkeypatch.setattr(fetch_adapter, "SECONDS", 5.0)
        assert (await https.get(host.url("/good", "last.example"), max_bytes=LIMIT)).body == b"{}"
        assert len(https.hosts) == 0
        https.close()


async def test_a_document_that_did_not_change_is_not_sent_again(https: HttpsFetch, host: DocumentHost) -> None:
    tag = b'W/"one"'

    def tagged(connection: socket.socket) -> None:
        is_known = b"\r\nIf-None-Match: " + tag + b"\r\n" in host.heads[-1]
        head = b"HTTP/1.1 304 Not Modified\r\n" if is_known else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
        connection.sendall(head + b"ETag: " + tag + b"\r\nContent-Type: application/json\r\n")
        connection.sendall(b"Cache-Control: max-age=7\r\n\r\n" + (b"" if is_known else b"{}"))

    host.answers["/tagged"] = tagged
    first = await https.get(host.url("/tagged"), max_bytes=LIMIT)
    assert (first.body, first.entity_tag, first.is_known) == (b"{}", tag.decode(), False)
    again = await https.get(host.url("/tagged"), max_bytes=LIMIT, entity_tag=first.entity_tag)
    assert (again.body, again.entity_tag, again.is_known, again.max_age) == (b"", tag.decode(), True, 7)


async def test_not_modified_is_no_answer_to_who_has_nothing(https: HttpsFetch, host: DocumentHost) -> None:
    host.answers["/unasked"] = saying(b"HTTP/1.1 304 Not Modified\r\n\r\n")
    with pytest.raises(FetchFailed, match="status 304"):
        await https.get(host.url("/unasked"), max_bytes=LIMIT)


@pytest.mark.parametrize("tag", [b"one", b'"' + b"a" * 300 + b'"', b'"\xe4"', b'"a" "b"', b'"a\tb"'])
async def test_an_entity_tag_that_is_none_is_never_sent_back(https: HttpsFetch, host: DocumentHost, tag: bytes) -> None:
    host.answers["/odd"] = document(b"{}", b"ETag: " + tag)
    assert (await https.get(host.url("/odd"), max_bytes=LIMIT)).entity_tag is None


async def test_a_resolver_that_hangs_keeps_nobody_waiting(
    https: HttpsFetch, host: DocumentHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_adapter, "SECONDS", 0.3)
    monkeypatch.setattr(bounded_fetch, "_SECONDS", 0.1)  # so that it is over in the thread whenever that began
    released = threading.Event()
    resolve = socket.getaddrinfo

    def hanging(name: str, port: int, **options: Any) -> list[Any]:
        released.wait(10)
        return resolve(name, port, **options)

    monkeypatch.setattr(fetch_adapter.socket, "getaddrinfo", hanging)
    before, started = host.connections, time.monotonic()
    with pytest.raises(FetchFailed, match="too long"):
        await https.get(host.url("/good"), max_bytes=LIMIT)
    assert time.monotonic() - started < 3
    released.set()
    with contextlib.suppress(FetchFailed):
        await https.get(host.url("/missing"), max_bytes=LIMIT)
    assert host.connections <= before + 1  # what was given up connects no more


async def test_an_authority_is_one_that_was_named(host: DocumentHost, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    for ca_file in (None, other):
        fetch = HttpsFetch(ca_file=ca_file, allowed_private_hosts=["localhost"])
        with pytest.raises(FetchFailed, match="certificate"):
            await fetch.get(host.url("/good"), max_bytes=LIMIT)
        fetch.close()


async def test_a_process_without_threads_fetches_nothing_and_recovers(
    https: HttpsFetch, host: DocumentHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        for _ in range(fetch_adapter.AT_ONCE + fetch_adapter.WAITING + 1):
            with pytest.raises(FetchFailed, match="thread"):
                await https.get(host.url("/good"), max_bytes=LIMIT)
    assert (await https.get(host.url("/good"), max_bytes=LIMIT)).body == b"{}"


async def test_a_process_that_ends_begins_nothing(host: DocumentHost) -> None:
    fetch = HttpsFetch(ca_file=host.ca_file, allowed_private_hosts=["localhost"])
    fetch.close()
    with pytest.raises(FetchFailed, match="ends"):
        await fetch.get(host.url("/good"), max_bytes=LIMIT)


def test_a_process_ends_though_a_resolver_hangs(tmp_path: Path) -> None:
    program = """
import asyncio, socket, time
from fapi_as.adapters import fetch
from fapi_as.protocol.fetched_document import FetchFailed
fetch.socket.getaddrinfo = lambda *_, **__: time.sleep(60)
fetch.SECONDS = 0.2
async def main():
    https = fetch.HttpsFetch()
    try:
        await https.get("https://client.example/jwks", max_bytes=100)
    except FetchFailed as error:
        print(error)
    https.close()
asyncio.run(main())
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, timeout=20, check=True
    )
    assert done.stdout == b"the answer takes too long\n"
