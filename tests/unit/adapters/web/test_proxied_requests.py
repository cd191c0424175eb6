"""The server behind a proxy that terminates TLS: both faces see what it says, and refuse what cannot be read."""

from __future__ import annotations

import base64
import json
import re
from typing import Any, Final

import pytest

from fapi_as.adapters.web.application import build_application
from fapi_as.adapters.web.asgi import Application
from fapi_as.kernel.messages import EndpointRequest, Json
from fapi_as.kernel.seam import Context, Endpoint, Face, Feature
from rs_kit.adapters.proxied_certificate import ProxyTrust
from tests.support.asgi_peer import AsgiAnswer, call
from tests.support.fakes import FrozenClock, context
from tests.support.memory_store import MemoryStore

SECRET: Final = b"what-the-proxy-knows-and-nobody-else-does"
PROXY: Final = "10.1.2.3"
LEAF, ISSUER = b"0\x04leaf", b"0\x06issuer"
FACES: Final = {Face.PROTOCOL: "/document", Face.PAGE: "/page"}


def item(octets: bytes) -> bytes:
    return b":" + base64.b64encode(octets) + b":"


SAID: Final = [(b"client-cert", item(LEAF)), (b"client-cert-chain", item(ISSUER))]
KNOWN: Final = (b"x-proxy-secret", SECRET)


class Toy:
    """One endpoint per face that keeps what it was given."""

    def __init__(self, proxy: ProxyTrust | None = ProxyTrust(networks=["10.1.0.0/16"], secret=SECRET)) -> None:  # noqa: B008
        self.seen: list[EndpointRequest] = []
        self.store = MemoryStore()
        endpoints = [Endpoint(path=path, face=face, methods={"POST": self.handle}) for face, path in FACES.items()]
        contexts = {"": context(self.store, features=(Feature(name="toy", endpoints=tuple(endpoints)),))}
        self.application: Application = build_application(contexts, clock=FrozenClock(), proxy=proxy)

    async def handle(self, _: Context, request: EndpointRequest) -> Json:
        self.seen.append(request)
        return Json(payload={})

    async def call(self, face: Face, *headers: tuple[bytes, bytes], source: str = PROXY) -> AsgiAnswer:
        return await call(self.application, "POST", FACES[face], list(headers), source=source)


async def test_an_endpoint_sees_the_certificate_that_the_proxy_saw() -> None:
    toy = Toy()
    assert (await toy.call(Face.PROTOCOL, *SAID, KNOWN)).status == 200
    (seen,) = toy.seen
    assert (seen.peer_certificate, seen.peer_chain, seen.mutual_tls) == (LEAF, (ISSUER,), True)
    assert [name for name, _ in seen.headers] == [b"host"]


async def test_a_page_is_not_at_an_address_where_certificates_are_asked_for() -> None:
    toy = Toy()
    assert (await toy.call(Face.PAGE, *SAID, KNOWN)).status == 421
    assert toy.seen == []


@pytest.mark.parametrize("face", FACES)
async def test_a_client_of_the_proxy_without_a_certificate_has_none(face: Face) -> None:
    toy = Toy()
    assert (await toy.call(face, KNOWN)).status == 200
    (seen,) = toy.seen
    assert (seen.peer_certificate, seen.peer_chain, seen.mutual_tls) == (None, (), False)


@pytest.mark.attack("MTL-15")
@pytest.mark.requirement("MTLS-18", proves="refused")
@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    ("known", "source"), [([], PROXY), ([(b"x-proxy-secret", b"?" * 40)], PROXY), ([KNOWN], "192.0.2.7")]
)
async def test_nobody_else_brings_a_certificate_along(face: Face, known: Any, source: str) -> None:
    toy = Toy()
    forged = [*SAID, (b"x-ssl-cert", b"PEM"), (b"ssl_client_cert", b"PEM"), (b"x-forwarded-client-cert", b"PEM")]
    assert (await toy.call(face, *forged, *known, source=source)).status == 200
    (seen,) = toy.seen
    assert (seen.peer_certificate, seen.peer_chain, seen.mutual_tls) == (None, (), False)
    assert [name for name, _ in seen.headers] == [b"host"]


@pytest.mark.attack("MTL-15")
@pytest.mark.parametrize("face", FACES)
async def test_where_no_proxy_is_named_the_header_says_nothing(face: Face) -> None:
    toy = Toy(proxy=None)
    assert (await toy.call(face, *SAID, KNOWN)).status == 200
    (seen,) = toy.seen
    assert (seen.peer_certificate, seen.peer_chain, seen.mutual_tls) == (None, (), False)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("said", [[SAID[0], SAID[0]], [(b"client-cert", b"PEM")], [SAID[1]]], ids=range(3))
async def test_what_cannot_be_read_is_400_with_one_fact_and_reaches_no_endpoint(face: Face, said: Any) -> None:
    toy = Toy()
    answer = await toy.call(face, *said, KNOWN)
    assert (answer.status, toy.seen) == (400, [])
    code = (
        json.loads(answer.body)["error"]
        if face is Face.PROTOCOL
        else re.search(r'id="oauth-error">([a-z_]*)<', answer.body.decode())[1]  # type: ignore[index]
    )
    assert code == "invalid_request"
    (fact,) = toy.store.facts
    assert fact.error == "invalid_request"
    assert fact.detail


async def test_what_nobody_serves_stays_404() -> None:
    answer = await call(Toy().application, "POST", "/other", [(b"client-cert", b"PEM"), KNOWN], source=PROXY)
    assert answer.status == 404
