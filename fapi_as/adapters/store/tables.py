"""The tables. Every row belongs to a tenant; columns are INTEGER, TEXT and BLOB, and SQLite keeps them so (STRICT).

Times are NumericDate integers. Whatever bears a secret is a digest or sealed.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from sqlalchemy import CheckConstraint, Column, Index, Integer, LargeBinary, Text, text
from sqlmodel import Field, SQLModel

REVISION: Final = "0005"  # the last step of migrations/versions makes these tables
END_OF_TIME: Final = 253_370_764_800  # the year 9999: no honest lifetime reaches it, a planted one is refused (STO-09)
_STRICT: Final[dict[str, Any]] = {"sqlite_strict": True}
_CLUSTERED: Final[dict[str, Any]] = {"sqlite_strict": True, "sqlite_with_rowid": False}  # one b-tree, not two


def _text(**options: Any) -> Any:
    return Field(sa_column=Column(Text, nullable=options.pop("nullable", False), **options), default=None)


def _integer(**options: Any) -> Any:
    return Field(sa_column=Column(Integer, nullable=options.pop("nullable", False), **options), default=None)


def _blob(**options: Any) -> Any:
    return Field(sa_column=Column(LargeBinary, nullable=options.pop("nullable", False), **options), default=None)


def _plausible(column: str) -> CheckConstraint:
    return CheckConstraint(f"{column} BETWEEN 0 AND {END_OF_TIME}", name=f"{column}_is_plausible")


class Once(SQLModel, table=True):
    """What may be used once: (namespace, digest) until a time."""

    __table_args__: ClassVar[Any] = (Index("once_until", "until"), _plausible("until"), _CLUSTERED)
    tenant: str = _text(primary_key=True)
    namespace: str = _text(primary_key=True)
    digest: bytes = _blob(primary_key=True)
    until: int = _integer()


class Handle(SQLModel, table=True):
    """Every string that we hand out, as a digest; the payload is sealed."""

    __table_args__: ClassVar[Any] = (
        Index("handle_delete_after", "delete_after"),
        _plausible("usable_until"),
        _plausible("delete_after"),
        _STRICT,  # not clustered: payloads are large, so new rows are appended and only the small key lies at random
    )
    tenant: str = _text(primary_key=True)
    kind: str = _text(primary_key=True)
    digest: bytes = _blob(primary_key=True)
    payload: bytes = _blob()
    client_id: str | None = _text(nullable=True)
    subject: str | None = _text(nullable=True)
    authorization_id: str | None = _text(nullable=True)
    usable_until: int = _integer()
    delete_after: int = _integer()
    spent_at: int | None = _integer(nullable=True)


class Authorization(SQLModel, table=True):
    """One consent: the family that its code and tokens belong to; `resources` and `scope` are JSON lists."""

    __table_args__: ClassVar[Any] = (
        Index("authorization_expires_at", "expires_at"),
        Index("authorization_live", "client_id", "expires_at", sqlite_where=text("revoked_at IS NULL")),
        _plausible("expires_at"),
        _CLUSTERED,
    )
    tenant: str = _text(primary_key=True)
    authorization_id: str = _text(primary_key=True)
    client_id: str = _text()
    subject: str = _text()
    resources: str = _text()
    scope: str = _text()
    opened_at: int = _integer()
    expires_at: int = _integer()
    revoked_at: int | None = _integer(nullable=True)


class Tried(SQLModel, table=True):
    """One counted attempt; numbered in its bucket, so that the one `limit` attempts before is found at once."""

    __table_args__: ClassVar[Any] = (Index("tried_delete_after", "delete_after"), _CLUSTERED)
    tenant: str = _text(primary_key=True)
    bucket: bytes = _blob(primary_key=True)
    number: int = _integer(primary_key=True)
    at: int = _integer()
    delete_after: int = _integer()


class Audit(SQLModel, table=True):
    """One audit fact and its stamp; triggers refuse to change or delete a row."""

    __table_args__: ClassVar[Any] = (
        # what an operator explains are refusals; a random key for every success would cost more than the row
        Index("audit_refusal", "tenant", "correlation_id", sqlite_where=text("error IS NOT NULL")),
        _STRICT,
    )
    id: int | None = _integer(primary_key=True)
    tenant: str = _text()
    at: int = _integer()
    correlation_id: str = _text()
    endpoint: str = _text()
    source: str = _text()
    event: str = _text()
    error: str | None = _text(nullable=True)
    detail: str | None = _text(nullable=True)
    client_id: str | None = _text(nullable=True)
    subject: str | None = _text(nullable=True)
    authorization_id: str | None = _text(nullable=True)
    resource: str | None = _text(nullable=True)
    scope: str | None = _text(nullable=True)
    jkt: str | None = _text(nullable=True)
    x5t: str | None = _text(nullable=True)


class Client(SQLModel, table=True):
    """A registered client; `registration` is its RFC 7591 metadata as JSON, `version` the epoch of its last change.

    One that an operator registered has no approver, no registration access token and no end.
    """

    __table_args__: ClassVar[Any] = (
        Index(
            "client_software",
            "tenant",
            "approver",
            "software_id",
            "registered_at",
            sqlite_where=text("approver IS NOT NULL"),
        ),
        Index(
            "client_pending",
            "expires_at",
            sqlite_where=text("expires_at IS NOT NULL AND last_used_at IS NULL"),
        ),
        Index(
            "client_used",
            "expires_at",
            sqlite_where=text("expires_at IS NOT NULL AND last_used_at IS NOT NULL"),
        ),
        _STRICT,
    )
    tenant: str = _text(primary_key=True)
    client_id: str = _text(primary_key=True)
    registration: str = _text()
    version: int = _integer()
    enabled: int = _integer()
    registered_at: int = _integer()
    changed_at: int = _integer()
    approver: str | None = _text(nullable=True)
    software_id: str | None = _text(nullable=True)
    statement: str | None = _text(nullable=True)
    statement_jti: str | None = _text(nullable=True)
    token_digest: bytes | None = _blob(nullable=True)
    previous_token_digest: bytes | None = _blob(nullable=True)
    token_jkt: str | None = _text(nullable=True)
    last_used_at: int | None = _integer(nullable=True)
    expires_at: int | None = _integer(nullable=True)


class Approver(SQLModel, table=True):
    """Whoever may approve clients: an authority, by its `iss`, or an initial access token, as a digest.

    `registration` is the authority's file as JSON, or the policy and the key that the token is bound to.
    """

    __table_args__: ClassVar[Any] = (
        Index("approver_digest", "tenant", "digest", unique=True, sqlite_where=text("digest IS NOT NULL")),
        _STRICT,
    )
    tenant: str = _text(primary_key=True)
    approver: str = _text(primary_key=True)
    registration: str = _text()
    version: int = _integer()
    enabled: int = _integer()
    registered_at: int = _integer()
    changed_at: int = _integer()
    digest: bytes | None = _blob(nullable=True)
    uses_left: int | None = _integer(nullable=True)
    expires_at: int | None = _integer(nullable=True)


class Withdrawn(SQLModel, table=True):
    """What may not be used any more: a statement or a software of an authority, or a client that has a document."""

    __table_args__: ClassVar[Any] = (_CLUSTERED,)
    tenant: str = _text(primary_key=True)
    kind: str = _text(primary_key=True)  # statement | software | client
    approver: str = _text(primary_key=True)  # "" for a client
    name: str = _text(primary_key=True)
    withdrawn_at: int = _integer()


class User(SQLModel, table=True):
    """A local user; the subject is never used again."""

    __table_args__: ClassVar[Any] = (Index("user_username", "tenant", "username", unique=True), _STRICT)
    tenant: str = _text(primary_key=True)
    subject: str = _text(primary_key=True)
    username: str = _text()
    password_hash: str = _text()
    version: int = _integer()
    enabled: int = _integer()
    registered_at: int = _integer()
    changed_at: int = _integer()
    name: str | None = _text(nullable=True)
    email: str | None = _text(nullable=True)


class Resource(SQLModel, table=True):
    """A protected resource; `registration` is its file as JSON."""

    __table_args__: ClassVar[Any] = (_STRICT,)
    tenant: str = _text(primary_key=True)
    resource: str = _text(primary_key=True)
    registration: str = _text()
    version: int = _integer()
    enabled: int = _integer()
    registered_at: int = _integer()
    changed_at: int = _integer()


class SigningKey(SQLModel, table=True):
    """A signing key with its times; the state follows from them, the private key is sealed."""

    __tablename__: ClassVar[Any] = "signing_key"
    __table_args__: ClassVar[Any] = (_STRICT,)
    tenant: str = _text(primary_key=True)
    kid: str = _text(primary_key=True)
    alg: str = _text()
    public_jwk: str = _text()
    sealed_private_key: bytes = _blob()
    published_at: int = _integer()
    active_from: int = _integer()
    gone_from: int | None = _integer(nullable=True)


class Epoch(SQLModel, table=True):
    """A number that grows with every operator's change; cached reads compare it."""

    __table_args__: ClassVar[Any] = (_STRICT,)
    tenant: str = _text(primary_key=True)
    value: int = _integer()


class Lease(SQLModel, table=True):
    """Who leads a chore until when; not of one tenant, because the file is swept as a whole."""

    __table_args__: ClassVar[Any] = (_STRICT,)
    chore: str = _text(primary_key=True)
    holder: str = _text()
    until: int = _integer()
