"""GET /authorize: opens a pushed request in this browser and leads to the next page (RFC 9126 §4)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final
from urllib.parse import urlencode

from fapi_as.features.authorization_code.rules import asked_request, may_begin
from fapi_as.kernel.browser import cookie, keep_browser, stranger, visitor
from fapi_as.kernel.door import settle
from fapi_as.kernel.interaction import sign_in_of, standing_request, step_url, tell_client
from fapi_as.kernel.messages import EndpointRequest, SeeOther
from fapi_as.kernel.seam import Context, Endpoint, Face
from fapi_as.protocol import sign_in_demand
from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from fapi_as.protocol.authorization_request import ValidatedAuthorizationRequest
from fapi_as.protocol.authorization_response import AuthorizationFailed
from fapi_as.protocol.decisions import Issue, Refuse
from fapi_as.protocol.effects import Attempt, HandleKind, Keep, Record
from fapi_as.protocol.errors import TooManyRequests
from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.interaction import Interaction
from fapi_as.protocol.parameters import parse, parse_form
from fapi_as.protocol.policy import Policy, seconds
from fapi_as.protocol.profile import OPENINGS_LIMIT
from rs_kit.protocol.http import single


async def authorize(context: Context, request: EndpointRequest) -> SeeOther:
    """Validate before anything is shown, bind the interaction to the browser, and go on to sign-in or consent.

    Raises:
        ProtocolError: a local page; nothing on the URL says where else to go (OA-AC-4).
        Refused: the request does not stand any more, and the client is told.
    """
    asked = asked_request(parse(request.query_string))
    request_digest = digest_of(asked.request_uri)
    pushed = await context.reading.handle(HandleKind.REQUEST_URI, request_digest)
    validated = may_begin(asked, pushed, request.now, context.policy)
    standing = await standing_request(context, request, validated, request_digest)
    found = await visitor(context, request)
    # one that does not count today, too: it may come back with the clock, and is no new sign-in then (TIM-02)
    session = found.retires.digest if found.retires and found.retires.kind is HandleKind.SESSION else None
    person = sign_in_of(context, standing.client, found.signed_in, opened_in=session)
    error = sign_in_demand.refusal(validated.openid, person, request.now)
    if error is not None:
        await tell_client(context, request, AuthorizationFailed(validated, error), request_digest)
    browser = found if found.browser is not None else stranger(context)
    handle = context.entropy.handle()
    interaction = Interaction(request_digest=request_digest, browser=browser.browser or "", session=session)
    opened = _opened(context, request, handle, interaction, validated)
    if browser is not found:
        kept = keep_browser(context.policy, browser.handle or "", interaction.browser, request.now)
        opened = replace(opened, effects=(kept, *opened.effects))
    await settle(context, request, opened)
    needs_sign_in = sign_in_demand.is_needed(validated.openid, person, request.now)
    return SeeOther(
        location=step_url(context.policy, "/login" if needs_sign_in else "/consent", handle),
        cookies=() if browser is found else (cookie(context.policy, browser.handle or ""),),
    )


async def authorize_by_form(context: Context, request: EndpointRequest) -> SeeOther:
    """OpenID Connect Core §3.1.2.1: the same by POST; another site's form brings no cookie, so it goes on as a link.

    Raises:
        ProtocolError: a local page.
    """
    asked = asked_request(parse_form(single(request.headers, b"content-type"), request.body))
    query = urlencode({"client_id": asked.client_id, "request_uri": asked.request_uri})
    return SeeOther(location=f"{context.policy.url('/authorize')}?{query}")


def _opened(
    context: Context,
    request: EndpointRequest,
    handle: str,
    interaction: Interaction,
    validated: ValidatedAuthorizationRequest,
) -> Issue:
    usable_until = request.now + seconds(context.policy.interaction_lifetime)
    keep = Keep(
        kind=HandleKind.INTERACTION,
        digest=digest_of(handle),
        payload=interaction.to_bytes(),
        usable_until=usable_until,
        delete_after=usable_until,
        client_id=validated.client_id,
    )
    fact = AuditFact(
        event=AuditEvent.AUTHORIZATION_OPENED,
        client_id=validated.client_id,
        resource=" ".join(validated.resources),
        scope=" ".join(validated.scope),
    )
    room = _room(request_digest=interaction.request_digest, policy=context.policy)
    return Issue(
        effects=(room, keep, Record(fact=fact)),
        lost={room: Refuse(error=TooManyRequests("the request was opened too often"))},
    )


def _room(request_digest: bytes, policy: Policy) -> Attempt:
    """Whoever knows a request_uri opens it without a sign-in: what is kept then has an end, and a number (EXH-05)."""
    return Attempt(
        bucket=hashlib.sha256(b"openings of " + request_digest).digest(),
        limit=OPENINGS_LIMIT,
        window_seconds=seconds(policy.request_uri_lifetime),
    )


AUTHORIZE: Final = Endpoint(
    path="/authorize",
    face=Face.PAGE,
    methods={"GET": authorize, "POST": authorize_by_form},
    metadata_member="authorization_endpoint",
)
