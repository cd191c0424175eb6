"""Where the database is: a URL becomes a file, or a sentence that says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

_DRIVERS: Final = frozenset({"sqlite", "sqlite+pysqlite", "sqlite+aiosqlite"})


class UnsupportedDatabase(Exception):
    """A database.url for which there is no store; the message is one sentence without the URL's password."""


class UnusableDatabase(Exception):
    """The database cannot be reached, created, read or understood; the message is one sentence."""


class OutdatedDatabase(UnusableDatabase):
    """The database is of an earlier version, and the next start brings it to this one."""


def path_of(url: str) -> Path:
    """The file of a `sqlite:///relative.db` or `sqlite:////absolute.db` URL.

    Raises:
        UnsupportedDatabase: another engine, a database in memory, or no URL.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UnsupportedDatabase("database.url is no URL, write it like sqlite:///fapi-as.db") from None
    if parsed.drivername not in _DRIVERS:
        raise UnsupportedDatabase(
            f"database.url names {parsed.drivername}, for which there is no store yet; use sqlite:///fapi-as.db"
        )
    if parsed.host or parsed.query:
        raise UnsupportedDatabase("database.url of sqlite takes a file and nothing else, as in sqlite:///fapi-as.db")
    if parsed.database in {None, "", ":memory:"} or parsed.database.startswith("file:"):
        raise UnsupportedDatabase("database.url must name a file: the workers and the command line share it")
    return Path(parsed.database)
