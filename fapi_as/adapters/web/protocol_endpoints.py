"""The front: one bare ASGI callable that answers the back channel itself and hands pages to Quart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fapi_as.adapters.web.addresses import Route, found
from fapi_as.adapters.web.asgi import Application, Receive, Scope, Send, send_whole
from fapi_as.adapters.web.pages import STYLESHEET_PATH, stylesheet
from fapi_as.adapters.web.requests import Disconnected, endpoint_request, read_body
from fapi_as.adapters.web.responses import Answering, collect, complete
from fapi_as.kernel import door
from fapi_as.kernel.messages import EndpointRequest, EndpointResponse
from fapi_as.kernel.seam import Face
from fapi_as.ports import Entropy

_STYLESHEET: Final = STYLESHEET_PATH.encode("ascii")
_READS: Final = frozenset({"GET", "HEAD"})


class ProtocolEndpoints:
    """Finds the endpoint of a request by its exact path; what has none is answered here too."""

    def __init__(
        self, routes: Mapping[bytes, Route], *, answering: Answering, pages: Application, entropy: Entropy
    ) -> None:
        self._routes = routes
        self._answering = answering
        self._pages = pages
        self._entropy = entropy
        self._stylesheet = stylesheet()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; a peer that left before its request was whole gets nothing."""
        route, segment = found(self._routes, scope["raw_path"])
        if route is None:
            response = self._unrouted(scope)
        elif route.endpoint.face is Face.PAGE:
            await self._pages(scope, receive, send)
            return
        else:
            try:
                body = await collect(route, scope, lambda: read_body(receive))
            except Disconnected:
                return
            response = await self._answering.answer(route, scope, body, segment)
        await send_whole(send, response)

    def _unrouted(self, scope: Scope) -> EndpointResponse:
        request = endpoint_request(
            scope,
            path=scope["path"],
            now=self._answering.clock.now(),
            correlation_id=self._entropy.identifier(),
        )
        if scope["raw_path"] == _STYLESHEET and request.method in _READS:
            return complete(self._stylesheet, request)
        face = Face.PAGE if _wants_page(request) else Face.PROTOCOL
        return complete(door.absent(face, request, render_page=self._answering.render_page), request)


def _wants_page(request: EndpointRequest) -> bool:
    return any(name == b"accept" and b"text/html" in value for name, value in request.headers)
