"""SQLAlchemy engines for migrations and operators; requests never come this way."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from rs_kit.adapters import sqlite_writer

_BUSY_SECONDS: Final = 5.0


def writing_engine(path: Path) -> Engine:
    """Every transaction is BEGIN IMMEDIATE: a plain BEGIN fails at once when it starts to write under a writer."""
    engine = create_engine("sqlite://", creator=partial(sqlite_writer.connect, path), poolclass=NullPool)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def reading_engine(path: Path) -> Engine:
    """Reads only; never waits for a writer."""
    return create_engine("sqlite://", creator=partial(_connect_to_read, path), poolclass=NullPool)


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _connect_to_read(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=_BUSY_SECONDS, isolation_level=None
    )
