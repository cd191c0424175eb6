"""GET and POST /login: the form, the count, the hash, and a new session."""

from __future__ import annotations

from typing import Final, NamedTuple

from fapi_as.features.sign_in.rules import (
    FormUsed,
    SignInFacts,
    TypedCredentials,
    account_bucket,
    count_attempt,
    decide_sign_in,
    give_back,
    signed_in,
    typed_credentials,
)
from fapi_as.kernel.browser import (
    Visitor,
    cookie,
    form_once,
    form_sender,
    form_token,
    is_session,
    keep_session,
    require_form_token,
    require_same_site,
    session_handle,
    visitor,
)
from fapi_as.kernel.door import settle
from fapi_as.kernel.interaction import PendingInteraction, pending_interaction, require_person, step_url
from fapi_as.kernel.messages import EndpointRequest, Page, SeeOther
from fapi_as.kernel.seam import Context, Endpoint, Face
from fapi_as.protocol.decisions import Decision, Refuse
from fapi_as.protocol.errors import StorageUnavailable
from fapi_as.protocol.parameters import parse, parse_form
from fapi_as.protocol.redirect_uri import form_action_source
from rs_kit.protocol.http import single

_PURPOSE: Final = "login"
_UNAUTHORIZED: Final = 401


async def show(context: Context, request: EndpointRequest) -> Page | SeeOther:
    """Ask who the person is; a live session that the request accepts goes on to consent.

    Raises:
        ProtocolError: no interaction of this browser.
        Refused: the client is told that nobody, or somebody else, is signed in.
    """
    browser = await visitor(context, request)
    pending = await pending_interaction(context, request, browser, parse(request.query_string).get("interaction"))
    if await require_person(context, request, browser, pending) is not None:
        return SeeOther(location=step_url(context.policy, "/consent", pending.handle))
    return _form(context, browser, pending)


async def sign_in(context: Context, request: EndpointRequest) -> Page | SeeOther:
    """Count, hash, decide; only then a session.

    Raises:
        ProtocolError: no interaction of this browser, no form of ours, or too many attempts.
        StorageUnavailable: nobody learnt anything, and the attempt does not count.
    """
    require_same_site(context, request)
    parameters = parse_form(single(request.headers, b"content-type"), request.body)
    browser = await form_sender(context, request)
    pending = await pending_interaction(context, request, browser, parameters.get("interaction"))
    token = parameters.get("csrf_token") or ""
    require_form_token(context, browser, token, _PURPOSE, pending.handle)
    typed = typed_credentials(parameters)
    await context.owed.pay(context.store, request.now)  # first: it may be this account's
    await settle(context, request, count_attempt(typed, request.source, pending.request.client.client_id))
    try:
        return await _counted(context, request, _SentForm(browser, pending, typed, token))
    except StorageUnavailable:
        context.owed.add(give_back(typed, request.source), request.stamp)
        raise


class _SentForm(NamedTuple):
    """A form of ours that came back, from the browser that was shown it."""

    browser: Visitor
    pending: PendingInteraction
    typed: TypedCredentials
    token: str


async def _counted(context: Context, request: EndpointRequest, form: _SentForm) -> Page | SeeOther:
    browser, pending, typed, token = form
    user = await context.reading.user_named(typed.username)
    facts = SignInFacts(
        user=user,
        password_matches=await context.passwords.matches(user.password_hash if user else None, typed.password),
        client_id=pending.request.client.client_id,
        browser=browser.browser or "",
        retires=browser.retires,
        form=form_once(token, pending.usable_until),
    )
    handle = session_handle(context, browser, token, typed.username)
    outcome = await context.store.commit(_decision(context, request, facts, typed, handle), request.stamp)
    onward = step_url(context.policy, "/consent", pending.handle)
    if isinstance(outcome, Refuse) and not isinstance(outcome.error, FormUsed):
        return _form(context, browser, pending, problem=outcome.error.description)
    # a form that came twice is told again what the first answer said; where another tab was first, it has the cookie
    told = not isinstance(outcome, Refuse) or await is_session(context, handle, request.now)
    return SeeOther(location=onward, cookies=(cookie(context.policy, handle),) if told else ())


def _decision(
    context: Context, request: EndpointRequest, facts: SignInFacts, typed: TypedCredentials, handle: str
) -> Decision:
    session = decide_sign_in(facts, request.now, context.policy)
    if isinstance(session, Refuse):
        return session
    keep = keep_session(context.policy, handle, session, request.now)
    return signed_in(facts, session, keep, account_bucket(typed.username))


def _form(context: Context, browser: Visitor, pending: PendingInteraction, *, problem: str | None = None) -> Page:
    asked = pending.request
    return Page(
        template="sign_in/login.html",
        status=200 if problem is None else _UNAUTHORIZED,
        values={
            "action": context.policy.url("/login"),
            "interaction": pending.handle,
            "csrf_token": form_token(context, browser, _PURPOSE, pending.handle),
            "client_name": asked.client.client_name,
            "problem": problem,
            "login_hint": (asked.validated.openid and asked.validated.openid.login_hint) or "",
        },
        # the redirects after this form may end at the client, when the request falls in between
        form_action=(form_action_source(asked.validated.redirect_uri),),
    )


LOGIN: Final = Endpoint(path="/login", face=Face.PAGE, methods={"GET": show, "POST": sign_in})
