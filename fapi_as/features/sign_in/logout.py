"""GET and POST /logout: the session ends, for good or only to sign in as somebody else."""

from __future__ import annotations

from typing import Final

from fapi_as.features.sign_in.rules import signed_out
from fapi_as.kernel.browser import (
    cookie_name,
    form_token,
    keep_browser,
    require_form_token,
    require_same_site,
    visitor,
)
from fapi_as.kernel.interaction import pending_interaction, step_url
from fapi_as.kernel.messages import Cookie, EndpointRequest, Page, SeeOther
from fapi_as.kernel.seam import Context, Endpoint, Face
from fapi_as.protocol.decisions import Refuse
from fapi_as.protocol.effects import HandleKind, Spend
from fapi_as.protocol.parameters import parse, parse_form
from rs_kit.protocol.http import single

_PURPOSE: Final = "sign_out"


async def confirm(context: Context, request: EndpointRequest) -> Page | SeeOther:
    """Ask first: a link signs nobody out. With an interaction the person only changes the account.

    Raises:
        ProtocolError: an interaction that is not one of this browser.
    """
    browser = await visitor(context, request)
    interaction = parse(request.query_string).get("interaction")
    if interaction is not None:
        await pending_interaction(context, request, browser, interaction)
    if browser.signed_in is None:
        return _signed_out(context, interaction)
    return Page(
        template="sign_in/logout.html",
        values={
            "action": context.policy.url("/logout"),
            "interaction": interaction,
            "back": step_url(context.policy, "/consent", interaction or ""),
            "csrf_token": form_token(context, browser, _PURPOSE, interaction or ""),
            "username": browser.signed_in.user.username,
        },
    )


async def sign_out(context: Context, request: EndpointRequest) -> Page | SeeOther:
    """End the session; where an interaction is named, it goes on with the sign-in under another handle (LOG-12).

    Raises:
        ProtocolError: no form of ours, or an interaction that is not one of this browser.
    """
    require_same_site(context, request)
    parameters = parse_form(single(request.headers, b"content-type"), request.body)
    browser = await visitor(context, request)
    interaction = parameters.get("interaction")
    if interaction is not None:
        await pending_interaction(context, request, browser, interaction)
    person = browser.signed_in
    if person is None:  # the form came twice, and there is nothing left to end
        return _signed_out(context, interaction)
    require_form_token(context, browser, parameters.get("csrf_token"), _PURPOSE, interaction or "")
    handle = None if interaction is None else context.entropy.handle()
    keeps = () if handle is None else (keep_browser(context.policy, handle, person.session.browser, request.now),)
    session = Spend(kind=HandleKind.SESSION, digest=person.digest)
    outcome = await context.store.commit(signed_out(session, person.session.subject, *keeps), request.stamp)
    if isinstance(outcome, Refuse):  # another tab was first
        return _signed_out(context, interaction)
    return _signed_out(context, interaction, Cookie(name=cookie_name(context.policy), value=handle))


def _signed_out(context: Context, interaction: str | None, *cookies: Cookie) -> Page | SeeOther:
    if interaction is None:
        return Page(template="sign_in/signed_out.html", cookies=cookies)
    return SeeOther(location=step_url(context.policy, "/login", interaction), cookies=cookies)


LOGOUT: Final = Endpoint(path="/logout", face=Face.PAGE, methods={"GET": confirm, "POST": sign_out})
