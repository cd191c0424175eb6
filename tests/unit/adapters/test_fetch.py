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
from tests.support.document_host import DocumentHost, document, document_host
from tests.support.processes import ROOT, wait_until

LIMIT = 64 * 1024


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


async def test_few_connections_are_open_at_once_and_what_is_too_much_is_refused_at_once(
    https: HttpsFetch, host: DocumentHost
) -> None:
    may_answer, counting = threading.Event(), threading.Lock()
    now, most = 0, 0

    def held(connection: socket.socket) -> None:
        nonlocal now, most
        with counting:
            now += 1
            most = max(most, now)
        may_answer.wait(10)
        with counting:
            now -= 1
        document(b"{}")(connection)

    host.answers["/held"] = held
    room = fetch_adapter.AT_ONCE + fetch_adapter.WAITING
    waiting = [asyncio.create_task(https.get(host.url("/held"), max_bytes=LIMIT)) for _ in range(room)]
    await asyncio.to_thread(wait_until, lambda: most == fetch_adapter.AT_ONCE, what="a fetch in every thread")
    with pytest.raises(FetchFailed, match="too much"):
        await https.get(host.url("/held"), max_bytes=LIMIT)
    may_answer.set()
    assert {answer.body for answer in await asyncio.gather(*waiting)} == {b"{}"}
    assert most == fetch_adapter.AT_ONCE
    host.answers["/after"] = document(b"{}")
    assert (await https.get(host.url("/after"), max_bytes=LIMIT)).body == b"{}"


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
