"""What a decision does to the store: frozen data, each one conditional statement.

An effect that matches no row has lost; the decision names, per effect, the refusal that a loss means.
Effects carry no tenant: a transaction is opened for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fapi_as.protocol.audit_events import AuditFact


class HandleKind(StrEnum):
    """The strings we hand out; a new kind needs no migration."""

    REQUEST_URI = "request_uri"
    INTERACTION = "interaction"
    SESSION = "session"
    BROWSER = "browser"  # nobody is signed in there yet
    CONSENT = "consent"  # a yes that is remembered
    CODE = "code"
    REFRESH_TOKEN = "refresh_token"  # noqa: S105 - the name of a kind, not a secret


class Required(StrEnum):
    """What must still be as `load` saw it when the transaction runs."""

    CLIENT = "client"
    USER = "user"
    RESOURCE = "resource"
    AUTHORIZATION = "authorization"


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeOnce:
    """Insert (namespace, digest); lost when it is already there and `until` has not passed."""

    namespace: str
    digest: bytes
    until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """Mark a handle spent; won by exactly one caller, lost when it is unknown or already spent."""

    kind: HandleKind
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Insert a handle; its payload is sealed with tenant, kind and digest as associated data."""

    kind: HandleKind
    digest: bytes
    payload: bytes
    usable_until: int
    delete_after: int
    client_id: str | None = None
    subject: str | None = None
    authorization_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """Move the end of an unspent handle; lost when it is unknown or spent."""

    kind: HandleKind
    digest: bytes
    usable_until: int
    delete_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Insert an authorization: the family that every code and token of one consent belongs to."""

    authorization_id: str
    client_id: str
    subject: str
    resources: tuple[str, ...]
    scope: tuple[str, ...]
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoke:
    """End an authorization and with it every handle of its family; never lost."""

    authorization_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Count one attempt in a bucket; lost when `limit` attempts were counted within the window."""

    bucket: bytes
    limit: int
    window_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Empty a bucket of attempts after a success; never lost."""

    bucket: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveBack:
    """Take the newest attempt out of a bucket, because nothing came of it; never lost."""

    bucket: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Require:
    """Lost unless the row is live and, when `version` is given, still at that version."""

    required: Required
    identifier: str
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Write one audit fact in the same transaction as what it tells; never lost."""

    fact: AuditFact


Effect = TakeOnce | Spend | Keep | Touch | Open | Revoke | Attempt | Forget | GiveBack | Require | Record
