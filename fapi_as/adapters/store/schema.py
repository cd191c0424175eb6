"""Brings a database to this version's schema, in the parent process before any worker starts."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from fapi_as.adapters.store.engine import writing_engine
from fapi_as.adapters.store.location import UnusableDatabase, path_of
from rs_kit.adapters import sqlite_writer

_SCRIPTS: Final = "fapi_as.adapters.store:migrations"  # a package resource, so that it works when installed


def migrate(url: str) -> None:
    """Create or upgrade the schema in one BEGIN IMMEDIATE: all of it or nothing (STO-10).

    Raises:
        UnsupportedDatabase: another engine than SQLite in a file.
        UnusableDatabase: it cannot be reached or created, is damaged, or was written by a newer version (STO-08).
    """
    path = path_of(url)
    try:
        _create_private(path)
        _check(path)
        _upgrade(path)
    except OSError as error:
        raise UnusableDatabase(f"the database {path} cannot be created: {error.strerror}") from None
    except SQLAlchemyError as error:
        raise UnusableDatabase(f"the database {path} cannot be upgraded: {error.__cause__ or error}") from None
    except sqlite3.Error as error:
        raise UnusableDatabase(f"the database {path} cannot be used: {error}") from None


def _create_private(path: Path) -> None:
    """A new file is for its owner only; SQLite gives its log and its index the same mode."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _check(path: Path) -> None:
    with contextlib.closing(sqlite_writer.connect(path)) as connection:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise UnusableDatabase(f"the database {path} is damaged: {verdict}")


def _upgrade(path: Path) -> None:
    # workers and operators' commands import this package, too, and never migrate
    from alembic import command  # noqa: PLC0415 - by whoever migrates
    from alembic.config import Config  # noqa: PLC0415 - by whoever migrates
    from alembic.util import CommandError  # noqa: PLC0415 - by whoever migrates

    config = Config()
    config.set_main_option("script_location", _SCRIPTS)
    with writing_engine(path).begin() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError:
            raise UnusableDatabase(f"the database {path} was written by a newer version of fapi-as") from None
