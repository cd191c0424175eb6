"""The opened request that a page is about: found again at every step, bound to its browser, checked anew (PAR-18)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn
from urllib.parse import urlencode

from fapi_as.kernel.authorization_answer import addressed
from fapi_as.kernel.browser import SignedIn, Visitor
from fapi_as.kernel.clients import standing_client
from fapi_as.kernel.door import settle_refusal
from fapi_as.kernel.messages import EndpointRequest
from fapi_as.kernel.seam import Context
from fapi_as.protocol import sign_in_demand
from fapi_as.protocol.authorization_request import ValidatedAuthorizationRequest
from fapi_as.protocol.authorization_response import AuthorizationFailed
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.decisions import Refuse, recorded_refusal
from fapi_as.protocol.effects import HandleKind, Spend
from fapi_as.protocol.errors import InvalidRequestUri
from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.interaction import Interaction
from fapi_as.protocol.pairwise import subject_for
from fapi_as.protocol.policy import Policy
from fapi_as.protocol.sign_in_demand import SignIn
from fapi_as.protocol.standing import StandingRequest, require_standing
from fapi_as.protocol.userinfo_resource import with_userinfo


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingInteraction:
    """An interaction that may go on in this browser, with the request as it stands now."""

    handle: str = field(repr=False)
    digest: bytes
    request_digest: bytes
    usable_until: int
    request: StandingRequest
    opened_in: bytes | None = None  # the session of that time

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
        opened_in=interaction.session,
    )


async def standing_request(
    context: Context, request: EndpointRequest, validated: ValidatedAuthorizationRequest, request_digest: bytes
) -> StandingRequest:
    """Load what a pushed request is about and check that it still stands.

    Raises:
        ProtocolError: the client or its redirect URI is gone.
        Refused: something else is gone; the request is spent and the client is told.
    """
    client = await standing_client(context, validated.client_id)
    found = [await context.reading.resource(name) for name in validated.resources]
    resources = {resource.resource: resource for resource in found if resource is not None}
    live = with_userinfo(resources, validated.resources, context.policy.issuer)
    try:
        return require_standing(validated, client, live)
    except AuthorizationFailed as error:
        await tell_client(context, request, error, request_digest)


async def require_person(
    context: Context, request: EndpointRequest, browser: Visitor, pending: PendingInteraction
) -> SignedIn | None:
    """Who is signed in here as the request asks for it; None is nobody yet, and the sign-in page is next.

    Raises:
        Refused: no page could change that it is somebody else, or none may be shown; the client is told.
    """
    standing = pending.request
    person = sign_in_of(context, standing.client, browser.signed_in, opened_in=pending.opened_in)
    openid = standing.validated.openid
    error = sign_in_demand.refusal(openid, person, request.now)
    if error is not None:
        await tell_client(context, request, AuthorizationFailed(standing.validated, error), pending.request_digest)
    return None if sign_in_demand.is_needed(openid, person, request.now) else browser.signed_in


def sign_in_of(
    context: Context, client: RegisteredClient, signed_in: SignedIn | None, *, opened_in: bytes | None
) -> SignIn | None:
    """A live session as this client's requests judge it; `opened_in` is the one in which the request was opened."""
    if signed_in is None:
        return None
    return SignIn(
        subject=subject_for(client, signed_in.user.subject, context.pairwise_key),
        username=signed_in.user.username,
        auth_time=signed_in.session.auth_time,
        acr=signed_in.session.acr,
        is_new=signed_in.digest != opened_in,
    )


async def tell_client(
    context: Context, request: EndpointRequest, error: AuthorizationFailed, request_digest: bytes
) -> NoReturn:
    """Complete a request with an error, which the client is told.

    Raises:
        Refused: always.
    """
    await settle_refusal(context, request, authorization_failed(addressed(context, request, error), request_digest))


def authorization_failed(error: AuthorizationFailed, request_digest: bytes) -> Refuse:
    """Tell the client, which completes the request: once (FAPI2-AZ-19)."""
    client_id = error.validated.client_id
    spend = Spend(kind=HandleKind.REQUEST_URI, digest=request_digest)
    recorded = recorded_refusal(error, spend, client_id=client_id)
    used = recorded_refusal(InvalidRequestUri("request_uri was completed at the same time"), client_id=client_id)
    return Refuse(error=error, effects=recorded.effects, lost={spend: used})
