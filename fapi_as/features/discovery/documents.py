"""The public documents: one metadata document at both well-known paths, and the keys."""

from __future__ import annotations

from typing import Final, cast

from fapi_as.kernel import capabilities
from fapi_as.kernel.messages import EndpointRequest, Json
from fapi_as.kernel.seam import Context, Endpoint, Face
from fapi_as.protocol.policy import seconds

_CACHE_SECONDS: Final = 60


async def metadata(context: Context, request: EndpointRequest) -> Json:  # noqa: ARG001 - the seam's signature
    """RFC 8414 §3: what is enabled, with the scopes of the registered resources."""
    document = capabilities.metadata(context.features, context.policy)
    resources = await context.reading.resources()
    enabled = cast("list[str]", document.get("scopes_supported", []))
    scopes = sorted({*enabled, *(value for resource in resources for value in resource.scopes)})
    if scopes:
        document["scopes_supported"] = scopes
    if resources:
        document["protected_resources"] = sorted(resource.resource for resource in resources)  # RFC 9728 §4
    return Json(payload=document, cache_seconds=_CACHE_SECONDS, public=True)


async def jwks(context: Context, request: EndpointRequest) -> Json:  # noqa: ARG001 - the seam's signature
    """RFC 7517 §5: next, active and retiring public keys (JOSE-30); kept for less than a key waits (JOSE-34)."""
    kept = seconds(context.policy.jwks_max_age)
    return Json(payload=context.signer.public_jwks(), cache_seconds=kept, public=True)


ENDPOINTS: Final = (
    Endpoint(path="/.well-known/oauth-authorization-server", face=Face.PROTOCOL, methods={"GET": metadata}),
    Endpoint(path="/.well-known/openid-configuration", face=Face.PROTOCOL, methods={"GET": metadata}),
    Endpoint(path="/jwks", face=Face.PROTOCOL, methods={"GET": jwks}, metadata_member="jwks_uri"),
)
