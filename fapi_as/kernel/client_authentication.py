"""Who is calling: one code path for every back-channel endpoint (CA-2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fapi_as.kernel.door import refuse_client
from fapi_as.kernel.messages import EndpointRequest, Json
from fapi_as.kernel.seam import Context
from fapi_as.protocol import client_assertion
from fapi_as.protocol.client import AuthenticatedClient
from fapi_as.protocol.errors import InvalidClient, InvalidRequest, ProtocolError, StorageUnavailable
from fapi_as.protocol.parameters import Parameters, parse_form
from rs_kit.protocol.http import single

Serve = Callable[[Context, EndpointRequest, AuthenticatedClient, Parameters], Awaitable[Json]]


async def serve_client(context: Context, request: EndpointRequest, serve: Serve) -> Json:
    """Read the form, authenticate, and let `serve` answer; the refusal of a known client is told in its name.

    Raises:
        ProtocolError: the refusal before authentication.
        Refused: the refusal after it.
        StorageUnavailable: nothing was changed.
    """
    if request.query_string:
        raise InvalidRequest("parameters in the URL", "parameters belong in the body")  # OA-EP-3, RFC 9126 §2.1
    parameters = parse_form(single(request.headers, b"content-type"), request.body)
    client = await authenticate_client(context, request, parameters)
    try:
        return await serve(context, request, client, parameters)
    except StorageUnavailable:
        raise
    except ProtocolError as error:
        await refuse_client(context, request, error, client.registered.client_id)


async def authenticate_client(
    context: Context, request: EndpointRequest, parameters: Parameters
) -> AuthenticatedClient:
    """Verify the client's assertion; its jti is not spent here but with the decision.

    Raises:
        InvalidClient: no credentials, or credentials that do not prove a live client.
        InvalidRequest: two methods in one request (CA-1, OA-EP-5).
        TooManyRequests: too many failures of this client from this source (CA-6).
    """
    claimed = parameters.get("client_id")
    failed = context.failed_authentications
    try:
        presented = client_assertion.present(_assertion(request, parameters), client_id=claimed)
        claimed = presented.client_id
        client = await context.reading.client(claimed)
        failed.require_room(claimed, request)  # before any signature
        return client_assertion.authenticate(presented, client, issuer=context.policy.issuer, now=request.now)
    except InvalidClient:
        failed.count(claimed or "", request)
        failed.require_room(claimed or "", request)  # the first failure above the limit is told so, too
        raise


def _assertion(request: EndpointRequest, parameters: Parameters) -> str:
    assertion = parameters.get("client_assertion")
    assertion_type = parameters.get("client_assertion_type")
    other = single(request.headers, b"authorization") is not None or "client_secret" in parameters.values
    if other and assertion is not None:
        raise InvalidRequest("two client authentication methods", "use one client authentication method")
    if assertion is None:
        raise InvalidClient("no assertion")
    if assertion_type != client_assertion.ASSERTION_TYPE:
        raise InvalidClient("client_assertion_type")
    return assertion
