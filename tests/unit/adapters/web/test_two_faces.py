"""Both faces answer errors, limits and headers alike; each test that says "face" runs on both."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta
from typing import Any, Final

import pytest

from fapi_as.adapters.web import requests
from fapi_as.adapters.web.application import build_application
from fapi_as.adapters.web.asgi import Application
from fapi_as.kernel.messages import Answer, Cookie, EndpointRequest, Json, Page, SeeOther
from fapi_as.kernel.seam import Context, Endpoint, Face, Feature
from fapi_as.protocol.errors import InvalidClient, InvalidRequest, StorageUnavailable, TooManyRequests
from fapi_as.protocol.profile import REQUEST_BODY_LIMIT
from tests.support.asgi_peer import AsgiAnswer, call, call_with, scope
from tests.support.fakes import FrozenClock, context
from tests.support.memory_store import MemoryStore

CORRELATION: Final = re.compile(r"[A-Za-z0-9_-]{22}")
BOTH: Final = [Face.PROTOCOL, Face.PAGE]


class Toy:
    """One endpoint per face that shows what it was given and does what the test says."""

    def __init__(self) -> None:
        self.seen: list[EndpointRequest] = []
        self.error: Exception | None = None
        self.answer: Answer | None = None
        self.begun = asyncio.Event()
        self.release = asyncio.Event()
        self.release.set()
        self.finished = 0
        self.store = MemoryStore()
        self.clock = FrozenClock()
        self.context = context(self.store, features=(self.feature(),))
        self.application: Application = build_application({"": self.context}, clock=self.clock)

    def feature(self) -> Feature:
        document = Endpoint(path="/document", face=Face.PROTOCOL, methods={"GET": self.handle, "POST": self.handle})
        page = Endpoint(path="/page", face=Face.PAGE, methods={"GET": self.handle, "POST": self.handle})
        return Feature(name="toy", endpoints=(document, page))

    async def handle(self, _: Context, request: EndpointRequest) -> Answer:
        self.seen.append(request)
        self.begun.set()
        await self.release.wait()
        self.finished += 1
        if self.error is not None:
            raise self.error
        if self.answer is not None:
            return self.answer
        return Json(payload={"path": request.path})

    async def call(self, face: Face, method: str = "POST", **more: Any) -> AsgiAnswer:
        query = more.pop("query", "")
        return await call(self.application, method, path_of(face) + query, **more)


def path_of(face: Face) -> str:
    return "/page" if face is Face.PAGE else "/document"


@pytest.fixture
def toy() -> Toy:
    return Toy()


def error_of(face: Face, answer: AsgiAnswer) -> str:
    """The error code as this face tells it."""
    if face is Face.PROTOCOL:
        assert answer.header("content-type") == "application/json"
        return str(json.loads(answer.body)["error"])
    assert answer.header("content-type") == "text/html; charset=utf-8"
    found = re.search(rb'id="oauth-error">([a-z_]*)<', answer.body)
    assert found is not None
    return found[1].decode()


@pytest.mark.parametrize("face", BOTH)
async def test_an_endpoint_of_each_face_sees_the_request_as_it_was_sent(toy: Toy, face: Face) -> None:
    headers = [(b"dpop", b"one"), (b"dpop", b"two"), (b"x_y", b"a"), (b"content-length", b"9"), (b"x-y", b"\xe9")]
    answer = await toy.call(face, query="?a=1&a=2", headers=headers, body=[b"b=%20", b"&b=2"])
    assert answer.status == 200
    (seen,) = toy.seen
    assert (seen.method, seen.path, seen.query_string, seen.body) == ("POST", path_of(face), b"a=1&a=2", b"b=%20&b=2")
    assert seen.headers == ((b"host", b"as.example"), *headers)
    assert seen.source == "192.0.2.7"
    assert seen.now == toy.clock.now()
    assert seen.correlation_id == answer.header("x-correlation-id")


@pytest.mark.parametrize("face", BOTH)
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidRequest("private"), 400, "invalid_request"),
        (InvalidClient("private"), 401, "invalid_client"),
        (TooManyRequests("private"), 429, "invalid_request"),
        (StorageUnavailable("private"), 503, "temporarily_unavailable"),
        (ValueError("a defect"), 503, "temporarily_unavailable"),
    ],
)
async def test_each_face_tells_the_same_status_and_code_and_nothing_private(
    toy: Toy, face: Face, error: Exception, status: int, code: str
) -> None:
    toy.error = error
    answer = await toy.call(face)
    assert (answer.status, error_of(face, answer)) == (status, code)
    assert b"private" not in answer.body
    assert b"defect" not in answer.body
    assert (answer.header("retry-after") is None) == (status not in {429, 503})


@pytest.mark.attack("HTT-24")
@pytest.mark.parametrize("face", BOTH)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
async def test_every_answer_carries_a_correlation_id_and_the_headers_that_protect_it(
    toy: Toy, face: Face, method: str
) -> None:
    toy.error = InvalidRequest("private") if method == "GET" else None
    answer = await toy.call(face, method)
    assert CORRELATION.fullmatch(answer.header("x-correlation-id") or "")
    assert answer.header("strict-transport-security") == "max-age=63072000; includeSubDomains"
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("referrer-policy") == "no-referrer"
    assert "no-store" in (answer.header("cache-control") or "")
    assert answer.header("content-length") == str(len(answer.body))
    assert answer.header("server") is None
    assert answer.header("access-control-allow-origin") is None


@pytest.mark.parametrize("face", BOTH)
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TOOL"])
async def test_a_method_that_the_endpoint_does_not_have_gets_405_and_the_ones_it_has(
    toy: Toy, face: Face, method: str
) -> None:
    answer = await toy.call(face, method, headers={"Origin": "https://other.example"})
    assert (answer.status, error_of(face, answer)) == (405, "invalid_request")
    assert answer.header("allow") == ("GET, POST" if face is Face.PAGE else "GET, HEAD, POST")
    assert not any(name.startswith(b"access-control") for name, _ in answer.pairs)
    assert toy.seen == []


async def test_head_of_a_document_is_its_get_without_content(toy: Toy) -> None:
    whole = await toy.call(Face.PROTOCOL, "GET")
    answer = await toy.call(Face.PROTOCOL, "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.header("content-length") == str(len(whole.body))


async def test_head_of_a_page_begins_nothing(toy: Toy) -> None:
    answer = await toy.call(Face.PAGE, "HEAD")
    assert (answer.status, answer.body) == (405, b"")
    assert toy.seen == []


@pytest.mark.attack("HTT-10")
@pytest.mark.parametrize("face", BOTH)
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "undeclared"])
async def test_a_body_over_64_kib_is_refused_with_one_fact_and_the_endpoint_does_not_see_it(
    toy: Toy, face: Face, declared: bool
) -> None:
    body = [b"a" * 40_000, b"a" * 40_000]
    headers = {"Content-Length": "80000"} if declared else {"Transfer-Encoding": "chunked"}
    answer = await toy.call(face, headers=headers, body=body)
    assert (answer.status, error_of(face, answer)) == (413, "invalid_request")
    assert toy.seen == []
    (fact,) = toy.store.written
    assert fact.fact.detail == ("declared length" if declared else "actual length")
    assert fact.stamp.correlation_id == answer.header("x-correlation-id")


@pytest.mark.parametrize("face", BOTH)
async def test_a_body_of_exactly_64_kib_is_read(toy: Toy, face: Face) -> None:
    answer = await toy.call(face, body=b"a" * REQUEST_BODY_LIMIT, headers={"Content-Length": str(REQUEST_BODY_LIMIT)})
    assert answer.status == 200
    assert len(toy.seen[0].body) == REQUEST_BODY_LIMIT


@pytest.mark.attack("HTT-23")
@pytest.mark.parametrize("face", BOTH)
async def test_a_compressed_body_is_refused_with_415(toy: Toy, face: Face) -> None:
    answer = await toy.call(face, headers={"Content-Encoding": "gzip"}, body=b"\x1f\x8b")
    assert (answer.status, error_of(face, answer)) == (415, "invalid_request")
    assert toy.seen == []


async def test_a_slow_body_is_refused_with_408(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "BODY_TIME_LIMIT", timedelta(milliseconds=20))
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": b"a", "more_body": True})
    answer = await call_with(toy.application, scope("POST", "/document"), inbox)
    assert (answer.status, error_of(Face.PROTOCOL, answer)) == (408, "invalid_request")


@pytest.mark.parametrize("face", BOTH)
async def test_a_peer_that_leaves_before_its_request_is_whole_reaches_no_endpoint(toy: Toy, face: Face) -> None:
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": b"a", "more_body": True})
    inbox.put_nowait({"type": "http.disconnect"})
    answer = await call_with(toy.application, scope("POST", path_of(face)), inbox)
    assert answer.messages == []
    assert toy.seen == []
    assert toy.store.written == ()


@pytest.mark.parametrize("face", BOTH)
async def test_a_peer_that_leaves_while_an_endpoint_works_cancels_nothing(toy: Toy, face: Face) -> None:
    toy.release.clear()
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": b"a", "more_body": False})
    running = asyncio.create_task(call_with(toy.application, scope("POST", path_of(face)), inbox))
    await toy.begun.wait()
    inbox.put_nowait({"type": "http.disconnect"})
    for _ in range(10):
        await asyncio.sleep(0)
    toy.release.set()
    await running
    for _ in range(10):
        await asyncio.sleep(0)
    assert toy.finished == 1


@pytest.mark.parametrize(("accept", "face"), [("application/json", Face.PROTOCOL), ("text/html,*/*;q=0.8", Face.PAGE)])
@pytest.mark.parametrize("path", ["/", "/nothing", "/document/", "/Document", "//document", "/%64ocument", "/static/x"])
async def test_where_there_is_nothing_the_answer_is_404_as_json_or_as_a_page(
    toy: Toy, accept: str, face: Face, path: str
) -> None:
    answer = await call(toy.application, "GET", path, headers={"Accept": accept})
    assert (answer.status, error_of(face, answer)) == (404, "invalid_request")
    assert CORRELATION.fullmatch(answer.header("x-correlation-id") or "")
    assert "no-store" in (answer.header("cache-control") or "")
    assert path.encode() not in answer.body or path == "/"
    assert toy.store.written == ()


async def test_a_correlation_id_is_never_the_peers(toy: Toy) -> None:
    answer = await toy.call(Face.PROTOCOL, headers={"X-Correlation-ID": "mine"})
    assert answer.header("x-correlation-id") != "mine"


async def test_cookies_of_a_redirect_and_of_a_page_leave_with_all_their_attributes(toy: Toy) -> None:
    toy.answer = SeeOther(location="https://client.example/cb?code=1", cookies=(Cookie(name="session", value="abc"),))
    answer = await toy.call(Face.PAGE)
    assert (answer.status, answer.header("location")) == (303, "https://client.example/cb?code=1")
    assert answer.header("set-cookie") == "__Host-session=abc; Path=/; Secure; HttpOnly; SameSite=Lax"
    assert answer.header("content-type") is None
    assert answer.header("cache-control") == "no-store"
    toy.answer = SeeOther(location="/login", cookies=(Cookie(name="__Host-session", value=None),))
    answer = await toy.call(Face.PAGE)
    assert answer.header("set-cookie") == "__Host-session=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"


async def test_a_page_that_cannot_be_rendered_is_503_and_tells_nothing(toy: Toy) -> None:
    toy.answer = Page(template="error.html", values={"error": "missing the others"})
    answer = await toy.call(Face.PAGE)
    assert (answer.status, error_of(Face.PAGE, answer)) == (503, "temporarily_unavailable")
    assert b"missing" not in answer.body


async def test_a_websocket_is_closed_before_it_is_open(toy: Toy) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await toy.application({"type": "websocket", "path": "/page"}, asyncio.Queue().get, send)
    assert sent == [{"type": "websocket.close"}]
