"""Attempts are numbered within their bucket, so that whether there is room is one look and not a count."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, LargeBinary, PrimaryKeyConstraint, Text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Number the attempts that are remembered in the order in which they were made."""
    op.rename_table("tried", "unnumbered")
    op.drop_index("tried_bucket")
    op.drop_index("tried_delete_after")
    op.create_table(
        "tried",
        Column("tenant", Text(), nullable=False),
        Column("bucket", LargeBinary(), nullable=False),
        Column("number", Integer(), nullable=False),
        Column("at", Integer(), nullable=False),
        Column("delete_after", Integer(), nullable=False),
        PrimaryKeyConstraint("tenant", "bucket", "number"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO tried (tenant, bucket, number, at, delete_after)"
        " SELECT tenant, bucket, row_number() OVER (PARTITION BY tenant, bucket ORDER BY id), at, delete_after"
        " FROM unnumbered"
    )
    op.drop_table("unnumbered")
    op.create_index("tried_delete_after", "tried", ["delete_after"])
