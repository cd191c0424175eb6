"""The door: one try/except for every endpoint; run → commit → audit → render."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Final

from fapi_as.kernel.messages import Answer, EndpointRequest, EndpointResponse, Json, Page, SeeOther
from fapi_as.kernel.seam import Context, Endpoint, Face
from fapi_as.kernel.sender_constraint import nonce_headers
from fapi_as.protocol.decisions import Decision, Refuse, recorded_refusal
from fapi_as.protocol.errors import (
    InvalidClient,
    MethodNotAllowed,
    ProtocolError,
    StorageUnavailable,
    TooManyRequests,
    UseDpopNonce,
    status_of,
)

RenderPage = Callable[[Page | SeeOther, EndpointRequest], EndpointResponse]

_logger: Final = logging.getLogger("fapi_as.door")
_JSON: Final = (b"content-type", b"application/json")
_NO_STORE: Final = (b"cache-control", b"no-cache, no-store")  # RFC 6749 §5.1, RFC 9126 §2.2
_NO_SNIFF: Final = (b"x-content-type-options", b"nosniff")
_ANY_ORIGIN: Final = (b"access-control-allow-origin", b"*")  # MD-6: public documents only
_RETRY_AFTER_SECONDS: Final = {StorageUnavailable: b"2", TooManyRequests: b"60"}


class Refused(Exception):
    """A refusal that is already committed; the door only renders it."""

    def __init__(self, refuse: Refuse) -> None:
        super().__init__(refuse.error.error)
        self.error = refuse.error


async def settle(context: Context, request: EndpointRequest, decision: Decision) -> None:
    """Commit a decision.

    Raises:
        Refused: the decision that came true is a refusal.
        StorageUnavailable: nothing was changed.
    """
    outcome = await context.store.commit(decision, request.stamp)
    if isinstance(outcome, Refuse):
        raise Refused(outcome)


async def answer(
    context: Context, endpoint: Endpoint, request: EndpointRequest, *, render_page: RenderPage
) -> EndpointResponse:
    """Run one endpoint; whatever happens, there is an answer and at most one fact about a refusal."""
    try:
        outcome = await _run(context, endpoint, request)
    except ProtocolError as error:
        outcome = error
    except Exception:
        # a defect of ours: fail closed with the one declared 5xx; the log names the place, the peer learns nothing
        _logger.exception("endpoint failed", extra={"correlation_id": request.correlation_id})
        outcome = StorageUnavailable("unexpected error")
    if isinstance(outcome, ProtocolError):
        return _render_error(context, endpoint, request, outcome, render_page)
    if isinstance(outcome, Json):
        return _render_json(outcome)
    return render_page(outcome, request)


async def _run(context: Context, endpoint: Endpoint, request: EndpointRequest) -> Answer | ProtocolError:
    try:
        handler = endpoint.methods.get(request.method)
        if handler is None:
            return MethodNotAllowed("method")
        return await handler(context, request)
    except Refused as refused:
        return refused.error
    except StorageUnavailable:
        raise
    except ProtocolError as error:
        # a refusal before any decision is committed like every other: one path, one fact
        await context.store.commit(recorded_refusal(error), request.stamp)
        return error


def _render_json(answer_: Json) -> EndpointResponse:
    body = json.dumps(answer_.payload, separators=(",", ":")).encode()
    cache = _NO_STORE
    if answer_.cache_seconds is not None:
        cache = (b"cache-control", b"public, max-age=%d" % answer_.cache_seconds)
    headers = [_JSON, (b"content-length", b"%d" % len(body)), cache, _NO_SNIFF]
    if answer_.public:
        headers.append(_ANY_ORIGIN)
    headers.extend((name.encode("ascii").lower(), value.encode("ascii")) for name, value in answer_.headers)
    return EndpointResponse(status=answer_.status, headers=tuple(headers), body=body)


def _render_error(
    context: Context, endpoint: Endpoint, request: EndpointRequest, error: ProtocolError, render_page: RenderPage
) -> EndpointResponse:
    headers = _error_headers(context, endpoint, request, error)
    if endpoint.face is Face.PAGE:
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
        extra = tuple((name.encode("ascii").lower(), value.encode("ascii")) for name, value in headers)
        return EndpointResponse(status=rendered.status, headers=(*rendered.headers, *extra), body=rendered.body)
    payload = {"error": error.error, "error_description": error.description}
    return _render_json(Json(payload=payload, status=status_of(error), headers=headers))


def _error_headers(
    context: Context, endpoint: Endpoint, request: EndpointRequest, error: ProtocolError
) -> tuple[tuple[str, str], ...]:
    if isinstance(error, MethodNotAllowed):
        return (("Allow", ", ".join(sorted(endpoint.methods))),)
    if isinstance(error, UseDpopNonce):
        return nonce_headers(context, error.jkt, request.now)
    if isinstance(error, InvalidClient) and any(name == b"authorization" for name, _ in request.headers):
        # RFC 6749 §5.2: a client that tried the Authorization header is told which scheme; none is offered here
        return (("WWW-Authenticate", 'Basic realm="use private_key_jwt"'),)
    retry_after = _RETRY_AFTER_SECONDS.get(type(error))
    return (("Retry-After", retry_after.decode()),) if retry_after is not None else ()
