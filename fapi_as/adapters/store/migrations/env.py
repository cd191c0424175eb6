"""Alembic runs this file for every command, which is why it works when it is imported.

The connection, with its transaction, comes from `schema.migrate`.
"""

from alembic import context
from sqlmodel import SQLModel

context.configure(connection=context.config.attributes["connection"], target_metadata=SQLModel.metadata)
context.run_migrations()
