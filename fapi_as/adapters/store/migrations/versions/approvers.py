"""Clients may be approved by an authority or an initial access token, manage themselves, and end unused."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, LargeBinary, PrimaryKeyConstraint, Text, text

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TEXTS = ("approver", "software_id", "statement", "statement_jti")


def upgrade() -> None:
    """Add what they need; whoever was registered before has no approver and no end."""
    for name in _TEXTS:
        op.add_column("client", Column(name, Text(), nullable=True))
    op.add_column("client", Column("token_digest", LargeBinary(), nullable=True))
    op.add_column("client", Column("previous_token_digest", LargeBinary(), nullable=True))
    op.add_column("client", Column("token_jkt", Text(), nullable=True))
    op.add_column("client", Column("last_used_at", Integer(), nullable=True))
    op.add_column("client", Column("expires_at", Integer(), nullable=True))
    software = ["tenant", "approver", "software_id", "registered_at"]
    op.create_index("client_software", "client", software, sqlite_where=text("approver IS NOT NULL"))
    ends = text("expires_at IS NOT NULL AND last_used_at IS NULL")
    op.create_index("client_pending", "client", ["expires_at"], sqlite_where=ends)
    ends = text("expires_at IS NOT NULL AND last_used_at IS NOT NULL")
    op.create_index("client_used", "client", ["expires_at"], sqlite_where=ends)
    live = text("revoked_at IS NULL")
    op.create_index("authorization_live", "authorization", ["client_id", "expires_at"], sqlite_where=live)
    op.create_table(
        "approver",
        Column("tenant", Text(), nullable=False),
        Column("approver", Text(), nullable=False),
        Column("registration", Text(), nullable=False),
        Column("version", Integer(), nullable=False),
        Column("enabled", Integer(), nullable=False),
        Column("registered_at", Integer(), nullable=False),
        Column("changed_at", Integer(), nullable=False),
        Column("digest", LargeBinary(), nullable=True),
        Column("uses_left", Integer(), nullable=True),
        Column("expires_at", Integer(), nullable=True),
        PrimaryKeyConstraint("tenant", "approver"),
        sqlite_strict=True,
    )
    op.create_index(
        "approver_digest", "approver", ["tenant", "digest"], unique=True, sqlite_where=text("digest IS NOT NULL")
    )
    op.create_table(
        "withdrawn",
        Column("tenant", Text(), nullable=False),
        Column("kind", Text(), nullable=False),
        Column("approver", Text(), nullable=False),
        Column("name", Text(), nullable=False),
        Column("withdrawn_at", Integer(), nullable=False),
        PrimaryKeyConstraint("tenant", "kind", "approver", "name"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
