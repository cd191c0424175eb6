"""The opened request that a page is about: found again at every step, bound to its browser, checked anew (PAR-18)."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlencode

from fapi_as.kernel.authorization_answer import addressed
from fapi_as.kernel.browser import Visitor
from fapi_as.kernel.door import settle_refusal
from fapi_as.kernel.messages import EndpointRequest
from fapi_as.kernel.seam import Context
from fapi_as.protocol.authorization_request import ValidatedAuthorizationRequest
from fapi_as.protocol.authorization_response import AuthorizationFailed
from fapi_as.protocol.decisions import Refuse, recorded_refusal
from fapi_as.protocol.effects import HandleKind, Spend
from fapi_as.protocol.errors import InvalidRequestUri
from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.interaction import Interaction
from fapi_as.protocol.policy import Policy
from fapi_as.protocol.standing import StandingRequest, require_standing


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingInteraction:
    """An interaction that may go on in this browser, with the request as it stands now."""

    handle: str = field(repr=False)
    digest: bytes
    request_digest: bytes
    usable_until: int
    request: StandingRequest

    @property
    def spends(self) -> tuple[Spend, Spend]:
        """What completion uses up: the pushed request and the interaction (product.md)."""
        return (
            Spend(kind=HandleKind.REQUEST_URI, digest=self.request_digest),
            Spend(kind=HandleKind.INTERACTION, digest=self.digest),
        )


def step_url(policy: Policy, path: str, handle: str) -> str:
    """The address of a page for one interaction; where it leads is never in the query (LOG-26)."""
    return f"{policy.url(path)}?{urlencode({'interaction': handle})}"


async def pending_interaction(
    context: Context, request: EndpointRequest, browser: Visitor, handle: str | None
) -> PendingInteraction:
    """Find the interaction that a page or a form names.

    Raises:
        InvalidRequestUri: none, of another browser, expired or finished (LOG-20).
        ProtocolError: the client or its redirect URI is gone.
        Refused: something else is gone, and the client is told.
    """
    if handle is None:
        raise InvalidRequestUri("no interaction")
    digest = digest_of(handle)
    kept = await context.reading.handle(HandleKind.INTERACTION, digest)
    if kept is None:
        raise InvalidRequestUri("unknown interaction")
    interaction = Interaction.from_bytes(kept.payload)
    refusal = interaction.refusal(kept, browser.browser, request.now, context.policy.interaction_lifetime)
    if refusal is not None:
        raise InvalidRequestUri(refusal)
    pushed = await context.reading.handle(HandleKind.REQUEST_URI, interaction.request_digest)
    if pushed is None or pushed.spent:
        raise InvalidRequestUri("request_uri is used up")
    validated = ValidatedAuthorizationRequest.from_bytes(pushed.payload)
    return PendingInteraction(
        handle=handle,
        digest=digest,
        request_digest=interaction.request_digest,
        usable_until=kept.usable_until,
        request=await standing_request(context, request, validated, interaction.request_digest),
    )


async def standing_request(
    context: Context, request: EndpointRequest, validated: ValidatedAuthorizationRequest, request_digest: bytes
) -> StandingRequest:
    """Load what a pushed request is about and check that it still stands.

    Raises:
        ProtocolError: the client or its redirect URI is gone.
        Refused: something else is gone; the request is spent and the client is told.
    """
    client = await context.reading.client(validated.client_id)
    found = [await context.reading.resource(name) for name in validated.resources]
    resources = {resource.resource: resource for resource in found if resource is not None}
    try:
        return require_standing(validated, client, resources)
    except AuthorizationFailed as error:
        await settle_refusal(context, request, authorization_failed(addressed(context, request, error), request_digest))


def authorization_failed(error: AuthorizationFailed, request_digest: bytes) -> Refuse:
    """Tell the client, which completes the request: once (FAPI2-AZ-19)."""
    client_id = error.validated.client_id
    spend = Spend(kind=HandleKind.REQUEST_URI, digest=request_digest)
    recorded = recorded_refusal(error, spend, client_id=client_id)
    used = recorded_refusal(InvalidRequestUri("request_uri was completed at the same time"), client_id=client_id)
    return Refuse(error=error, effects=recorded.effects, lost={spend: used})
