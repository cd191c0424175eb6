"""The Fetch port: documents of others over HTTPS, from public addresses only, few at once and never for long.

The thread that looks a name up cannot be stopped, so the threads are our own, few, and none that the end of the process
waits for: what hangs holds one of them until the resolver gives up, and who waits is answered after five seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from fapi_as.protocol.fetched_document import FetchedDocument, FetchFailed
from fapi_as.protocol.outbound_url import InvalidOutboundUrl, parse_outbound_url, require_address, require_name, site
from rs_kit.adapters import bounded_fetch
from rs_kit.adapters.bounded_fetch import HttpsAnswer, HttpsGet
from rs_kit.adapters.clock import monotonic_seconds

SECONDS: Final = 5.0  # JOSE-33, for the whole of it
AT_ONCE: Final = 16  # connections of one process
WAITING: Final = 64
AT_ONCE_PER_HOST: Final = 4  # of one site: whoever is slow keeps the places of nobody else
WAITING_PER_HOST: Final = 44
_ADDRESSES_TRIED: Final = 4
_DELTA_SECONDS: Final = re.compile(r"[0-9]{1,10}\Z")


@dataclass(slots=True, kw_only=True)
class _Host:
    """What is under way at one host: who asks, and the threads that have not ended, waited for or not."""

    name: str
    places: asyncio.Semaphore
    asking: int = 0
    running: int = 0


class Hosts:
    """The hosts that something is under way at, and no others."""

    def __init__(self) -> None:
        self._by_name: dict[str, _Host] = {}

    def enter(self, name: str) -> _Host:
        """One more asks.

        Raises:
            FetchFailed: too many do.
        """
        host = self._by_name.get(name)
        if host is None:
            host = self._by_name[name] = _Host(name=name, places=asyncio.Semaphore(AT_ONCE_PER_HOST))
        if host.asking >= AT_ONCE_PER_HOST + WAITING_PER_HOST:
            raise FetchFailed("too much is being fetched from the host")
        host.asking += 1
        return host

    def leave(self, host: _Host) -> None:
        """One has an answer, or gave up."""
        host.asking -= 1
        self._forget_idle(host)

    def end(self, host: _Host) -> None:
        """A thread has ended."""
        host.places.release()
        host.running -= 1
        self._forget_idle(host)

    def _forget_idle(self, host: _Host) -> None:
        if not host.asking and not host.running:
            self._by_name.pop(host.name, None)

    def __len__(self) -> int:
        return len(self._by_name)


class HttpsFetch:
    """The Fetch port of one process.

    Args:
        ca_file: the authorities to trust, as PEM; by default those of the system.
        allowed_private_hosts: names, in lower case, that may lead to loopback and private addresses.
    """

    def __init__(self, *, ca_file: Path | None = None, allowed_private_hosts: Iterable[str] = ()) -> None:
        self._allowed = frozenset(allowed_private_hosts)
        self._https = HttpsGet(ca_file, dial=self._dial)
        self._threads = asyncio.Semaphore(AT_ONCE)
        self._asking = 0
        self.hosts = Hosts()
        self._closed = False

    async def get(self, url: str, *, max_bytes: int, entity_tag: str | None = None) -> FetchedDocument:
        """The JSON document at a URL that somebody else chose, or that it still is the one with this `entity_tag`.

        Raises:
            FetchFailed: the URL may not be fetched, or nothing good came from it.
        """
        try:
            parsed = parse_outbound_url(url)
            require_name(parsed, self._allowed)
        except InvalidOutboundUrl as error:
            raise FetchFailed(str(error)) from None
        if self._closed or self._asking >= AT_ONCE + WAITING:
            raise FetchFailed("too much is being fetched, or the process ends")
        host = self.hosts.enter(site(parsed))  # names of one's own for each of many hosts cost nothing
        self._asking += 1
        try:
            answer = await self._answer(host, partial(self._https.get, url, max_bytes=max_bytes, entity_tag=entity_tag))
        finally:
            self._asking -= 1
            self.hosts.leave(host)
        return FetchedDocument(
            body=answer.body, max_age=_max_age(answer), entity_tag=answer.entity_tag, is_known=answer.is_known
        )

    def close(self) -> None:
        """Begin nothing more; what runs ends by itself within its time."""
        self._closed = True

    async def _answer(self, host: _Host, fetch: Callable[[], HttpsAnswer]) -> HttpsAnswer:
        """Wait for a place at the host and for a thread, then for the answer: five seconds in all.

        Raises:
            FetchFailed: nothing good came from it.
        """
        try:
            async with asyncio.timeout(SECONDS):
                await host.places.acquire()
                try:
                    await self._threads.acquire()
                except asyncio.CancelledError:
                    host.places.release()
                    raise
                return await self._begun(host, fetch)
        except TimeoutError:
            raise FetchFailed("the answer takes too long") from None
        except bounded_fetch.FetchFailed as error:
            raise FetchFailed(str(error)) from None

    def _begun(self, host: _Host, fetch: Callable[[], HttpsAnswer]) -> asyncio.Future[HttpsAnswer]:
        """A fetch in a thread; its places are free when the thread ends, whether or not somebody still waits.

        Raises:
            bounded_fetch.FetchFailed: there is no thread to be had.
        """
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[HttpsAnswer] = loop.create_future()

        def run() -> None:
            try:
                answer, error = fetch(), None
            except Exception as raised:  # noqa: BLE001 - whoever waits is told, whatever it is
                answer, error = None, raised
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
                loop.call_soon_threadsafe(end, answer, error)

        def end(answer: HttpsAnswer | None, error: Exception | None) -> None:
            self._threads.release()
            self.hosts.end(host)
            _conclude(outcome, answer, error)

        host.running += 1
        try:
            threading.Thread(target=run, name="fetch", daemon=True).start()
        except RuntimeError as error:
            self._threads.release()
            self.hosts.end(host)
            raise bounded_fetch.FetchFailed(str(error)) from None
        return outcome

    def _dial(self, host: str, port: int, seconds: float) -> socket.socket:
        """A connection to an address that was judged, and not to what the name means a moment later.

        Raises:
            OSError: the name or every address of it leads nowhere.
            bounded_fetch.FetchFailed: one of the addresses is not for us, so none is.
        """
        deadline = monotonic_seconds() + seconds
        url = parse_outbound_url(f"https://{f'[{host}]' if ':' in host else host}:{port}")
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        try:
            for *_, place in found:
                require_address(url, ip_address(place[0]), self._allowed)
        except InvalidOutboundUrl as error:
            raise bounded_fetch.FetchFailed(str(error)) from None
        failed: OSError = OSError("the host has no address")
        for family, kind, protocol, _, place in found[:_ADDRESSES_TRIED]:
            left = deadline - monotonic_seconds()
            if left <= 0:
                break
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(left)
                connection.connect(place)
            except OSError as error:
                connection.close()
                failed = error
            else:
                return connection
        raise failed


def _conclude(outcome: asyncio.Future[HttpsAnswer], answer: HttpsAnswer | None, error: Exception | None) -> None:
    if outcome.done():  # given up
        return
    if answer is not None:
        outcome.set_result(answer)
    elif error is not None:
        outcome.set_exception(error)


def _max_age(answer: HttpsAnswer) -> int | None:
    """RFC 9111 §5.2.2: for how long the answer may be kept from now on; None when it does not say."""
    directives = [directive.strip().lower() for directive in (answer.cache_control or "").split(",")]
    if "no-store" in directives or "no-cache" in directives:
        return 0
    for directive in directives:
        name, _, value = directive.partition("=")
        if name == "max-age" and _DELTA_SECONDS.match(value.strip('"')) is not None:
            age = (answer.age or "").strip()
            return max(0, int(value.strip('"')) - (int(age) if _DELTA_SECONDS.match(age) is not None else 0))
    return None
