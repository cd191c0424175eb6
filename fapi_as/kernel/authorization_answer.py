"""Where the browser goes with an answer for the client: signed where the client asked for JARM."""

from __future__ import annotations

from fapi_as.kernel.messages import EndpointRequest
from fapi_as.kernel.seam import Context
from fapi_as.protocol.authorization_response import AuthorizationFailed, AuthorizationResponse

RESPONSE_TYPE = "JWT"  # JARM-11: JARM defines no type of its own


def location(context: Context, request: EndpointRequest, response: AuthorizationResponse) -> str:
    """The redirect of this answer; made before the commit, so that nothing can fail after it (architecture.md §1)."""
    issuer, alg = context.policy.issuer, response.validated.signed_response_alg
    if alg is None:
        return response.plain_location(issuer)
    claims = response.claims(issuer, request.now)
    return response.signed_location(context.signer.sign(claims, typ=RESPONSE_TYPE, alg=alg))


def addressed(context: Context, request: EndpointRequest, failed: AuthorizationFailed) -> AuthorizationFailed:
    """The failure with the place where the browser goes."""
    if failed.location is not None:
        return failed
    return failed.sent_to(location(context, request, failed.response))
