"""The door: one answer and at most one fact, whatever happens behind it."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable

import pytest

from fapi_as.kernel.door import Refused, absent, answer, refuse, settle
from fapi_as.kernel.messages import Answer, Cookie, EndpointRequest, EndpointResponse, Json, NoContent, Page, SeeOther
from fapi_as.kernel.seam import Context, Endpoint, Face
from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from fapi_as.protocol.authorization_request import ValidatedAuthorizationRequest
from fapi_as.protocol.authorization_response import AuthorizationFailed
from fapi_as.protocol.decisions import Issue, Refuse, recorded_refusal
from fapi_as.protocol.effects import HandleKind, Record, Spend
from fapi_as.protocol.errors import (
    AccessDenied,
    Forbidden,
    InvalidClient,
    InvalidGrant,
    InvalidRequest,
    PayloadTooLarge,
    ProtocolError,
    StorageUnavailable,
    TooManyRequests,
    UseDpopNonce,
)
from fapi_as.protocol.profile import REFUSALS_TOLD_PER_SOURCE
from tests.support.fakes import context
from tests.support.memory_store import MemoryStore

REQUEST = EndpointRequest(method="GET", path="/x", now=1_800_000_000, correlation_id="c-1", source="192.0.2.1")
Handler = Callable[[Context, EndpointRequest], Awaitable[Answer]]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def server(store: MemoryStore) -> Context:
    return context(store, features=())


def rendered(page: Page | SeeOther, request: EndpointRequest) -> EndpointResponse:
    """A renderer that writes down what it was given."""
    if isinstance(page, SeeOther):
        return EndpointResponse(status=303, headers=((b"location", page.location.encode()),), body=b"")
    body = json.dumps([page.template, dict(page.values)]).encode()
    return EndpointResponse(status=page.status, headers=((b"content-type", b"text/html"),), body=body)


def giving(outcome: Answer | Exception) -> Handler:
    async def handler(_: Context, request: EndpointRequest) -> Answer:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return handler


async def got(
    server: Context, handler: Handler, *, face: Face = Face.PROTOCOL, request: EndpointRequest = REQUEST
) -> EndpointResponse:
    endpoint = Endpoint(path="/x", face=face, methods={"GET": handler})
    return await answer(server, endpoint, request, render_page=rendered)


def header(response: EndpointResponse, name: str) -> str | None:
    values = [value.decode() for key, value in response.headers if key == name.encode()]
    assert len(values) < 2
    return values[0] if values else None


def post() -> EndpointRequest:
    return EndpointRequest(method="POST", path="/x", now=REQUEST.now, correlation_id="c-2", source="192.0.2.1")


async def test_json_is_never_cached_unless_it_says_so(server: Context) -> None:
    response = await got(server, giving(Json(payload={"a": 1}, status=201, headers=(("X-More", "m"),))))
    assert (response.status, response.body) == (201, b'{"a":1}')
    assert header(response, "cache-control") == "no-cache, no-store"
    assert header(response, "content-length") == "7"
    assert header(response, "x-more") == "m"
    assert header(response, "access-control-allow-origin") is None
    public = await got(server, giving(Json(payload={}, cache_seconds=60, public=True)))
    assert header(public, "cache-control") == "public, max-age=60"
    assert header(public, "access-control-allow-origin") == "*"


async def test_pages_and_redirects_are_the_renderers(server: Context) -> None:
    page = await got(server, giving(Page(template="t.html", values={"a": 1}, cookies=(Cookie(name="c", value=None),))))
    assert json.loads(page.body) == ["t.html", {"a": 1}]
    redirect = await got(server, giving(SeeOther(location="https://as.example/next")), face=Face.PAGE)
    assert (redirect.status, header(redirect, "location")) == (303, "https://as.example/next")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidRequest("d"), 400, "invalid_request"),
        (InvalidGrant("d"), 400, "invalid_grant"),
        (InvalidClient("d"), 401, "invalid_client"),
        (Forbidden("d"), 403, "invalid_request"),
        (PayloadTooLarge("d"), 413, "invalid_request"),
        (TooManyRequests("d"), 429, "invalid_request"),
    ],
)
async def test_a_refusal_is_one_fact_and_its_code(
    server: Context, store: MemoryStore, error: ProtocolError, status: int, code: str
) -> None:
    response = await got(server, giving(error))
    assert response.status == status
    assert json.loads(response.body) == {"error": code, "error_description": error.public}
    (fact,) = store.written
    assert (fact.fact.event, fact.fact.error, fact.fact.detail) == (AuditEvent.REFUSED, code, "d")
    assert fact.stamp == REQUEST.stamp
    assert header(response, "retry-after") == ("60" if status == 429 else None)


async def test_a_refusal_of_a_page_is_a_page_with_the_reference(server: Context) -> None:
    response = await got(server, giving(InvalidRequest("private", "public")), face=Face.PAGE)
    assert response.status == 400
    assert json.loads(response.body) == [
        "error.html",
        {"error": "invalid_request", "error_description": "public", "correlation_id": "c-1"},
    ]


async def test_a_refusal_that_was_committed_is_not_written_twice(server: Context, store: MemoryStore) -> None:
    async def handler(given: Context, request: EndpointRequest) -> Answer:
        await settle(given, request, recorded_refusal(InvalidGrant("private"), client_id="agent"))
        raise AssertionError("settling a refusal raises")

    response = await got(server, handler)
    assert (response.status, json.loads(response.body)["error"]) == (400, "invalid_grant")
    assert [(fact.client_id, fact.detail) for fact in store.facts] == [("agent", "private")]


async def test_settling_gives_what_came_true(server: Context, store: MemoryStore) -> None:
    record = Record(fact=AuditFact(event=AuditEvent.TOKEN_ISSUED))
    await settle(server, REQUEST, Issue(effects=(record,)))
    spend = Spend(kind=HandleKind.CODE, digest=b"nobody's")
    lost = recorded_refusal(InvalidGrant("lost"))
    with pytest.raises(Refused) as refused:
        await settle(server, REQUEST, Issue(effects=(record, spend), lost={spend: lost}))
    assert refused.value.error is lost.error
    assert [fact.event for fact in store.facts] == [AuditEvent.TOKEN_ISSUED, AuditEvent.REFUSED]


async def test_a_refusal_that_tells_nothing_itself_is_told_by_the_door_within_the_budget(
    server: Context, store: MemoryStore
) -> None:
    async def handler(given: Context, request: EndpointRequest) -> Answer:
        await settle(given, request, Refuse(error=TooManyRequests("attempts of this source")))
        raise AssertionError("settling a refusal raises")

    for _ in range(REFUSALS_TOLD_PER_SOURCE + 10):
        assert (await got(server, handler)).status == 429
    assert [fact.detail for fact in store.facts] == ["attempts of this source"] * REFUSALS_TOLD_PER_SOURCE


async def test_beyond_the_budget_a_refusal_needs_no_store(server: Context, store: MemoryStore) -> None:
    for _ in range(REFUSALS_TOLD_PER_SOURCE):
        await got(server, giving(InvalidClient("no assertion")))
    store.unavailable = True
    assert (await got(server, giving(InvalidClient("no assertion")))).status == 401
    assert (await got(server, giving(InvalidClient("another reason")))).status == 503


@pytest.mark.parametrize("face", list(Face))
async def test_a_defect_of_ours_is_503_and_tells_the_peer_nothing(
    server: Context, store: MemoryStore, face: Face, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="fapi_as.door"):
        response = await got(server, giving(RuntimeError("a secret in a message")), face=face)
    assert (response.status, header(response, "retry-after")) == (503, "2")
    assert b"temporarily_unavailable" in response.body
    assert b"secret" not in response.body
    assert [record.message for record in caplog.records] == ["endpoint failed"]
    assert store.facts == ()


async def test_an_undeclared_loss_changes_nothing_and_is_503(server: Context, store: MemoryStore) -> None:
    async def handler(given: Context, request: EndpointRequest) -> Answer:
        record = Record(fact=AuditFact(event=AuditEvent.TOKEN_ISSUED))
        await settle(given, request, Issue(effects=(record, Spend(kind=HandleKind.CODE, digest=b"x"))))
        raise AssertionError("settling a loss raises")

    assert (await got(server, handler)).status == 503
    assert store.facts == ()


async def test_a_store_that_is_down_is_503(server: Context, store: MemoryStore) -> None:
    response = await got(server, giving(StorageUnavailable("disk full")))
    assert (response.status, json.loads(response.body)["error"]) == (503, "temporarily_unavailable")
    assert store.facts == ()


async def test_a_refusal_that_cannot_be_written_is_503(server: Context, store: MemoryStore) -> None:
    store.unavailable = True
    assert (await got(server, giving(InvalidRequest("d")))).status == 503
    assert store.facts == ()


@pytest.mark.parametrize(("face", "allow"), [(Face.PROTOCOL, "GET, HEAD"), (Face.PAGE, "GET")])
async def test_another_method_is_told_which_there_are(server: Context, face: Face, allow: str) -> None:
    response = await got(server, giving(Json(payload={})), face=face, request=post())
    assert (response.status, header(response, "allow")) == (405, allow)


async def test_a_nonce_is_asked_for_with_one_that_works(server: Context) -> None:
    response = await got(server, giving(UseDpopNonce("no nonce", jkt="j" * 43)))
    assert (response.status, json.loads(response.body)["error"]) == (400, "use_dpop_nonce")
    assert header(response, "dpop-nonce")


@pytest.mark.parametrize(("headers", "challenge"), [((), False), (((b"authorization", b"Basic eDp5"),), True)])
async def test_who_tried_the_authorization_header_is_told_the_scheme(
    server: Context, headers: tuple[tuple[bytes, bytes], ...], challenge: bool
) -> None:
    request = EndpointRequest(method="GET", path="/x", headers=headers, now=1, correlation_id="c", source="s")
    response = await got(server, giving(InvalidClient("d")), request=request)
    assert response.status == 401
    assert (header(response, "www-authenticate") is not None) is challenge


async def test_only_a_validated_request_redirects(server: Context, store: MemoryStore) -> None:
    validated = ValidatedAuthorizationRequest(
        client_id="agent",
        client_version=1,
        redirect_uri="https://client.example/cb",
        scope=("a",),
        resources=("https://bank.example",),
        code_challenge="c" * 43,
        state="the state",
        nonce=None,
        dpop_jkt=None,
    )
    response = await got(server, giving(AuthorizationFailed(validated, AccessDenied("no"))), face=Face.PAGE)
    assert response.status == 303
    assert header(response, "location") == (
        "https://client.example/cb?error=access_denied&error_description=the%20request%20was%20denied"
        "&state=the%20state&iss=https%3A%2F%2Fas.example"
    )
    assert [(fact.error, fact.detail) for fact in store.facts] == [("access_denied", "no")]


@pytest.mark.parametrize("face", list(Face))
async def test_a_request_that_no_endpoint_saw_is_refused_and_written(
    server: Context, store: MemoryStore, face: Face
) -> None:
    endpoint = Endpoint(path="/x", face=face, methods={"GET": giving(Json(payload={}))})
    response = await refuse(server, endpoint, REQUEST, PayloadTooLarge("declared"), render_page=rendered)
    assert response.status == 413
    assert [fact.detail for fact in store.facts] == ["declared"]
    store.unavailable = True
    assert (await refuse(server, endpoint, REQUEST, PayloadTooLarge("d"), render_page=rendered)).status == 503


@pytest.mark.parametrize("face", list(Face))
def test_where_nothing_is_there_is_404(face: Face) -> None:
    assert absent(face, REQUEST, render_page=rendered).status == 404


async def test_what_has_nothing_to_say_has_neither_a_body_nor_a_length_and_is_not_cached(server: Context) -> None:
    endpoint = Endpoint(
        path="/x", face=Face.PROTOCOL, methods={"GET": giving(NoContent(headers=(("DPoP-Nonce", "n"),)))}
    )
    response = await answer(server, endpoint, REQUEST, render_page=rendered)
    assert (response.status, response.body) == (204, b"")
    assert dict(response.headers)[b"cache-control"] == b"no-cache, no-store"
    assert dict(response.headers)[b"dpop-nonce"] == b"n"
    assert b"content-length" not in dict(response.headers)
