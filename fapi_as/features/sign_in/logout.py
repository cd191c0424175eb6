"""GET and POST /logout: the session ends, for good, for an application that asks, or only to sign in as somebody else.

As `end_session_endpoint` it is where applications send people to sign out (OpenID Connect RP-Initiated Logout 1.0).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from fapi_as.features.sign_in.rules import signed_out
from fapi_as.kernel.browser import (
    SignedIn,
    Visitor,
    cookie_name,
    form_token,
    keep_browser,
    require_form_token,
    require_same_site,
    visitor,
)
from fapi_as.kernel.clients import standing_client
from fapi_as.kernel.interaction import pending_interaction, step_url
from fapi_as.kernel.messages import Cookie, EndpointRequest, Page, SeeOther
from fapi_as.kernel.own_tokens import HintOfAGoneKey, id_token_hint
from fapi_as.kernel.seam import Context, Endpoint, Face
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.client_document import is_document_url
from fapi_as.protocol.decisions import Refuse
from fapi_as.protocol.effects import HandleKind, Keep, Spend
from fapi_as.protocol.id_token import IdTokenHint
from fapi_as.protocol.logout_request import LogoutRequest, destination, parse_logout, require_same_client
from fapi_as.protocol.pairwise import subject_for
from fapi_as.protocol.parameters import Parameters, parse, parse_form
from fapi_as.protocol.redirect_uri import form_action_source
from rs_kit.protocol.http import single

_PURPOSE: Final = "sign_out"


async def confirm(context: Context, request: EndpointRequest) -> Page | SeeOther:
    """Ask first: a link signs nobody out, unless it brings an ID token of who is signed in (LOGO-4).

    With an interaction the person only changes the account.

    Raises:
        ProtocolError: an interaction that is not one of this browser, or a request that is not as it must be.
    """
    browser = await visitor(context, request)
    leaving = await _leaving(context, request, browser, parse(request.query_string))
    person = browser.signed_in
    if person is None:
        return _signed_out(context, leaving)
    if leaving.is_of(context, person):
        return await _end(context, request, person, leaving)
    return Page(
        template="sign_in/logout.html",
        values={
            "action": context.policy.url("/logout"),
            "interaction": leaving.interaction,
            "back": step_url(context.policy, "/consent", leaving.interaction or ""),
            "csrf_token": form_token(context, browser, _PURPOSE, leaving.interaction or ""),
            "username": person.user.username,
            "fields": leaving.asked.fields,
            "client_name": leaving.proved_name,
        },
        form_action=() if leaving.destination is None else (form_action_source(leaving.destination),),
    )


async def sign_out(context: Context, request: EndpointRequest) -> Page | SeeOther:
    """End the session; where an interaction is named, it goes on with the sign-in under another handle (LOG-12).

    A form of an application brings no token of ours, nor the cookie: it is asked as by a link (LOGO-1).

    Raises:
        ProtocolError: no form of ours, an interaction that is not one of this browser, or a request that is not as it
            must be.
    """
    parameters = parse_form(single(request.headers, b"content-type"), request.body)
    fields = parse_logout(parameters).fields
    if fields and not parameters.values.keys() & {"csrf_token", "interaction"}:
        return SeeOther(location=f"{context.policy.url('/logout')}?{urlencode(fields)}")
    require_same_site(context, request)
    browser = await visitor(context, request)
    leaving = await _leaving(context, request, browser, parameters)
    person = browser.signed_in
    if person is None:  # the form came twice, and there is nothing left to end
        return _signed_out(context, leaving)
    require_form_token(context, browser, parameters.get("csrf_token"), _PURPOSE, leaving.interaction or "")
    return await _end(context, request, person, leaving)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaving:
    """Why somebody leaves, and where the browser goes afterwards."""

    interaction: str | None
    asked: LogoutRequest
    hint: IdTokenHint | None = None
    client: RegisteredClient | None = None
    destination: str | None = None

    @property
    def proved_name(self) -> str | None:
        """The application's name; a client_id alone is anybody's word."""
        return None if self.hint is None or self.client is None else self.client.client_name

    def is_of(self, context: Context, person: SignedIn) -> bool:
        """Whether the application has shown that it speaks of who is signed in here."""
        if self.hint is None or self.client is None:
            return False
        return subject_for(self.client, person.user.subject, context.pairwise_key) == self.hint.subject


async def _leaving(context: Context, request: EndpointRequest, browser: Visitor, parameters: Parameters) -> _Leaving:
    interaction = parameters.get("interaction")
    if interaction is not None:
        await pending_interaction(context, request, browser, interaction)
        return _Leaving(interaction=interaction, asked=LogoutRequest())
    asked = parse_logout(parameters)
    hint = _hint(context, asked)
    client_id = require_same_client(asked, hint)
    # a client_id alone is anybody's word, for which no document is fetched
    is_known = client_id is not None and (hint is not None or not is_document_url(client_id))
    client = await standing_client(context, client_id) if is_known and client_id is not None else None
    where = destination(asked, hint, client)
    return _Leaving(interaction=None, asked=asked, hint=hint, client=client, destination=where)


def _hint(context: Context, asked: LogoutRequest) -> IdTokenHint | None:
    """Who is meant, if that can be told: whoever comes after a rotation is asked, and not left signed in (LOGO-2)."""
    if asked.id_token_hint is None:
        return None
    with suppress(HintOfAGoneKey):
        return id_token_hint(context, asked.id_token_hint)
    return None


async def _end(context: Context, request: EndpointRequest, person: SignedIn, leaving: _Leaving) -> Page | SeeOther:
    handle = None if leaving.interaction is None else context.entropy.handle()
    keeps: tuple[Keep, ...] = ()
    if handle is not None:
        keeps = (keep_browser(context.policy, handle, person.session.browser, request.now),)
    session = Spend(kind=HandleKind.SESSION, digest=person.digest)
    outcome = await context.store.commit(signed_out(session, person.session.subject, *keeps), request.stamp)
    if isinstance(outcome, Refuse):  # another tab was first
        return _signed_out(context, leaving)
    return _signed_out(context, leaving, Cookie(name=cookie_name(context.policy), value=handle))


def _signed_out(context: Context, leaving: _Leaving, *cookies: Cookie) -> Page | SeeOther:
    if leaving.interaction is not None:
        return SeeOther(location=step_url(context.policy, "/login", leaving.interaction), cookies=cookies)
    if leaving.destination is not None:
        return SeeOther(location=leaving.destination, cookies=cookies)
    return Page(template="sign_in/signed_out.html", cookies=cookies)


LOGOUT: Final = Endpoint(
    path="/logout",
    face=Face.PAGE,
    methods={"GET": confirm, "POST": sign_out},
    metadata_member="end_session_endpoint",
)
