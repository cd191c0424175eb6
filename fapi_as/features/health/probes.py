"""GET /healthz and GET /readyz: one word each, and nothing about why not."""

from __future__ import annotations

from typing import Final

from fapi_as.kernel.messages import EndpointRequest, Json
from fapi_as.kernel.seam import Context, Endpoint, Face


async def alive(context: Context, request: EndpointRequest) -> Json:  # noqa: ARG001 - the seam's signature
    """The process answers; it asks nobody."""
    return Json(payload={"status": "alive"})


async def ready(context: Context, request: EndpointRequest) -> Json:
    """The store can be read and written, too.

    Raises:
        StorageUnavailable: it cannot; the door answers 503 with one sentence (P8).
    """
    await context.store_check.require(request.stamp)
    return Json(payload={"status": "ready"})


# load balancers ask a machine by its address
ENDPOINTS: Final = (
    Endpoint(path="/healthz", face=Face.PROTOCOL, methods={"GET": alive}, any_host=True),
    Endpoint(path="/readyz", face=Face.PROTOCOL, methods={"GET": ready}, any_host=True),
)
