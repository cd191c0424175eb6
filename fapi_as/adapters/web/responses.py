"""One way from a request to its answer, for both faces: limits, the door, and the headers that every answer carries."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from fapi_as.adapters import patience
from fapi_as.adapters.web.addresses import Route
from fapi_as.adapters.web.asgi import Scope
from fapi_as.adapters.web.requests import endpoint_request, judge_body, judge_certificate, judge_host
from fapi_as.kernel import door
from fapi_as.kernel.messages import EndpointRequest, EndpointResponse
from fapi_as.kernel.seam import Face
from fapi_as.ports import Clock
from fapi_as.protocol.errors import MisdirectedRequest, ProtocolError
from rs_kit.adapters.peer_certificate import MUTUAL_TLS

_EVERYWHERE: Final = (
    (b"strict-transport-security", b"max-age=63072000; includeSubDomains"),  # FAPI2-NET-8
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_OURS: Final = frozenset(name for name, _ in _EVERYWHERE)

_logger: Final = logging.getLogger("fapi_as.access")


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What became of a request's body: all of it, or why it is refused."""

    content: bytes = b""
    refusal: ProtocolError | None = None


async def collect(route: Route, scope: Scope, read: Callable[[], Awaitable[bytes]]) -> Body:
    """Read the body within its limits, if the head allows it at all."""
    try:
        judge_address(route, scope)
        judge_certificate(scope)
        judge_body(scope)
        return Body(content=await read())
    except ProtocolError as error:
        return Body(refusal=error)


def judge_address(route: Route, scope: Scope) -> None:
    """Refuse a request that came to the wrong place.

    A page is never at the address where certificates are asked for: a browser that went there would ask its person for
    one at each visit (MTLS-21), so nothing may depend on a page being found there.

    Raises:
        InvalidRequest, MisdirectedRequest: as `judge_host`, or a page at the mTLS address.
    """
    mutual_tls = scope.get("state", {}).get(MUTUAL_TLS, False)
    if mutual_tls and route.endpoint.face is Face.PAGE:
        raise MisdirectedRequest("a page at the mTLS address")
    judge_host(scope, route.mutual_tls_host if mutual_tls else route.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """What both faces need to answer."""

    clock: Clock
    render_page: door.RenderPage

    async def answer(self, route: Route, scope: Scope, body: Body, segment: str = "") -> EndpointResponse:
        """Ask the endpoint, or refuse in its name; the answer is complete."""
        patience.begin()
        context, endpoint = route.context, route.endpoint
        request = endpoint_request(
            scope,
            path=endpoint.path,
            now=self.clock.now(),
            correlation_id=context.entropy.identifier(),
            body=body.content,
        )
        request = replace(request, segment=segment) if segment else request
        if body.refusal is None:
            response = await door.answer(context, endpoint, request, render_page=self.render_page)
        else:
            response = await door.refuse(context, endpoint, request, body.refusal, render_page=self.render_page)
        if _logger.isEnabledFor(logging.DEBUG):
            # the endpoint's path and never the target: a query may hold what belongs to somebody (LOG-03)
            told = {"path": request.path, "status": response.status, "correlation_id": request.correlation_id}
            _logger.debug("%s answered", request.method, extra=told)
        return complete(response, request)


def complete(response: EndpointResponse, request: EndpointRequest) -> EndpointResponse:
    """Add what every answer carries; HEAD keeps the length of the body that it does not get (RFC 9110 §9.3.2)."""
    headers = (
        *(pair for pair in response.headers if pair[0] not in _OURS),
        *_EVERYWHERE,
        (b"x-correlation-id", request.correlation_id.encode("ascii")),
    )
    body = b"" if request.method == "HEAD" else response.body
    return EndpointResponse(status=response.status, headers=headers, body=body)
