"""GET and POST /consent: the page that asks, and the one decision that an answer becomes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from fapi_as.features.consent.rules import (
    ConsentFacts,
    DrawnHandles,
    answered,
    approve,
    by_an_earlier_yes,
    deny,
    not_remembered,
    remember,
    remembered_as,
    remembered_until,
    shown_digest,
    shown_values,
)
from fapi_as.kernel.authorization_answer import addressed, location
from fapi_as.kernel.browser import (
    SignedIn,
    Visitor,
    form_token,
    require_form_token,
    require_same_site,
    stays_signed_in,
    touch,
    visitor,
)
from fapi_as.kernel.door import settle
from fapi_as.kernel.interaction import (
    PendingInteraction,
    authorization_failed,
    pending_interaction,
    require_person,
    step_url,
    tell_client,
)
from fapi_as.kernel.messages import EndpointRequest, Page, SeeOther
from fapi_as.kernel.seam import Context, Endpoint, Face
from fapi_as.protocol.authorization_response import AuthorizationFailed, success
from fapi_as.protocol.decisions import Refuse
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.errors import AccessDenied, StorageUnavailable
from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.languages import preferred_languages
from fapi_as.protocol.parameters import parse, parse_form
from fapi_as.protocol.redirect_uri import form_action_source
from rs_kit.protocol.http import single

_PURPOSE: Final = "consent"


async def ask(context: Context, request: EndpointRequest) -> Page | SeeOther:
    """Show what is asked, every time; only a client that wants no page is answered from an earlier yes (OIDC-5).

    Raises:
        ProtocolError: no interaction of this browser.
        Refused: the client is told what it could not have without a page, or that somebody else is signed in.
    """
    browser = await visitor(context, request)
    pending = await pending_interaction(context, request, browser, parse(request.query_string).get("interaction"))
    person = await require_person(context, request, browser, pending)
    if person is None or not await stays_signed_in(context, request, person):
        return SeeOther(location=step_url(context.policy, "/login", pending.handle))
    openid = pending.request.validated.openid
    if openid is not None and openid.wants_no_page:
        error = AuthorizationFailed(pending.request.validated, not_remembered(openid))
        return await _without_a_page(context, request, person, pending, error)
    return _page(context, browser, pending, _shown(context, request, person, pending))


async def conclude(context: Context, request: EndpointRequest) -> SeeOther:
    """Take the answer of the person who was asked, in the browser where it was asked, to what was shown.

    Raises:
        ProtocolError: no interaction of this browser, or no form of ours.
        Refused: something changed, or another tab was first; no code.
    """
    require_same_site(context, request)
    parameters = parse_form(single(request.headers, b"content-type"), request.body)
    browser = await visitor(context, request)
    pending = await pending_interaction(context, request, browser, parameters.get("interaction"))
    shown = parameters.get("shown") or ""
    require_form_token(context, browser, parameters.get("csrf_token"), _PURPOSE, pending.handle, shown)
    answer = answered(parameters)
    person = await require_person(context, request, browser, pending)
    if person is None:
        return SeeOther(location=step_url(context.policy, "/login", pending.handle))
    shown_today = shown_digest(_shown(context, request, person, pending))
    facts = await _facts(context, request, person, pending, shown_today)
    if answer == "deny":
        denied = AuthorizationFailed(pending.request.validated, AccessDenied("the person said no"))
        told = SeeOther(location=location(context, request, denied.response))
        await settle(context, request, deny(facts))
        return told
    if shown != shown_today:
        return SeeOther(location=step_url(context.policy, "/consent", pending.handle))  # ask anew, with today's words
    return await _approve(context, request, facts)


async def _facts(
    context: Context, request: EndpointRequest, person: SignedIn, pending: PendingInteraction, shown: str
) -> ConsentFacts:
    digest = remembered_as(person.session.subject, person.session.user_version, shown)
    kept = await context.reading.handle(HandleKind.CONSENT, digest)
    return ConsentFacts(
        request=pending.request,
        session=person.session,
        touch=touch(context.policy, person, request.now),
        spends=pending.spends,
        remembered_as=digest,
        remembered_until=remembered_until(kept, request.now),
    )


async def _without_a_page(
    context: Context,
    request: EndpointRequest,
    person: SignedIn,
    pending: PendingInteraction,
    error: AuthorizationFailed,
) -> SeeOther:
    shown = shown_digest(_shown(context, request, person, pending))
    facts = await _facts(context, request, person, pending, shown)
    if not facts.is_remembered:
        await tell_client(context, request, error, pending.request_digest)
    ended = authorization_failed(addressed(context, request, error), pending.request_digest)
    return await _approve(context, request, facts, ended)


async def _approve(
    context: Context, request: EndpointRequest, facts: ConsentFacts, ended: Refuse | None = None
) -> SeeOther:
    code = context.entropy.handle()
    drawn = DrawnHandles(code_digest=digest_of(code), authorization_id=context.entropy.identifier())
    allowed = SeeOther(location=location(context, request, success(facts.request.validated, code)))
    approved = approve(facts, drawn, request.now, context.policy)
    if ended is not None:
        approved = by_an_earlier_yes(approved, facts, ended)
    await settle(context, request, approved)
    if facts.request.validated.openid is not None and facts.may_be_remembered and not facts.is_remembered:
        # in a decision of its own: whoever allows the same in two tabs at once is not refused for that
        with suppress(StorageUnavailable):
            await context.store.commit(remember(facts, drawn, request.now, context.policy), request.stamp)
    return allowed


def _shown(
    context: Context, request: EndpointRequest, person: SignedIn, pending: PendingInteraction
) -> Mapping[str, object]:
    fields = [value.decode("latin-1") for name, value in request.headers if name == b"accept-language"]
    languages = preferred_languages(", ".join(fields))
    return shown_values(pending.request, person.user.username, context.policy, languages)


def _page(context: Context, browser: Visitor, pending: PendingInteraction, values: Mapping[str, object]) -> Page:
    shown = shown_digest(values)
    return Page(
        template="consent/consent.html",
        values={
            **values,
            "action": context.policy.url("/consent"),
            "interaction": pending.handle,
            "shown": shown,
            "csrf_token": form_token(context, browser, _PURPOSE, pending.handle, shown),
            "change_account": step_url(context.policy, "/logout", pending.handle),
        },
        form_action=(form_action_source(pending.request.validated.redirect_uri),),
    )


CONSENT: Final = Endpoint(path="/consent", face=Face.PAGE, methods={"GET": ask, "POST": conclude})
