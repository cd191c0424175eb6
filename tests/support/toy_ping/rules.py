"""Who may ping: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fapi_as.kernel.seam import TokenDecision, TokenRequest, TokensToIssue
from fapi_as.ports import Reading
from fapi_as.protocol.decisions import Refuse
from fapi_as.protocol.errors import InvalidGrant, InvalidTarget
from fapi_as.protocol.policy import Policy, seconds
from fapi_as.protocol.resource import RegisteredResource

GRANT_TYPE: Final = "urn:example:ping"


@dataclass(frozen=True, slots=True, kw_only=True)
class PingFacts:
    """The resource that is asked for, when it is live."""

    resource: RegisteredResource | None


async def load(request: TokenRequest, reading: Reading) -> PingFacts:
    """Find the resource."""
    asked = request.parameters.resources
    return PingFacts(resource=await reading.resource(asked[0]) if asked else None)


def decide_ping(request: TokenRequest, facts: PingFacts, policy: Policy) -> TokenDecision:
    """A client that says pong may ping."""
    if facts.resource is None:
        return Refuse(error=InvalidTarget("no live resource"))
    if request.parameters.get("ping") != "pong":
        return Refuse(error=InvalidGrant("ping is not pong"))
    return TokensToIssue(
        subject=request.client.registered.client_id,
        scope=tuple(sorted(facts.resource.scopes)),
        resource=facts.resource.resource,
        authorization_id=None,
        access_token_seconds=seconds(policy.access_token_lifetime),
    )
