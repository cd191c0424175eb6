"""A proxy that terminates TLS in front of a house: real sockets behind it, and what it tells is what a test says."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import httpx2

from fapi_as.adapters.web.application import build_application
from rs_kit.adapters.proxied_certificate import ProxyTrust
from tests.support.bank_certificates import BankCertificates
from tests.support.bank_certificates import Shown as File
from tests.support.certificates import Shown
from tests.support.certified_client import CertifiedHouse
from tests.support.kit_over_http import RawHttp, listening

SECRET: Final = "what-the-proxy-knows-and-nobody-else-does"
Field = tuple[bytes, bytes]


def told(shown: Shown | None) -> list[Field]:
    """RFC 9440, as a right proxy tells it."""
    if shown is None:
        return []
    fields = [(b"client-cert", item(shown.der))]
    return [*fields, (b"client-cert-chain", b", ".join(map(item, shown.chain)))] if shown.chain else fields


def item(octets: bytes) -> bytes:
    return b":" + base64.b64encode(octets) + b":"


class TerminatingProxy(httpx2.AsyncBaseTransport):
    """What a client shows ends here; `tells` replaces what is told of it, `knows` whether the secret is known.

    Args:
        by: how it proves itself: "its certificate" at the mTLS address, or "a secret" at the other one.
    """

    def __init__(self, house: CertifiedHouse, certificates: BankCertificates, by: str) -> None:
        self.house = house
        self.certificates = certificates
        self.own: File | None = certificates.signed_by_itself("proxy") if by == "its certificate" else None
        self.tells: list[Field] | None = None
        self.knows = self.own is None
        self.http = httpx2.AsyncClient(transport=self)
        self._asks = self.own is not None
        self.trust = ProxyTrust(
            networks=["127.0.0.1/32"],
            certificates=[] if self.own is None else [self.own.thumbprint],
            secret=SECRET.encode() if self.own is None else None,
        )
        self._port = 0

    @contextlib.asynccontextmanager
    async def serving(self, trust: ProxyTrust | None = None) -> AsyncIterator[None]:
        """The house on our listener, behind this proxy; `trust` replaces whom it believes."""
        file, clock = self.certificates.bank, self.house.clock
        app = build_application({"": self.house.context}, clock=clock, proxy=trust or self.trust)
        async with listening(app, certfile=file, keyfile=file, client_certificates=self._asks) as port:
            self._port = port
            yield

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        shown = request.extensions.get("certificate")
        fields = told(shown) if self.tells is None else self.tells
        if self.knows:
            fields = [*fields, (b"x-proxy-secret", SECRET.encode())]
        theirs = [pair for pair in request.headers.raw if pair[0].lower() not in {b"host", b"connection"}]
        host = (b"host", request.url.netloc)
        behind = RawHttp(self._port, tls=self.certificates.client(self.own))
        return await behind.request(
            request.method, request.url.path, headers=[host, *theirs, *fields], content=await request.aread()
        )
