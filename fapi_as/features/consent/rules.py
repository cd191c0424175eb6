"""What is shown, what may be answered, and what an answer changes: pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from fapi_as.features.consent.client_words import client_words, is_assured
from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from fapi_as.protocol.authorization_request import AuthorizationGrant
from fapi_as.protocol.browser_session import Session
from fapi_as.protocol.decisions import Issue, Refuse, recorded_refusal
from fapi_as.protocol.effects import Effect, HandleKind, Keep, Open, Record, Require, Required, Spend, Touch
from fapi_as.protocol.errors import (
    ConsentRequired,
    InvalidRequest,
    InvalidRequestUri,
    LoginRequired,
    ProtocolError,
)
from fapi_as.protocol.handles import KeptHandle
from fapi_as.protocol.openid_claims import IDENTITY_CLAIMS, claims_of_scope
from fapi_as.protocol.openid_request import OpenidRequest
from fapi_as.protocol.parameters import Parameters
from fapi_as.protocol.policy import Policy, seconds
from fapi_as.protocol.standing import StandingRequest
from fapi_as.protocol.userinfo_resource import IDENTITY_SCOPES, OFFLINE_ACCESS

_FIELDS: Final = frozenset({"interaction", "csrf_token", "shown", "decision"})
_OF_CLIENTS: Final = frozenset({Required.CLIENT, Required.APPROVER, Required.DOCUMENT})
_ANSWERS: Final = frozenset({"approve", "deny"})
_UNITS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def answered(parameters: Parameters) -> str:
    """`approve` or `deny`; the form grants what was pushed and can add nothing to it (CON-01).

    Raises:
        InvalidRequest: another answer, or a field that no page of ours has.
    """
    if set(parameters.values) - _FIELDS or parameters.resources:
        raise InvalidRequest("a field that the form does not have")
    decision = parameters.require("decision")
    if decision not in _ANSWERS:
        raise InvalidRequest("decision")
    return decision


def access_duration(request: StandingRequest, policy: Policy) -> timedelta:
    """How long the client can use what it is given without asking again; a refresh token is the longest."""
    limits = request.client.limits
    lifetimes = [
        _at_most(resource.access_token_lifetime or policy.access_token_lifetime, limits.access_token_seconds)
        for resource in request.resources
    ]
    refreshed = [policy.refresh_token_lifetime] if OFFLINE_ACCESS in request.validated.scope else []
    if "refresh_token" in request.client.grant_types:
        refreshed += [
            resource.refresh_token_lifetime or policy.refresh_token_lifetime
            for resource in request.resources
            if resource.refresh_tokens
        ]
    return max(lifetimes + [_at_most(lifetime, limits.refresh_token_seconds) for lifetime in refreshed])


def _at_most(lifetime: timedelta, limit: int | None) -> timedelta:
    """What the client's approval leaves of a lifetime."""
    return lifetime if limit is None else min(lifetime, timedelta(seconds=limit))


def shown_values(
    request: StandingRequest, username: str, policy: Policy, languages: tuple[str, ...] = ()
) -> Mapping[str, object]:
    """Everything that a person decides on, in the page's words (FAPI2-AZ-16)."""
    parts = urlsplit(request.validated.redirect_uri)
    return {
        **client_words(request.client, request.validated.redirect_uri, languages),
        "redirect_host": parts.netloc,
        "redirects_to_this_device": parts.scheme == "http",  # only loopback literals may be http (FAPI2-AZ-8)
        "username": username,
        "duration": in_words(access_duration(request, policy)),
        "resources": [
            {
                "name": resource.resource_name,
                "uri": resource.resource,
                "scopes": [{"value": value, "words": resource.scopes[value]} for value in request.scopes_of(resource)],
            }
            for resource in request.resources
            if not resource.built_in
        ],
        "identity": _identity_lines(request.validated.openid),
    }


def _identity_lines(openid: OpenidRequest | None) -> list[dict[str, str]]:
    """What the client would learn about the person, by scope and by claim, each thing once (OIDC-21, OIDC-52)."""
    if openid is None:
        return []
    known = claims_of_scope(openid.scope)
    claims = dict.fromkeys((*openid.id_token_claims, *openid.userinfo_claims))
    return [
        *({"value": value, "words": IDENTITY_SCOPES[value]} for value in openid.scope),
        *({"value": name, "words": IDENTITY_CLAIMS[name]} for name in claims if name not in known),
    ]


def shown_digest(shown: Mapping[str, object]) -> str:
    """What the form carries so that nobody approves other words than those that were on the page."""
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def in_words(duration: timedelta) -> str:
    """The largest unit that fits, rounded down: `30 days`, `5 minutes`."""
    left = seconds(duration)
    for unit, size in _UNITS:
        if left >= size:
            return f"{left // size} {unit}{'' if left // size == 1 else 's'}"
    return "a moment"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentFacts:
    """The person, the request as it stands, and the effects of the browser's side of it.

    `spends` are the pushed request and the interaction, `touch` holds the session to be still there; under
    `remembered_as` an earlier yes to the same question lies, if it does, and counts before `remembered_until`.
    """

    request: StandingRequest
    session: Session
    touch: Touch
    spends: tuple[Spend, Spend]
    remembered_as: bytes
    remembered_until: int | None = None

    @property
    def is_remembered(self) -> bool:
        """Whether the person said yes to this before, and nothing has ended it."""
        return self.remembered_until is not None and self.may_be_remembered

    @property
    def may_be_remembered(self) -> bool:
        """Whether a yes may speak for the next time, too."""
        return is_assured(self.request.client, self.request.validated.redirect_uri)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnHandles:
    """The random strings that an approval needs: the code's digest and the name of its family."""

    code_digest: bytes
    authorization_id: str


def remembered_as(subject: str, user_version: int, shown: str) -> bytes:
    """Under what an answer is remembered: this person's, with today's password, to exactly these words."""
    parts = (subject, str(user_version), shown)
    return hashlib.sha256(b"".join(len(part.encode()).to_bytes(4) + part.encode() for part in parts)).digest()


def remember(facts: ConsentFacts, drawn: DrawnHandles, now: int, policy: Policy) -> Issue:
    """The yes, for as long as what it opened may be used: whatever ends that ends this, too (OIDC-5)."""
    ends_at = _ends_at(facts.request, now, policy)
    keep = Keep(
        kind=HandleKind.CONSENT,
        digest=facts.remembered_as,
        payload=b"{}",
        usable_until=ends_at,
        delete_after=ends_at,
        client_id=facts.request.client.client_id,
        subject=facts.session.subject,
        authorization_id=drawn.authorization_id,
    )
    known = Refuse(error=InvalidRequest("remembered already"))
    return Issue(effects=(keep,), lost={keep: known})


def remembered_until(kept: KeptHandle | None, now: int) -> int | None:
    """The end of an earlier yes that nothing has ended so far."""
    if kept is None or kept.spent or kept.revoked or now >= kept.usable_until:
        return None
    return kept.usable_until


def not_remembered(openid: OpenidRequest) -> ProtocolError:
    """Why there is no answer without a page.

    Whoever may know nothing about the person learns from no guess of its own whether it was right (AUZ-16).
    """
    if openid.login_hint is not None or openid.subject is not None:
        return LoginRequired("no earlier yes to this, and somebody was guessed")
    return ConsentRequired("no earlier yes to this")


def by_an_earlier_yes(approved: Issue, facts: ConsentFacts, ended: Refuse) -> Issue:
    """The approval of somebody who is not asked: the yes still counts when the transaction runs, or `ended` is told.

    So it is when anything else has ended: no page is shown. Only a client that changed may be none to redirect to.
    """
    until = facts.remembered_until or 0
    yes = Touch(kind=HandleKind.CONSENT, digest=facts.remembered_as, usable_until=until, delete_after=until)
    page = {effect: refuse for effect, refuse in approved.lost.items() if effect in facts.spends or _is_client(effect)}
    told = dict.fromkeys((yes, *(effect for effect in approved.lost if effect not in page)), ended)
    return Issue(effects=(yes, *approved.effects), lost={**told, **page})


def _is_client(effect: Effect) -> bool:
    return isinstance(effect, Require) and effect.required in _OF_CLIENTS


def approve(facts: ConsentFacts, drawn: DrawnHandles, now: int, policy: Policy) -> Issue:
    """One decision: everything still as it was shown, the request spent, the family opened, the code kept."""
    request, validated, session = facts.request, facts.request.validated, facts.session
    usable_until = now + seconds(policy.authorization_code_lifetime)
    grant = AuthorizationGrant(
        authorization_id=drawn.authorization_id,
        client_id=validated.client_id,
        subject=session.subject,
        user_version=session.user_version,
        scope=validated.scope,
        resources=validated.resources,
        resource_scopes=tuple(request.scopes_of(resource) for resource in request.resources),
        auth_time=session.auth_time,
        acr=session.acr,
        redirect_uri=validated.redirect_uri,
        code_challenge=validated.code_challenge,
        dpop_jkt=validated.dpop_jkt,
        nonce=validated.nonce,
        openid=validated.openid,
        document_digest=validated.document_digest,
    )
    opened = Open(
        authorization_id=drawn.authorization_id,
        client_id=validated.client_id,
        subject=session.subject,
        resources=validated.resources,
        scope=validated.scope,
        expires_at=_ends_at(request, now, policy),
    )
    code = Keep(
        kind=HandleKind.CODE,
        digest=drawn.code_digest,
        payload=grant.to_bytes(),
        usable_until=usable_until,
        # a replay is recognised as long as something that the code brought may still be alive (OA-AC-7)
        delete_after=opened.expires_at,
        client_id=validated.client_id,
        subject=session.subject,
        authorization_id=drawn.authorization_id,
    )
    required, lost = _still_as_shown(facts)
    fact = _fact(AuditEvent.CONSENT_GIVEN, facts, authorization_id=drawn.authorization_id)
    return Issue(effects=(*required, *facts.spends, opened, code, Record(fact=fact)), lost={**lost, **_finished(facts)})


def _ends_at(request: StandingRequest, now: int, policy: Policy) -> int:
    return now + seconds(policy.authorization_code_lifetime) + seconds(access_duration(request, policy))


def deny(facts: ConsentFacts) -> Issue:
    """A no completes the request, too: it is spent and cannot become a yes (CON-07), nor can an earlier yes count."""
    fact = _fact(AuditEvent.CONSENT_DENIED, facts)
    forgotten = (Spend(kind=HandleKind.CONSENT, digest=facts.remembered_as),) if facts.is_remembered else ()
    lost = _finished(facts) | dict.fromkeys(forgotten, _changed("an earlier answer was forgotten", facts))
    return Issue(effects=(*facts.spends, *forgotten, Record(fact=fact)), lost=lost)


def _still_as_shown(facts: ConsentFacts) -> tuple[tuple[Effect, ...], dict[Effect, Refuse]]:
    request, session = facts.request, facts.session
    clients = request.client.requirements
    user = Require(required=Required.USER, identifier=session.subject, version=session.user_version)
    resources = tuple(requirement for resource in request.resources for requirement in resource.requirements)
    lost: dict[Effect, Refuse] = {
        **{client: _changed("the client changed", facts) for client in clients},
        user: _changed("the user changed", facts),
        facts.touch: _changed("the session has ended", facts),
        **{resource: _changed("a resource changed", facts) for resource in resources},
    }
    return (*clients, user, *resources, facts.touch), lost


def _changed(detail: str, facts: ConsentFacts) -> Refuse:
    error = InvalidRequest(detail, "something changed while you were deciding, go back and look again")
    return recorded_refusal(error, client_id=facts.request.client.client_id)


def _finished(facts: ConsentFacts) -> dict[Effect, Refuse]:
    error = InvalidRequestUri("the request was completed at the same time")
    refusal = recorded_refusal(error, client_id=facts.request.client.client_id)
    return dict.fromkeys(facts.spends, refusal)


def _fact(event: AuditEvent, facts: ConsentFacts, *, authorization_id: str | None = None) -> AuditFact:
    validated = facts.request.validated
    return AuditFact(
        event=event,
        client_id=validated.client_id,
        subject=facts.session.subject,
        authorization_id=authorization_id,
        resource=" ".join(validated.resources),
        scope=" ".join(validated.scope),
        jkt=validated.dpop_jkt,
    )
