"""The address where certificates are asked for: back channel only, under its own name."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from fapi_as.adapters.web.application import build_application
from fapi_as.features import ENABLED
from fapi_as.kernel import capabilities
from fapi_as.kernel.seam import Face
from fapi_as.protocol.policy import Policy
from rs_kit.adapters.peer_certificate import MUTUAL_TLS, PEER_CERTIFICATE, PEER_CHAIN
from tests.support.asgi_peer import AsgiAnswer, Message, call_with, scope
from tests.support.fakes import ISSUER, FrozenClock, context
from tests.support.memory_store import MemoryStore

ALIAS: Final = "https://mtls.as.example:8444"
PAGES: Final = sorted(path for path, each in capabilities.endpoints(ENABLED).items() if each.face is Face.PAGE)


def policy() -> Policy:
    return Policy(tenant="default", issuer=ISSUER, mutual_tls_url=ALIAS)


async def asked(
    method: str, path: str, host: str, *, mutual_tls: bool = True, store: MemoryStore | None = None
) -> AsgiAnswer:
    application = build_application({"": context(store, policy=policy())}, clock=FrozenClock())
    told: dict[str, Any] = scope(method, path)
    told["headers"] = [(b"host", host.encode())]
    if mutual_tls:
        told["state"] = {MUTUAL_TLS: True, PEER_CERTIFICATE: b"\x30", PEER_CHAIN: ()}
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    return await call_with(application, told, inbox)


@pytest.mark.requirement("MTLS-21", proves="refused")
@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_no_page_is_where_browsers_would_be_asked_for_certificates(path: str, method: str) -> None:
    store = MemoryStore()
    answer = await asked(method, path, "mtls.as.example:8444", store=store)
    assert answer.status == 421
    assert answer.header("location") is None
    assert answer.header("set-cookie") is None
    assert b'id="oauth-error"' in answer.body
    assert [fact.detail for fact in store.facts] == ["a page at the mTLS address"]


@pytest.mark.parametrize("path", PAGES)
async def test_the_same_page_is_at_the_issuer(path: str) -> None:
    assert (await asked("GET", path, "as.example", mutual_tls=False)).status != 421


@pytest.mark.parametrize(
    ("host", "mutual_tls", "status"),
    [
        ("mtls.as.example:8444", True, 200),
        ("mtls.as.example", True, 200),
        ("as.example", True, 421),
        ("mtls.as.example", False, 421),
        ("as.example", False, 200),
    ],
)
async def test_each_address_answers_to_its_own_name(host: str, mutual_tls: bool, status: int) -> None:
    assert (await asked("GET", "/jwks", host, mutual_tls=mutual_tls)).status == status
