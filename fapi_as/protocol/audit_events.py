"""Audit facts: what happened, to whom, with the private reason; ids and outcomes, never secrets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AuditEvent(StrEnum):
    """The closed list of what is evidenced."""

    REQUEST_PUSHED = "request.pushed"
    AUTHORIZATION_OPENED = "authorization.opened"
    SIGNED_IN = "user.signed_in"
    SIGNED_OUT = "user.signed_out"
    SIGN_IN_ATTEMPTED = "user.sign_in_attempted"
    CONSENT_GIVEN = "consent.given"
    CONSENT_DENIED = "consent.denied"
    CLAIMS_TOLD = "claims.told"
    TOKEN_ISSUED = "token.issued"  # noqa: S105 - the name of an event
    AUTHORIZATION_REVOKED = "authorization.revoked"
    REFUSED = "request.refused"
    REFUSALS_COUNTED = "request.refusals_counted"
    CLIENT_REGISTERED = "client.registered"
    CLIENT_UPDATED = "client.updated"
    CLIENT_UNREGISTERED = "client.unregistered"
    CLIENT_EXPIRED = "client.expired"
    CLIENT_CHANGED = "client.changed"
    AUTHORITY_CHANGED = "authority.changed"
    STATEMENT_CHANGED = "statement.changed"
    INITIAL_TOKEN_CHANGED = "registration_token.changed"  # noqa: S105 - the name of an event
    USER_CHANGED = "user.changed"
    RESOURCE_CHANGED = "resource.changed"
    KEY_CHANGED = "key.changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFact:
    """One fact; `error` is set for refusals only, `detail` is their private reason or what an operator did."""

    event: AuditEvent
    error: str | None = None
    detail: str | None = None
    client_id: str | None = None
    subject: str | None = None
    authorization_id: str | None = None
    resource: str | None = None
    scope: str | None = None
    jkt: str | None = None
    x5t: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """When and where a decision was asked for; added to every fact of its transaction."""

    at: int
    correlation_id: str
    endpoint: str
    source: str
