"""Pages on Quart: the same request, limits and door as the back channel; a person who leaves cancels no commit."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, TypeVar, cast

from quart import Quart, Response, request
from quart.routing import QuartRule
from quart.wrappers import BaseRequestWebsocket
from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.exceptions import RequestTimeout as WerkzeugRequestTimeout
from werkzeug.routing import MapAdapter

from fapi_as.adapters.web.addresses import Route
from fapi_as.adapters.web.asgi import Scope
from fapi_as.adapters.web.requests import BODY_TIME_LIMIT
from fapi_as.adapters.web.responses import Answering, collect
from fapi_as.kernel.messages import EndpointResponse
from fapi_as.kernel.seam import Face
from fapi_as.protocol.errors import PayloadTooLarge, RequestTimeout
from fapi_as.protocol.profile import REQUEST_BODY_LIMIT

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

Result = TypeVar("Result")

_unfinished: Final[set[asyncio.Task[Any]]] = set()


class Pages(Quart):
    """Quart that finds a page by its path alone: a Host that IDNA cannot encode would end the request in mid-air."""

    @override
    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        if request is None:
            return None
        return self.url_map.bind("", default_method=request.method, path_info=request.path)


def quart_application(routes: Mapping[bytes, Route], *, answering: Answering) -> Quart:
    """The Quart application of all page endpoints: no static files, no automatic OPTIONS, no session of its own."""
    application = Pages(__name__, static_folder=None, template_folder=None)
    application.config.update(MAX_CONTENT_LENGTH=REQUEST_BODY_LIMIT, BODY_TIMEOUT=int(BODY_TIME_LIMIT.total_seconds()))
    for route in routes.values():
        if route.endpoint.face is Face.PAGE:
            # no list of methods: which are allowed is the door's to say, in the same words as on the other face
            application.url_map.add(QuartRule(route.path, endpoint=route.path))
            application.view_functions[route.path] = _view(route, answering)
    return application


def _view(route: Route, answering: Answering) -> Callable[[], Awaitable[Response]]:
    async def view() -> Response:
        scope = cast(Scope, request.scope)  # Quart's type is narrower than ASGI's
        body = await collect(route, scope, _whole_body)
        return _response(await _to_its_end(answering.answer(route, scope, body)))

    return view


async def _whole_body() -> bytes:
    try:
        return cast(bytes, await request.get_data(cache=False))  # as_text is off
    except RequestEntityTooLarge:
        raise PayloadTooLarge("actual length") from None
    except WerkzeugRequestTimeout:
        raise RequestTimeout("slow body") from None


async def _to_its_end(answer: Coroutine[Any, Any, Result]) -> Result:
    """Run what may commit; Quart cancels a handler when its peer leaves, and half a sign-in is none."""
    task = asyncio.get_running_loop().create_task(answer)
    _unfinished.add(task)
    task.add_done_callback(_unfinished.discard)
    return await asyncio.shield(task)


def _response(response: EndpointResponse) -> Response:
    pairs = [(name.decode("ascii"), value.decode("latin-1")) for name, value in response.headers]
    made = Response(response.body, status=response.status)
    made.headers = Headers(pairs)  # all of them and no other: the framework's guesses go
    return made
