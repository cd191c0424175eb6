"""What a client may have on its own behalf: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fapi_as.kernel.seam import TokenDecision, TokenRequest, TokensToIssue
from fapi_as.protocol import scope
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.decisions import Refuse
from fapi_as.protocol.effects import Require, Required
from fapi_as.protocol.errors import InvalidTarget
from fapi_as.protocol.parameters import Parameters
from fapi_as.protocol.policy import Policy, seconds
from fapi_as.protocol.resource import RegisteredResource

GRANT_TYPE: Final = "client_credentials"


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialsFacts:
    """The resource that is asked for, when it is live."""

    resource: RegisteredResource | None


def asked_resource(parameters: Parameters, client: RegisteredClient) -> str:
    """The one audience of the token (RES-2, RES-4).

    Raises:
        InvalidTarget: none, or several.
    """
    asked = parameters.resources or ((client.default_resource,) if client.default_resource else ())
    if len(asked) != 1:
        raise InvalidTarget("no resource or several")
    return asked[0]


def decide_credentials(request: TokenRequest, facts: CredentialsFacts, policy: Policy) -> TokenDecision:
    """RFC 6749 §4.4: no refresh token, the client is its own subject (CC-1, AT-7)."""
    client, registered = request.client.registered, facts.resource
    if registered is None:
        return Refuse(error=InvalidTarget("unknown resource"))
    asked = request.parameters.get("scope")
    if asked is None:
        granted = scope.narrowed(tuple(sorted(client.scope)), registered.scopes)
    else:
        granted = scope.limited(scope.parse(asked), client.scope, registered.scopes)
    live = Require(required=Required.RESOURCE, identifier=registered.resource, version=registered.version)
    return TokensToIssue(
        subject=client.client_id,
        scope=granted,
        resource=registered.resource,
        authorization_id=None,
        access_token_seconds=seconds(registered.access_token_lifetime or policy.access_token_lifetime),
        effects=(live,),
        lost={live: Refuse(error=InvalidTarget("the resource changed"))},
    )
