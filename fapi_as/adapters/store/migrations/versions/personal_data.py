"""Users may have a name and an e-mail address, which OpenID Connect can tell."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both; nobody who was added before has any."""
    op.add_column("user", Column("name", Text(), nullable=True))
    op.add_column("user", Column("email", Text(), nullable=True))
