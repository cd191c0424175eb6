"""Facts tell the certificate that a token was bound to."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the thumbprint beside the one of the DPoP key; what was written before had none."""
    op.add_column("audit", Column("x5t", Text(), nullable=True))
