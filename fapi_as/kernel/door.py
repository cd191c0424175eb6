"""The door: one try/except for every endpoint; run → commit → audit → render."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Final, NoReturn, TypeVar

from fapi_as.kernel.authorization_answer import addressed
from fapi_as.kernel.messages import (
    Answer,
    Compact,
    EndpointRequest,
    EndpointResponse,
    Json,
    NoContent,
    Page,
    SeeOther,
)
from fapi_as.kernel.seam import Context, Endpoint, Face
from fapi_as.kernel.sender_constraint import nonce_headers
from fapi_as.protocol.authorization_response import AuthorizationFailed
from fapi_as.protocol.decisions import Decision, Refuse, recorded_refusal
from fapi_as.protocol.effects import Record
from fapi_as.protocol.errors import (
    InvalidClient,
    MethodNotAllowed,
    NotFound,
    ProtocolError,
    ResourceRefused,
    StorageUnavailable,
    TooManyAtOnce,
    TooManyRequests,
    UseDpopNonce,
    status_of,
)

Outcome = TypeVar("Outcome")
RenderPage = Callable[[Page | SeeOther, EndpointRequest], EndpointResponse]

_logger: Final = logging.getLogger("fapi_as.door")
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps would make one for each answer
_JSON: Final = (b"content-type", b"application/json")
_JWT: Final = (b"content-type", b"application/jwt")  # RFC 7519 §10.3.1
_NO_STORE: Final = (b"cache-control", b"no-cache, no-store")  # RFC 6749 §5.1, RFC 9126 §2.2
_NO_SNIFF: Final = (b"x-content-type-options", b"nosniff")
_OF_CONTENT: Final = frozenset({b"content-type", b"content-length"})
_ANY_ORIGIN: Final = (b"access-control-allow-origin", b"*")  # MD-6: public documents only
_RETRY_AFTER_SECONDS: Final = {StorageUnavailable: b"2", TooManyRequests: b"60", TooManyAtOnce: b"2"}


class Refused(Exception):
    """A refusal that is already committed or counted; the door only renders it."""

    def __init__(self, refuse: Refuse) -> None:
        super().__init__(refuse.error.error)
        self.error = refuse.error


async def settle(context: Context, request: EndpointRequest, decision: Decision) -> None:
    """Commit a decision.

    Raises:
        Refused: the decision that came true is a refusal.
        ProtocolError: it is one without a fact: whoever knows the client adds it, or the door; each within its budget.
        StorageUnavailable: nothing was changed.
    """
    outcome = await context.store.commit(decision, request.stamp)
    if isinstance(outcome, Refuse):
        raise _to_raise(outcome)


async def settle_refusal(context: Context, request: EndpointRequest, refusal: Refuse) -> NoReturn:
    """Commit a refusal; what comes true of it is one, too.

    Raises:
        Refused, ProtocolError, StorageUnavailable: as `settle`.
    """
    outcome = await context.store.commit(refusal, request.stamp)
    raise _to_raise(outcome if isinstance(outcome, Refuse) else refusal)


async def refuse_client(context: Context, request: EndpointRequest, error: ProtocolError, client_id: str) -> NoReturn:
    """Refuse a client that is known: a fact that names it, or one more in a count of its refusals.

    Raises:
        Refused: the refusal.
        StorageUnavailable: the fact could not be written.
    """
    if context.refusals_of_clients.spend(error, request.stamp, client_id=client_id):
        await settle_refusal(context, request, recorded_refusal(error, client_id=client_id))
    raise Refused(Refuse(error=error))


def _to_raise(outcome: Refuse) -> Refused | ProtocolError:
    is_told = any(isinstance(effect, Record) for effect in outcome.effects)
    return Refused(outcome) if is_told else outcome.error


async def answer(
    context: Context, endpoint: Endpoint, request: EndpointRequest, *, render_page: RenderPage
) -> EndpointResponse:
    """Run one endpoint; whatever happens, there is an answer and at most one fact about a refusal."""
    outcome = await _settled(request, _rendered(context, endpoint, request, render_page))
    if isinstance(outcome, ProtocolError):
        headers = _error_headers(context, endpoint, request, outcome)
        return _render_error(endpoint.face, request, outcome, headers, render_page)
    return outcome


async def refuse(
    context: Context, endpoint: Endpoint, request: EndpointRequest, error: ProtocolError, *, render_page: RenderPage
) -> EndpointResponse:
    """Answer a request that was refused before its endpoint saw it: too large, too slow, not readable."""
    settled = await _settled(request, _record(context, request, error))
    headers = _error_headers(context, endpoint, request, settled)
    return _render_error(endpoint.face, request, settled, headers, render_page)


def absent(face: Face, request: EndpointRequest, *, render_page: RenderPage) -> EndpointResponse:
    """Answer a request for an address where there is nothing; no tenant is concerned, so nothing is recorded."""
    return _render_error(face, request, NotFound("no such path"), (), render_page)


async def _settled(request: EndpointRequest, outcome: Coroutine[None, None, Outcome]) -> Outcome | ProtocolError:
    try:
        return await outcome
    except ProtocolError as error:
        return error
    except Exception:
        # a defect of ours: fail closed with the one declared 5xx; the log names the place, the peer learns nothing
        _logger.exception("endpoint failed", extra={"correlation_id": request.correlation_id})
        return StorageUnavailable("unexpected error")


async def _rendered(
    context: Context, endpoint: Endpoint, request: EndpointRequest, render_page: RenderPage
) -> EndpointResponse | ProtocolError:
    outcome = await _run(context, endpoint, request)
    if isinstance(outcome, AuthorizationFailed):
        outcome = SeeOther(location=addressed(context, request, outcome).location or "")
    if isinstance(outcome, ProtocolError):
        return outcome
    if isinstance(outcome, Compact):
        return _render_compact(outcome)
    if isinstance(outcome, NoContent):
        headers = (_NO_STORE, _NO_SNIFF, *_encoded(outcome.headers))  # RFC 9110 §8.6: no Content-Length
        return EndpointResponse(status=HTTPStatus.NO_CONTENT, headers=headers, body=b"")
    if isinstance(outcome, Json):
        return _render_document(outcome, request) if outcome.public else _render_json(outcome)
    return render_page(outcome, request)


async def _record(context: Context, request: EndpointRequest, error: ProtocolError) -> ProtocolError:
    """A fact about a refusal before authentication, or one more in a count of them."""
    if context.refusals.spend(error, request.stamp):
        await context.store.commit(recorded_refusal(error), request.stamp)
    return error


async def _run(context: Context, endpoint: Endpoint, request: EndpointRequest) -> Answer | ProtocolError:
    try:
        handler = endpoint.methods.get("GET" if _is_head_of_document(endpoint, request) else request.method)
        if handler is None:
            return MethodNotAllowed("method")
        return await handler(context, request)
    except Refused as refused:
        return refused.error
    except StorageUnavailable:
        raise
    except ProtocolError as error:
        # a refusal before any decision is committed like every other: one path, one fact
        told = addressed(context, request, error) if isinstance(error, AuthorizationFailed) else error
        return await _record(context, request, told)


def _is_head_of_document(endpoint: Endpoint, request: EndpointRequest) -> bool:
    # RFC 9110 §9.3.2: HEAD is GET without content; not on pages, where a link preview would begin an interaction
    return request.method == "HEAD" and endpoint.face is Face.PROTOCOL


def _render_json(answer_: Json) -> EndpointResponse:
    body = _encode(answer_.payload).encode()
    cache = _NO_STORE
    if answer_.cache_seconds is not None:
        cache = (b"cache-control", b"public, max-age=%d" % answer_.cache_seconds)
    headers = [_JSON, (b"content-length", b"%d" % len(body)), cache, _NO_SNIFF]
    if answer_.public:
        headers.append(_ANY_ORIGIN)
    headers.extend(_encoded(answer_.headers))
    return EndpointResponse(status=answer_.status, headers=tuple(headers), body=body)


def _render_compact(answer_: Compact) -> EndpointResponse:
    body = answer_.token.encode("ascii")
    headers = [_JWT, (b"content-length", b"%d" % len(body)), _NO_STORE, _NO_SNIFF]
    headers.extend(_encoded(answer_.headers))
    return EndpointResponse(status=HTTPStatus.OK, headers=tuple(headers), body=body)


def _encoded(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((name.encode("ascii").lower(), value.encode("ascii")) for name, value in headers)


def _render_document(answer_: Json, request: EndpointRequest) -> EndpointResponse:
    """A public document with its validator; a peer that has this very one gets no second copy (RFC 9110 §13.1.2)."""
    response = _render_json(answer_)
    entity_tag = b'"%b"' % hashlib.sha256(response.body).hexdigest()[:32].encode("ascii")
    headers = (*response.headers, (b"etag", entity_tag))
    offered = {tag.strip() for name, value in request.headers if name == b"if-none-match" for tag in value.split(b",")}
    if offered.isdisjoint({entity_tag, b"W/" + entity_tag, b"*"}):
        return EndpointResponse(status=response.status, headers=headers, body=response.body)
    kept = tuple(pair for pair in headers if pair[0] not in _OF_CONTENT)
    return EndpointResponse(status=HTTPStatus.NOT_MODIFIED, headers=kept, body=b"")


def _render_error(
    face: Face,
    request: EndpointRequest,
    error: ProtocolError,
    headers: tuple[tuple[str, str], ...],
    render_page: RenderPage,
) -> EndpointResponse:
    if face is Face.PAGE:
        page = Page(
            template="error.html",
            status=status_of(error),
            values={
                "error": error.error,
                "error_description": error.description,
                "correlation_id": request.correlation_id,
            },
        )
        rendered = render_page(page, request)
        return EndpointResponse(
            status=rendered.status, headers=(*rendered.headers, *_encoded(headers)), body=rendered.body
        )
    payload = {"error": error.error, "error_description": error.description}
    return _render_json(Json(payload=payload, status=status_of(error), headers=headers))


def _error_headers(
    context: Context, endpoint: Endpoint, request: EndpointRequest, error: ProtocolError
) -> tuple[tuple[str, str], ...]:
    if isinstance(error, MethodNotAllowed):
        documents = {"HEAD"} if endpoint.face is Face.PROTOCOL and "GET" in endpoint.methods else set()
        return (("Allow", ", ".join(sorted(endpoint.methods.keys() | documents))),)
    if isinstance(error, ResourceRefused):
        return error.headers
    if isinstance(error, UseDpopNonce):
        return nonce_headers(context, error.jkt, request.now)
    if isinstance(error, InvalidClient) and any(name == b"authorization" for name, _ in request.headers):
        # RFC 6749 §5.2: a client that tried the Authorization header is told which scheme; none is offered here
        return (("WWW-Authenticate", 'Basic realm="use private_key_jwt"'),)
    retry_after = _RETRY_AFTER_SECONDS.get(type(error))
    return (("Retry-After", retry_after.decode()),) if retry_after is not None else ()
