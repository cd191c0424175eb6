"""What a push asks for: its form, or the request object that stands there in place of a form (RFC 9126 §3)."""

from __future__ import annotations

from fapi_as.kernel.seam import Context
from fapi_as.protocol import request_object
from fapi_as.protocol.client import KeysUnavailable, RegisteredClient
from fapi_as.protocol.effects import TakeOnce
from fapi_as.protocol.errors import InvalidRequest, InvalidRequestObject
from fapi_as.protocol.parameters import Parameters


async def asked(
    context: Context, client: RegisteredClient, form: Parameters, now: int
) -> tuple[Parameters, TakeOnce | None]:
    """The parameters that count, and what is spent with them; with an object nothing else of the form is read.

    Raises:
        InvalidRequest: a request_uri, or no signature from a client that must sign (MSG-REQ-1).
        InvalidRequestObject: an object that does not hold.
    """
    if form.get("request_uri") is not None:  # RFC 9126 §2.1: request_uri is our output, never input
        raise InvalidRequest("request_uri in a push", "request_uri must not be pushed")
    signed = form.get("request")
    if signed is None:
        if client.require_signed_request_object:
            raise InvalidRequest("push without a signature", "this client must push a signed request object")
        return form, None
    presented = request_object.present(signed)
    try:
        keys = await context.client_keys.keys(client, presented.kid)
    except KeysUnavailable as error:
        raise InvalidRequestObject(f"request object: {error}") from None
    verified = request_object.verify(presented, client, keys.keys, issuer=context.policy.issuer, now=now)
    return verified.parameters, verified.once
