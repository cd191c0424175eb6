"""The whole application: bare ASGI for the back channel in front of Quart for pages, both over one door."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final, cast

from fapi_as.adapters.web.addresses import routes
from fapi_as.adapters.web.asgi import Application, Receive, Scope, Send
from fapi_as.adapters.web.page_endpoints import quart_application
from fapi_as.adapters.web.pages import renderer
from fapi_as.adapters.web.protocol_endpoints import ProtocolEndpoints
from fapi_as.adapters.web.responses import Answering
from fapi_as.kernel.seam import Context
from fapi_as.ports import Clock
from fapi_as.protocol.errors import ProtocolError
from rs_kit.adapters.proxied_certificate import ProxiedCertificate, ProxyTrust

Lifespan = Callable[[], AbstractAsyncContextManager[None]]

_logger: Final = logging.getLogger("fapi_as.web")


def build_application(
    contexts: Mapping[str, Context],
    *,
    clock: Clock,
    lifespan: Lifespan = contextlib.nullcontext,
    proxy: ProxyTrust | None = None,
) -> Application:
    """One ASGI application for all tenants.

    Args:
        contexts: by the path of the tenant's issuer: "" at the root, "/t/acme" for others.
        clock: read once per request.
        lifespan: entered before the first request and left after the last.
        proxy: who may tell what certificate a client has shown; without one no header is ever asked.
    """
    answering = Answering(clock=clock, render_page=renderer())
    found = routes(contexts)
    pages = cast(Application, quart_application(found, answering=answering))  # Quart's types are narrower than ASGI's
    entropy = next(iter(contexts.values())).entropy
    front: Application = ProtocolEndpoints(found, answering=answering, pages=pages, entropy=entropy)
    if proxy is not None:
        front = _behind(proxy, front)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await front(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _live(lifespan, receive, send)
        else:
            # nothing here speaks WebSocket; the listener refuses the upgrade before it gets this far
            await send({"type": "websocket.close"})

    return application


def _behind(proxy: ProxyTrust, front: Application) -> Application:
    async def refuse(error: ProtocolError, scope: Scope, receive: Receive, send: Send) -> None:
        del error  # it is in the scope: the door refuses, and writes the fact
        await front(scope, receive, send)

    return ProxiedCertificate(front, proxy, refuse=refuse)


async def _live(lifespan: Lifespan, receive: Receive, send: Send) -> None:
    """The lifespan protocol around one context manager; a start that fails stops the server, its reason is logged."""
    await receive()
    stage = "startup"
    try:
        async with lifespan():
            await send({"type": "lifespan.startup.complete"})
            stage = "shutdown"
            await receive()
    except Exception:
        _logger.exception("%s failed", stage)
        await send({"type": f"lifespan.{stage}.failed", "message": "see the log"})
    else:
        await send({"type": "lifespan.shutdown.complete"})
