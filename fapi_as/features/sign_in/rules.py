"""How often somebody may try and what a success changes: pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import ClassVar, Final

from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from fapi_as.protocol.browser_session import Session
from fapi_as.protocol.decisions import Decision, Issue, Refuse, recorded_refusal
from fapi_as.protocol.effects import (
    Attempt,
    Effect,
    Forget,
    GiveBack,
    Keep,
    Record,
    Require,
    Required,
    Spend,
    TakeOnce,
)
from fapi_as.protocol.errors import InvalidRequest, ProtocolError, TooManyRequests
from fapi_as.protocol.local_user import PASSWORD_MAXIMUM
from fapi_as.protocol.parameters import Parameters
from fapi_as.protocol.policy import Policy, seconds
from fapi_as.protocol.profile import (
    ACR_PASSWORD,
    SIGN_IN_ACCOUNT_WINDOW,
    SIGN_IN_ATTEMPTS_PER_ACCOUNT,
    SIGN_IN_ATTEMPTS_PER_SOURCE,
    SIGN_IN_SOURCE_WINDOW,
)
from fapi_as.protocol.source import site_of
from fapi_as.protocol.user import RegisteredUser

_USERNAME_LIMIT: Final = 256  # characters


class WrongCredentials(ProtocolError):
    """One sentence for a wrong password, an unknown user and a disabled one (SES-08)."""

    error: ClassVar[str] = "access_denied"
    public: ClassVar[str] = "the user name or the password is not right"


class FormUsed(ProtocolError):
    """The same form came twice and the first one has succeeded (SES-11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedCredentials:
    """What a person typed, within limits; the name in the one spelling that is registered."""

    username: str
    password: str = field(repr=False)


def typed_credentials(parameters: Parameters) -> TypedCredentials:
    """Read the form before anything costs time (SES-13).

    Raises:
        InvalidRequest: a field is empty or longer than anybody's.
    """
    username, password = parameters.require("username"), parameters.require("password")
    if len(username) > _USERNAME_LIMIT or len(password) > PASSWORD_MAXIMUM:
        raise InvalidRequest("credentials are too long", "the user name or the password is too long")
    # ASCII letters only: a look-alike that folds to ASCII is another name, and not a second bucket of the same one
    return TypedCredentials(username=username.strip().encode().lower().decode(), password=password)


def count_attempt(typed: TypedCredentials, source: str, client_id: str) -> Issue:
    """What is committed before a password is hashed, so that guesses at the same time count, too (LOG-11).

    The source counts even when the account is refused; the account is a name, whether it exists or not.
    """
    of_source = Attempt(
        bucket=source_bucket(source),
        limit=SIGN_IN_ATTEMPTS_PER_SOURCE,
        window_seconds=seconds(SIGN_IN_SOURCE_WINDOW),
    )
    of_account = Attempt(
        bucket=account_bucket(typed.username),
        limit=SIGN_IN_ATTEMPTS_PER_ACCOUNT,
        window_seconds=seconds(SIGN_IN_ACCOUNT_WINDOW),
    )
    # without a fact of its own: the source is a stranger, and the door tells of it within its budget
    source_refused = Refuse(error=TooManyRequests("attempts of this source"))
    account_refused = recorded_refusal(TooManyRequests("attempts at this account"), of_source, client_id=client_id)
    fact = AuditFact(event=AuditEvent.SIGN_IN_ATTEMPTED, client_id=client_id)
    return Issue(
        effects=(of_source, of_account, Record(fact=fact)),
        lost={
            of_source: source_refused,
            of_account: Refuse(
                error=account_refused.error, effects=account_refused.effects, lost={of_source: source_refused}
            ),
        },
    )


def give_back(typed: TypedCredentials, source: str) -> Issue:
    """What is committed when a counted attempt ended in 503: it told nobody whether the password was right."""
    buckets = (source_bucket(source), account_bucket(typed.username))
    return Issue(effects=tuple(GiveBack(bucket=bucket) for bucket in buckets))


def source_bucket(source: str) -> bytes:
    """Where the attempts from one place are counted."""
    return _bucket("source", site_of(source))


def account_bucket(username: str) -> bytes:
    """Where the attempts at one name are counted."""
    return _bucket("account", username)


def _bucket(kind: str, name: str) -> bytes:
    return hashlib.sha256(f"sign_in:{kind}:{name}".encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInFacts:
    """What is known when the password was compared; `retires` ends the handle that the browser has had so far."""

    user: RegisteredUser | None
    password_matches: bool
    client_id: str
    browser: str
    retires: Spend | None
    form: TakeOnce


def decide_sign_in(facts: SignInFacts, now: int, policy: Policy) -> Session | Refuse:
    """Whether the person may come in; each guard has its private reason, the page has one sentence."""
    user = facts.user
    if user is None:
        return recorded_refusal(WrongCredentials("unknown user"), client_id=facts.client_id)
    if not facts.password_matches:
        return recorded_refusal(WrongCredentials("wrong password"), client_id=facts.client_id)
    if user.disabled:  # judged after the password, which costs the same time
        return recorded_refusal(WrongCredentials("user is disabled"), client_id=facts.client_id)
    return Session(
        subject=user.subject,
        user_version=user.version,
        auth_time=now,
        acr=ACR_PASSWORD,
        browser=facts.browser,
        ends_at=now + seconds(policy.session_lifetime),
    )


def signed_in(facts: SignInFacts, session: Session, keep: Keep, account: bytes) -> Decision:
    """A fresh session id replaces whatever the browser had (LOG-12, SES-02); the form is used up (SES-11)."""
    client_id = facts.client_id
    live = Require(required=Required.USER, identifier=session.subject, version=session.user_version)
    used = recorded_refusal(FormUsed("the form came twice"), client_id=client_id)
    effects: tuple[Effect, ...] = (facts.form, live)
    lost: dict[Effect, Refuse] = {
        facts.form: used,
        live: recorded_refusal(WrongCredentials("the user changed"), client_id=client_id),
    }
    if facts.retires is not None:
        effects, lost[facts.retires] = (*effects, facts.retires), used
    fact = AuditFact(event=AuditEvent.SIGNED_IN, client_id=client_id, subject=session.subject)
    return Issue(effects=(*effects, keep, Forget(bucket=account), Record(fact=fact)), lost=lost)


def signed_out(session: Spend, subject: str, *keeps: Keep) -> Issue:
    """The session ends; `keeps` is the handle with which the browser goes on when only the account changes."""
    ended = recorded_refusal(InvalidRequest("the session has ended"))
    fact = AuditFact(event=AuditEvent.SIGNED_OUT, subject=subject)
    return Issue(effects=(session, *keeps, Record(fact=fact)), lost={session: ended})
