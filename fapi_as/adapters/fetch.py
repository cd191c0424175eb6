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
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from fapi_as.protocol.fetched_document import FetchedDocument, FetchFailed
from fapi_as.protocol.outbound_url import InvalidOutboundUrl, parse_outbound_url, require_address, require_name
from rs_kit.adapters import bounded_fetch
from rs_kit.adapters.bounded_fetch import HttpsAnswer, HttpsGet
from rs_kit.adapters.clock import monotonic_seconds

SECONDS: Final = 5.0  # JOSE-33, for the whole of it
AT_ONCE: Final = 16  # connections of one process
WAITING: Final = 64
_ADDRESSES_TRIED: Final = 4
_DELTA_SECONDS: Final = re.compile(r"[0-9]{1,10}\Z")


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
        self._closed = False

    async def get(self, url: str, *, max_bytes: int, entity_tag: str | None = None) -> FetchedDocument:  # noqa: ARG002 - sent by the next change
        """The JSON document at a URL that somebody else chose.

        Raises:
            FetchFailed: the URL may not be fetched, or nothing good came from it.
        """
        try:
            require_name(parse_outbound_url(url), self._allowed)
        except InvalidOutboundUrl as error:
            raise FetchFailed(str(error)) from None
        if self._closed or self._asking >= AT_ONCE + WAITING:
            raise FetchFailed("too much is being fetched, or the process ends")
        self._asking += 1
        try:
            async with asyncio.timeout(SECONDS):
                await self._threads.acquire()
                answer = await self._begun(url, max_bytes)
        except TimeoutError:
            raise FetchFailed("the answer takes too long") from None
        except bounded_fetch.FetchFailed as error:
            raise FetchFailed(str(error)) from None
        finally:
            self._asking -= 1
        return FetchedDocument(body=answer.body, max_age=_max_age(answer))

    def close(self) -> None:
        """Begin nothing more; what runs ends by itself within its time."""
        self._closed = True

    def _begun(self, url: str, max_bytes: int) -> asyncio.Future[HttpsAnswer]:
        """A fetch in a thread; its place is free when the thread ends, whether or not somebody still waits.

        Raises:
            bounded_fetch.FetchFailed: there is no thread to be had.
        """
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[HttpsAnswer] = loop.create_future()

        def fetch() -> None:
            try:
                answer, error = self._https.get(url, max_bytes=max_bytes), None
            except Exception as raised:  # noqa: BLE001 - whoever waits is told, whatever it is
                answer, error = None, raised
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
                loop.call_soon_threadsafe(self._end, outcome, answer, error)

        try:
            threading.Thread(target=fetch, name="fetch", daemon=True).start()
        except RuntimeError as error:
            self._threads.release()
            raise bounded_fetch.FetchFailed(str(error)) from None
        return outcome

    def _end(self, outcome: asyncio.Future[HttpsAnswer], answer: HttpsAnswer | None, error: Exception | None) -> None:
        self._threads.release()
        if outcome.done():  # given up
            return
        if answer is not None:
            outcome.set_result(answer)
        elif error is not None:
            outcome.set_exception(error)

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
