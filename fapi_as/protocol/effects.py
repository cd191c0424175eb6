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
    APPROVER = "approver"  # an authority that may still approve, or an initial access token that once did
    DOCUMENT = "document"  # a client that has a metadata document and was not blocked; it has no versions


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
class Register:
    """Insert a client; lost when its id is taken, or when the software has `software_limit` clients already.

    Before that is so, the oldest registration of this software that nobody ever used makes room, if it is older than
    `unfinished_before`. Without `software_id` the clients of the approver that have none are counted.
    """

    client_id: str
    registration: str  # RFC 7591 metadata as JSON
    approver: str
    software_id: str | None
    software_limit: int
    unfinished_before: int
    statement: str | None  # the software statement, byte for byte
    statement_jti: str | None
    token_digest: bytes  # of the registration access token (RFC 7592 §3)
    token_jkt: str | None  # the key that the registration access token is bound to
    expires_at: int  # unless it is used


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceRegistration:
    """RFC 7592 §2.2: replace the registration, and its token by a new one; lost unless `token_digest` still counts.

    The token that was presented counts until the new one is first used, so that a lost answer locks nobody out.
    """

    client_id: str
    token_digest: bytes
    new_token_digest: bytes
    registration: str
    statement: str | None
    statement_jti: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UseRegistrationToken:
    """The token of a registration is used; the first use of a new one ends the old one. Lost unless it counts."""

    client_id: str
    token_digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Unregister:
    """RFC 7592 §2.3: remove the client and end what it was allowed; lost unless `token_digest` still counts."""

    client_id: str
    token_digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkUsed:
    """Move the end of a registration because its client is used; never lost, and nothing for one without an end."""

    client_id: str
    expires_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendInitialToken:
    """Use an initial access token once more; lost when it is used up, over, revoked or unknown."""

    approver: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Write one audit fact in the same transaction as what it tells; never lost."""

    fact: AuditFact


Effect = (
    TakeOnce
    | Spend
    | Keep
    | Touch
    | Open
    | Revoke
    | Attempt
    | Forget
    | GiveBack
    | Require
    | Register
    | ReplaceRegistration
    | UseRegistrationToken
    | Unregister
    | MarkUsed
    | SpendInitialToken
    | Record
)
