"""The first schema."""

from __future__ import annotations

from typing import Any

from alembic import op
from sqlalchemy import CheckConstraint, Column, Integer, LargeBinary, PrimaryKeyConstraint, Text, text

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_APPEND_ONLY = "BEGIN SELECT RAISE(ABORT, 'audit facts are never changed'); END"


def upgrade() -> None:
    """Create every table."""
    _create_spent_things()
    _create_authorizations()
    _create_audit()
    _create_registrations()
    _create_housekeeping()


def _text(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, Text(), nullable=nullable)


def _integer(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, Integer(), nullable=nullable)


def _blob(name: str) -> Column[Any]:
    return Column(name, LargeBinary(), nullable=False)


def _plausible(column: str) -> CheckConstraint:
    return CheckConstraint(f"{column} BETWEEN 0 AND 253370764800", name=f"{column}_is_plausible")


def _create_spent_things() -> None:
    op.create_table(
        "once",
        _text("tenant"),
        _text("namespace"),
        _blob("digest"),
        _integer("until"),
        PrimaryKeyConstraint("tenant", "namespace", "digest"),
        _plausible("until"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("once_until", "once", ["until"])
    op.create_table(
        "handle",
        _text("tenant"),
        _text("kind"),
        _blob("digest"),
        _blob("payload"),
        _text("client_id", nullable=True),
        _text("subject", nullable=True),
        _text("authorization_id", nullable=True),
        _integer("usable_until"),
        _integer("delete_after"),
        _integer("spent_at", nullable=True),
        PrimaryKeyConstraint("tenant", "kind", "digest"),
        _plausible("usable_until"),
        _plausible("delete_after"),
        sqlite_strict=True,
    )
    op.create_index("handle_delete_after", "handle", ["delete_after"])
    op.create_table(
        "tried",
        _integer("id"),
        _text("tenant"),
        _blob("bucket"),
        _integer("at"),
        _integer("delete_after"),
        PrimaryKeyConstraint("id"),
        sqlite_strict=True,
    )
    op.create_index("tried_bucket", "tried", ["tenant", "bucket", "at"])
    op.create_index("tried_delete_after", "tried", ["delete_after"])


def _create_authorizations() -> None:
    op.create_table(
        "authorization",
        _text("tenant"),
        _text("authorization_id"),
        _text("client_id"),
        _text("subject"),
        _text("resources"),
        _text("scope"),
        _integer("opened_at"),
        _integer("expires_at"),
        _integer("revoked_at", nullable=True),
        PrimaryKeyConstraint("tenant", "authorization_id"),
        _plausible("expires_at"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("authorization_expires_at", "authorization", ["expires_at"])


def _create_audit() -> None:
    op.create_table(
        "audit",
        _integer("id"),
        _text("tenant"),
        _integer("at"),
        _text("correlation_id"),
        _text("endpoint"),
        _text("source"),
        _text("event"),
        *(
            _text(name, nullable=True)
            for name in ("error", "detail", "client_id", "subject", "authorization_id", "resource", "scope", "jkt")
        ),
        PrimaryKeyConstraint("id"),
        sqlite_strict=True,
    )
    op.create_index("audit_refusal", "audit", ["tenant", "correlation_id"], sqlite_where=text("error IS NOT NULL"))
    op.execute(f"CREATE TRIGGER audit_is_not_updated BEFORE UPDATE ON audit {_APPEND_ONLY}")
    op.execute(f"CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit {_APPEND_ONLY}")


def _versioned() -> list[Column[Any]]:
    return [_integer(name) for name in ("version", "enabled", "registered_at", "changed_at")]


def _create_registrations() -> None:
    for name, identifier in (("client", "client_id"), ("resource", "resource")):
        op.create_table(
            name,
            _text("tenant"),
            _text(identifier),
            _text("registration"),
            *_versioned(),
            PrimaryKeyConstraint("tenant", identifier),
            sqlite_strict=True,
        )
    op.create_table(
        "user",
        _text("tenant"),
        _text("subject"),
        _text("username"),
        _text("password_hash"),
        *_versioned(),
        PrimaryKeyConstraint("tenant", "subject"),
        sqlite_strict=True,
    )
    op.create_index("user_username", "user", ["tenant", "username"], unique=True)


def _create_housekeeping() -> None:
    op.create_table(
        "signing_key",
        _text("tenant"),
        _text("kid"),
        _text("alg"),
        _text("public_jwk"),
        _blob("sealed_private_key"),
        _integer("published_at"),
        _integer("active_from"),
        _integer("gone_from", nullable=True),
        PrimaryKeyConstraint("tenant", "kid"),
        sqlite_strict=True,
    )
    op.create_table("epoch", _text("tenant"), _integer("value"), PrimaryKeyConstraint("tenant"), sqlite_strict=True)
    op.create_table(
        "lease",
        _text("chore"),
        _text("holder"),
        _integer("until"),
        PrimaryKeyConstraint("chore"),
        sqlite_strict=True,
    )
