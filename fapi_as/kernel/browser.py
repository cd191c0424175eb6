"""The browser behind a page request: its cookie, who is signed in there, and whether a form is one of ours."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from fapi_as.kernel.messages import Cookie, EndpointRequest
from fapi_as.kernel.seam import Context
from fapi_as.protocol.browser_session import Session
from fapi_as.protocol.decisions import Issue, Refuse
from fapi_as.protocol.effects import HandleKind, Keep, Spend, TakeOnce, Touch
from fapi_as.protocol.errors import Forbidden, InvalidRequest
from fapi_as.protocol.handles import KeptHandle, digest_of
from fapi_as.protocol.policy import Policy, seconds
from fapi_as.protocol.user import RegisteredUser
from rs_kit.protocol import base64url

_COOKIE: Final = "__Host-fapi-as"
_DEFAULT_TENANT: Final = "default"
_HANDLE: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z")
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_TOUCH_SECONDS: Final = 60  # a page view that gains less is not worth a write


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """A live session and its live user; `ends_at` is when it ends without further activity."""

    digest: bytes
    session: Session
    user: RegisteredUser
    ends_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """A browser: the handle in its cookie, what its interactions are bound to, and who is signed in, if anybody.

    `retires` ends the handle when a sign-in puts another in its place.
    """

    handle: str | None = field(default=None, repr=False)
    browser: str | None = None
    retires: Spend | None = None
    signed_in: SignedIn | None = None


async def visitor(context: Context, request: EndpointRequest) -> Visitor:
    """Read the cookie; whatever is wrong with it, the browser is a stranger's then, never an error (SES-12).

    Raises:
        StorageUnavailable: the store cannot answer.
    """
    handle, kept = await _kept(context, request)
    if (
        handle is None or kept is None or kept.spent
    ):  # SES-02: an id that was replaced is dead, and so is an invented one
        return Visitor()
    retires = Spend(kind=kept.kind, digest=kept.digest)
    if kept.kind is HandleKind.BROWSER:
        if request.now >= kept.usable_until:
            return Visitor()
        return Visitor(handle=handle, browser=_binding(kept), retires=retires)
    signed_in = await _signed_in(context, kept, request.now)
    return Visitor(handle=handle, browser=_binding(kept), retires=retires, signed_in=signed_in)


async def form_sender(context: Context, request: EndpointRequest) -> Visitor:
    """The browser that sends a sign-in form, also when the success of that form has retired its handle.

    A retired handle opens no page. It is still good to send the very same form again, with the password, when the
    answer was lost; what that gives is the session that the first answer gave (`session_handle`).

    Raises:
        StorageUnavailable: the store cannot answer.
    """
    handle, kept = await _kept(context, request)
    if handle is None or kept is None or not kept.spent:
        return await visitor(context, request)
    return Visitor(handle=handle, browser=_binding(kept), retires=Spend(kind=kept.kind, digest=kept.digest))


async def _kept(context: Context, request: EndpointRequest) -> tuple[str | None, KeptHandle | None]:
    handle = _cookie_value(request, cookie_name(context.policy))
    if handle is None:
        return None, None
    digest = digest_of(handle)
    session = await context.reading.handle(HandleKind.SESSION, digest)
    return handle, session or await context.reading.handle(HandleKind.BROWSER, digest)


def _binding(kept: KeptHandle) -> str:
    return kept.payload.decode() if kept.kind is HandleKind.BROWSER else Session.from_bytes(kept.payload).browser


async def _signed_in(context: Context, kept: KeptHandle, now: int) -> SignedIn | None:
    session = Session.from_bytes(kept.payload)
    user = await context.reading.user(session.subject)
    if user is None or not session.is_live(kept, user, now):
        return None
    return SignedIn(digest=kept.digest, session=session, user=user, ends_at=kept.usable_until)


def stranger(context: Context) -> Visitor:
    """A browser that we have not seen: a fresh handle, which counts from when it is kept."""
    handle = context.entropy.handle()
    return Visitor(handle=handle, browser=digest_of(handle).hex())


def keep_browser(policy: Policy, handle: str, browser: str, now: int) -> Keep:
    """The effect that makes a fresh handle one of a browser in which nobody is signed in."""
    usable_until = now + seconds(policy.session_lifetime)
    return Keep(
        kind=HandleKind.BROWSER,
        digest=digest_of(handle),
        payload=browser.encode(),
        usable_until=usable_until,
        delete_after=_delete_after(policy, usable_until),
    )


def session_handle(context: Context, browser: Visitor, token: str, username: str) -> str:
    """The handle of the session that a form opens: another for every form, and for one form always the same.

    A form counts once, so nobody but who sends it twice can be told the same handle twice (SES-11).
    """
    return _seal(context, browser, token, ("session", username))


async def is_session(context: Context, handle: str, now: int) -> bool:
    """Whether somebody is signed in under this handle.

    Raises:
        StorageUnavailable: the store cannot answer.
    """
    kept = await context.reading.handle(HandleKind.SESSION, digest_of(handle))
    return kept is not None and await _signed_in(context, kept, now) is not None


def cookie(policy: Policy, handle: str) -> Cookie:
    """The one cookie; `__Host-` forces Path=/, so its name carries the tenant (product.md)."""
    return Cookie(name=cookie_name(policy), value=handle)


def cookie_name(policy: Policy) -> str:
    """The name of this tenant's cookie."""
    return _COOKIE if policy.tenant == _DEFAULT_TENANT else f"{_COOKIE}-{policy.tenant}"


def _cookie_value(request: EndpointRequest, name: str) -> str | None:
    found = [
        value.strip()
        for header, line in request.headers
        if header == b"cookie"
        for key, separator, value in (pair.partition("=") for pair in line.decode("latin-1").split(";"))
        if separator and key.strip() == name
    ]
    if len(found) != 1 or _HANDLE.match(found[0]) is None:  # two of one name: nobody can tell which is ours
        return None
    return found[0]


def keep_session(policy: Policy, handle: str, session: Session, now: int) -> Keep:
    """The effect that makes a fresh handle a session."""
    usable_until = session.usable_until(now, policy.session_idle)
    return Keep(
        kind=HandleKind.SESSION,
        digest=digest_of(handle),
        payload=session.to_bytes(),
        usable_until=usable_until,
        delete_after=_delete_after(policy, usable_until),
        subject=session.subject,
    )


def touch(policy: Policy, signed_in: SignedIn, now: int) -> Touch:
    """The effect of activity: the idle time starts again; lost when the session has ended (LOG-14)."""
    usable_until = signed_in.session.usable_until(now, policy.session_idle)
    return Touch(
        kind=HandleKind.SESSION,
        digest=signed_in.digest,
        usable_until=usable_until,
        delete_after=_delete_after(policy, usable_until),
    )


def _delete_after(policy: Policy, usable_until: int) -> int:
    # an interaction may outlive the session in which it began: the row still tells to which browser it belongs
    return usable_until + seconds(policy.interaction_lifetime)


async def stays_signed_in(context: Context, request: EndpointRequest, signed_in: SignedIn) -> bool:
    """Note activity; whether the session is still there after that.

    Raises:
        StorageUnavailable: nothing was changed.
    """
    effect = touch(context.policy, signed_in, request.now)
    if effect.usable_until - signed_in.ends_at < _TOUCH_SECONDS:
        return True
    ended = Refuse(error=InvalidRequest("the session has ended"))
    outcome = await context.store.commit(Issue(effects=(effect,), lost={effect: ended}), request.stamp)
    return isinstance(outcome, Issue)


def require_same_site(context: Context, request: EndpointRequest) -> None:
    """Refuse a form that another site sent, as far as the browser tells (LOG-15: the second layer).

    Our pages have `Referrer-Policy: no-referrer`, so browsers send `Origin: null` with our own forms, too (Fetch §3.2).

    Raises:
        Forbidden: it says cross-site, or another origin (SES-05).
    """
    told = {name: value for name, value in request.headers if name in {b"sec-fetch-site", b"origin"}}
    site, origin = told.get(b"sec-fetch-site"), told.get(b"origin")
    if site is not None and site != b"same-origin":
        raise Forbidden("sec-fetch-site")
    if origin not in {None, b"null", _own_origin(context.policy)}:
        raise Forbidden("origin")


def _own_origin(policy: Policy) -> bytes:
    parts = urlsplit(policy.issuer)
    port = "" if parts.port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f":{parts.port}"
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}".encode()


def form_token(context: Context, browser: Visitor, *bound_to: str) -> str:
    """A token for one form in one browser session, fresh for every page (LOG-15, LOG-16).

    `bound_to` is what the form is about: its purpose, the interaction, what it shows.
    """
    fresh = context.entropy.identifier()
    return f"{fresh}.{_seal(context, browser, fresh, bound_to)}"


def require_form_token(context: Context, browser: Visitor, token: str | None, *bound_to: str) -> None:
    """Accept a form of ours.

    Raises:
        Forbidden: no token, or one of another session, interaction or form (SES-01).
    """
    fresh, _, seal = (token or "").partition(".")
    if not hmac.compare_digest(seal.encode(), _seal(context, browser, fresh, bound_to).encode()):
        raise Forbidden("form token")


def form_once(token: str, until: int) -> TakeOnce:
    """The effect that uses a form up, for forms that may succeed only once (SES-11)."""
    return TakeOnce(namespace="form", digest=digest_of(token), until=until)


def _seal(context: Context, browser: Visitor, fresh: str, bound_to: tuple[str, ...]) -> str:
    if browser.handle is None:
        raise Forbidden("no browser session")
    parts = (digest_of(browser.handle).hex(), fresh, *bound_to)
    message = b"".join(len(part.encode()).to_bytes(4) + part.encode() for part in parts)
    return base64url.encode(hmac.new(context.browser_key, message, hashlib.sha256).digest())
