"""Whether a sign-in is the one that a request asks for: this person, this recently, in this way (Core §3.1.2)."""

from __future__ import annotations

from dataclasses import dataclass

from fapi_as.protocol.errors import LoginRequired, ProtocolError, UnmetAuthenticationRequirements
from fapi_as.protocol.openid_request import OpenidRequest
from fapi_as.protocol.profile import ACR_OFFERED


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """A live sign-in; `subject` is what the client knows the person by, `is_new` that it came after the request."""

    subject: str
    username: str
    auth_time: int
    acr: str
    is_new: bool


def is_needed(openid: OpenidRequest | None, sign_in: SignIn | None, now: int) -> bool:
    """Whether the person has to sign in before anything else, although somebody may be signed in (OIDC-6, OIDC-8)."""
    if sign_in is None:
        return True
    if openid is None or sign_in.is_new:
        return False
    if openid.wants_sign_in:
        return True
    return openid.max_age is not None and now - sign_in.auth_time > openid.max_age


def refusal(openid: OpenidRequest | None, sign_in: SignIn | None, now: int) -> ProtocolError | None:
    """What the client is told at once, because no page could change it or none may be shown (§3.1.2.6)."""
    if openid is None:
        return None
    offered = ACR_OFFERED if sign_in is None else (sign_in.acr,)
    if openid.acr is not None and not set(openid.acr) & set(offered):  # OIDC-11
        return UnmetAuthenticationRequirements("essential acr")
    if is_needed(openid, sign_in, now):
        return LoginRequired("nobody is signed in as asked") if openid.wants_no_page else None
    if sign_in is None:
        return None
    if openid.subject is not None and openid.subject != sign_in.subject:  # OIDC-13, OIDC-14
        return LoginRequired("somebody else is signed in")
    if openid.wants_no_page and openid.login_hint not in {None, sign_in.username}:  # AUZ-16
        return LoginRequired("somebody else is signed in than the hint names")
    return None
