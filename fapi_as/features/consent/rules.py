"""What is shown, what may be answered, and what an answer changes: pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from fapi_as.protocol.authorization_request import AuthorizationGrant
from fapi_as.protocol.browser_session import Session
from fapi_as.protocol.decisions import Issue, Refuse, recorded_refusal
from fapi_as.protocol.effects import Effect, HandleKind, Keep, Open, Record, Require, Required, Spend, Touch
from fapi_as.protocol.errors import InvalidRequest, InvalidRequestUri
from fapi_as.protocol.parameters import Parameters
from fapi_as.protocol.policy import Policy, seconds
from fapi_as.protocol.standing import StandingRequest

_FIELDS: Final = frozenset({"interaction", "csrf_token", "shown", "decision"})
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
    lifetimes = [resource.access_token_lifetime or policy.access_token_lifetime for resource in request.resources]
    if "refresh_token" in request.client.grant_types:
        lifetimes += [
            resource.refresh_token_lifetime or policy.refresh_token_lifetime
            for resource in request.resources
            if resource.refresh_tokens
        ]
    return max(lifetimes)


def shown_values(request: StandingRequest, username: str, policy: Policy) -> Mapping[str, object]:
    """Everything that a person decides on, in the page's words (FAPI2-AZ-16)."""
    parts = urlsplit(request.validated.redirect_uri)
    return {
        "client_name": request.client.client_name,
        "client_id": request.client.client_id,
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
        ],
    }


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

    `spends` are the pushed request and the interaction, `touch` holds the session to be still there.
    """

    request: StandingRequest
    session: Session
    touch: Touch
    spends: tuple[Spend, Spend]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnHandles:
    """The random strings that an approval needs: the code's digest and the name of its family."""

    code_digest: bytes
    authorization_id: str


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
    )
    opened = Open(
        authorization_id=drawn.authorization_id,
        client_id=validated.client_id,
        subject=session.subject,
        resources=validated.resources,
        scope=validated.scope,
        expires_at=usable_until + seconds(access_duration(request, policy)),
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


def deny(facts: ConsentFacts) -> Issue:
    """A no completes the request, too: it is spent and cannot become a yes (CON-07)."""
    fact = _fact(AuditEvent.CONSENT_DENIED, facts)
    return Issue(effects=(*facts.spends, Record(fact=fact)), lost=_finished(facts))


def _still_as_shown(facts: ConsentFacts) -> tuple[tuple[Effect, ...], dict[Effect, Refuse]]:
    request, session = facts.request, facts.session
    client = Require(required=Required.CLIENT, identifier=request.client.client_id, version=request.client.version)
    user = Require(required=Required.USER, identifier=session.subject, version=session.user_version)
    resources = tuple(
        Require(required=Required.RESOURCE, identifier=resource.resource, version=resource.version)
        for resource in request.resources
    )
    lost: dict[Effect, Refuse] = {
        client: _changed("the client changed", facts),
        user: _changed("the user changed", facts),
        facts.touch: _changed("the session has ended", facts),
        **{resource: _changed("a resource changed", facts) for resource in resources},
    }
    return (client, user, *resources, facts.touch), lost


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
