"""POST /token: authenticate → constrain → load → rule → issuance → commit (RFC 6749 §3.2, RFC 9449 §5, RFC 8705 §3)."""

from __future__ import annotations

from fapi_as.kernel.client_authentication import serve_client
from fapi_as.kernel.door import settle, settle_refusal
from fapi_as.kernel.issuance import issue
from fapi_as.kernel.messages import EndpointRequest, Json
from fapi_as.kernel.seam import AnyGrant, Context, Endpoint, Face, TokenRequest
from fapi_as.kernel.sender_constraint import constrained, nonce_headers
from fapi_as.kernel.spending import Authenticated, authenticated
from fapi_as.protocol.client import AuthenticatedClient
from fapi_as.protocol.decisions import Refuse
from fapi_as.protocol.errors import (
    InvalidAuthorizationDetails,
    UnauthorizedClient,
    UnsupportedGrantType,
)
from fapi_as.protocol.parameters import Parameters


async def token(context: Context, request: EndpointRequest) -> Json:
    """Issue tokens for any enabled grant.

    Raises:
        ProtocolError: the refusal; nothing was spent unless the decision said so.
    """
    return await serve_client(context, request, _grant)


async def _grant(
    context: Context, request: EndpointRequest, client: AuthenticatedClient, parameters: Parameters
) -> Json:
    grant = _chosen_grant(context, client, parameters)
    binding, proof = constrained(context, request, client.registered)
    token_request = TokenRequest(
        client=client,
        parameters=parameters.only(grant.parameters),
        binding=binding,
        now=request.now,
        correlation_id=request.correlation_id,
    )
    decision = await grant.decide(token_request, context.reading, context.policy)
    caller: Authenticated = authenticated(client, proof, context.policy, request.now)
    if isinstance(decision, Refuse):
        await settle_refusal(context, request, caller.refuse(decision))
    issuance = issue(context, caller, token_request, decision)
    await settle(context, request, issuance.decision)
    headers = () if proof is None else nonce_headers(context, proof.jkt, request.now)
    return Json(payload=issuance.payload, headers=headers)


def _chosen_grant(context: Context, client: AuthenticatedClient, parameters: Parameters) -> AnyGrant:
    grant_type = parameters.require("grant_type")
    grant = context.grants.get(grant_type)
    if grant is None:
        raise UnsupportedGrantType("unknown grant_type")
    if grant_type not in client.registered.grant_types:
        raise UnauthorizedClient("grant_type is not registered for the client")
    if parameters.get("authorization_details") is not None and "authorization_details" not in grant.parameters:
        raise InvalidAuthorizationDetails("authorization_details")
    return grant


TOKEN_ENDPOINT = Endpoint(
    path="/token",
    face=Face.PROTOCOL,
    methods={"POST": token},
    metadata_member="token_endpoint",
)
