"""Requests for another host: both faces answer 421 alike, nothing is derived from the field, and nothing is begun."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

import pytest

from fapi_as.adapters.web.application import build_application
from fapi_as.kernel.seam import Context
from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.policy import Policy
from tests.support.asgi_peer import Application, AsgiAnswer, Message, call_with, scope
from tests.support.fakes import FrozenClock, context
from tests.support.house import House
from tests.support.memory_store import MemoryStore
from tests.support.standing_still import query_for

OTHERS = [
    *["a..b", "..", ".", "a" * 64 + ".example", "x" * 300, "xn--", "%", "evil.example", "127.0.0.1:1", ""],
    *["as.example.evil.example", "evil.example:as.example", "as.example@evil.example", "as.example:", "as.example:x"],
    *["as.example.", "as.example,evil.example", "as.example/evil", " as.example", "[::1]", "\uff41s.example"],
]
OURS = ["as.example", "AS.Example", "as.example:443", "as.example:8443"]
PAGES = ["/authorize", "/login", "/consent", "/logout"]
DOCUMENTS = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/jwks"]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def application(store: MemoryStore) -> Application:
    return build_application({"": context(store)}, clock=FrozenClock())


async def _asked(
    application: Application, path: str, *hosts: str, method: str = "GET", more: tuple[tuple[bytes, bytes], ...] = ()
) -> AsgiAnswer:
    asked = scope(method, path)
    asked["headers"] = [*((b"host", host.encode("utf-8")) for host in hosts), *more]
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    return await call_with(application, asked, inbox)


@pytest.mark.attack("SES-17")
@pytest.mark.parametrize("path", [*PAGES, *DOCUMENTS])
@pytest.mark.parametrize("host", OTHERS)
async def test_a_request_for_another_host_is_misdirected_on_both_faces(
    application: Application, store: MemoryStore, path: str, host: str
) -> None:
    forwarded = ((b"x-forwarded-host", b"as.example"), (b"forwarded", b"host=as.example"))
    answer = await _asked(application, path, host, more=forwarded)
    assert answer.status == 421
    assert {name for name, _ in answer.pairs}.isdisjoint({b"location", b"set-cookie"})
    assert (answer.header("content-security-policy") is not None) == (path in PAGES)
    assert host not in {"evil.example", "127.0.0.1:1"} or host.encode() not in answer.body
    (fact,) = store.facts
    assert (fact.event, fact.detail) == (AuditEvent.REFUSED, "another host")


@pytest.mark.attack("SES-17")
@pytest.mark.parametrize("path", DOCUMENTS)
@pytest.mark.parametrize("host", OURS)
async def test_a_request_for_the_issuers_host_is_served_whatever_its_port(
    application: Application, path: str, host: str
) -> None:
    answer = await _asked(application, path, host, more=((b"x-forwarded-host", b"evil.example"),))
    assert answer.status == 200
    assert answer.body == (await _asked(application, path, "as.example")).body


@pytest.mark.attack("SES-17")
async def test_a_pushed_request_is_opened_at_the_issuers_host_alone(house: House) -> None:
    application = build_application({"": house.context}, clock=house.clock)
    target = f"/authorize?{urlencode(query_for(await house.agent.push()))}"
    before = house.store.rows.snapshot()
    assert (await _asked(application, target, "evil.example")).status == 421
    assert house.store.rows.handles == before.handles
    opened = await _asked(application, target, "as.example:8443")
    assert opened.status == 303
    assert (opened.header("location") or "").startswith("https://as.example/login?")


@pytest.mark.attack("HTT-07")
@pytest.mark.parametrize("path", [*PAGES, *DOCUMENTS])
@pytest.mark.parametrize("hosts", [(), ("as.example", "as.example"), ("as.example", "evil.example")])
async def test_no_host_and_two_hosts_are_refused_on_both_faces(
    application: Application, path: str, hosts: tuple[str, ...]
) -> None:
    assert (await _asked(application, path, *hosts)).status == 400


@pytest.mark.attack("HTT-24")
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("host", OTHERS)
async def test_a_page_for_an_odd_host_ends_in_a_whole_answer(application: Application, page: str, host: str) -> None:
    odd, ordinary = [await _asked(application, page, name) for name in (host, "as.example")]
    assert {name for name, _ in odd.pairs} == {name for name, _ in ordinary.pairs}
    assert odd.header("content-security-policy") is not None
    assert odd.header("cache-control") == "no-store"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("host", ["10.0.0.7:8443", "[fd00::7]", "pod-7", "evil.example"])
async def test_a_load_balancer_asks_by_address(application: Application, path: str, host: str) -> None:
    assert (await _asked(application, path, host)).status == 200


@pytest.mark.parametrize("host", ["[fd00::7]", "[fd00::7]:8443", "[FD00::7]:443"])
async def test_an_issuer_at_an_ipv6_address_is_found_under_it(host: str) -> None:
    policy = Policy(tenant="default", issuer="https://[fd00::7]:8443")
    application = build_application({"": context(policy=policy)}, clock=FrozenClock())
    assert (await _asked(application, "/jwks", host)).status == 200
    assert (await _asked(application, "/jwks", "[fd00::8]:8443")).status == 421
    assert (await _asked(application, "/jwks", "fd00::7")).status == 421


@pytest.fixture
def house() -> House:
    return House()


def test_the_probes_alone_answer_any_host() -> None:
    served: Context = context()
    found = {endpoint.path for feature in served.features for endpoint in feature.endpoints if endpoint.any_host}
    assert found == {"/healthz", "/readyz"}
