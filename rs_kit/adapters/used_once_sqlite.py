"""The UsedOnce port in one SQLite file: shared by the workers of one host, durable, bounded, closed when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sqlite3
import time
from functools import partial
from pathlib import Path
from typing import Final

from rs_kit.adapters.clock import monotonic_seconds
from rs_kit.adapters.sqlite_writer import BUSY_SECONDS, SqliteWriter, Transaction, Unit, WriterUnavailable, connect
from rs_kit.protocol.errors import Unavailable

_LIMIT_BYTES: Final = 512 * 1024 * 1024  # some 60 bytes each: 90 s of proofs at 90,000 calls per second fit
_PAGE_BYTES: Final = 4096
_FORMAT: Final = 1
_DIGEST_BYTES: Final = 16  # who finds a collision of 128 bits gets a second proof of his own refused, and no more
_TAKES_PER_SWEEP: Final = 32
_PAUSE_SECONDS: Final = 0.01
_SWEPT_AT_ONCE: Final = (
    128  # four times as many as came: what traffic left behind is caught up with, a little at a time
)

_SLOT_SECONDS: Final = 4  # what ended within the same four seconds is forgotten together
_FORGOTTEN_KEPT: Final = 4096  # slots: more than four hours of traffic, and of a clock that was wrong
_TABLES: Final = {"used_once", "forgotten"}
_SCHEMA: Final = (
    "CREATE TABLE used_once (digest BLOB PRIMARY KEY, ends_at INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE INDEX used_once_by_end ON used_once (ends_at)",
    "CREATE TABLE forgotten (slot INTEGER PRIMARY KEY) STRICT",
    "INSERT INTO forgotten VALUES (-1)",
    f"PRAGMA user_version = {_FORMAT}",
)
# One statement decides, and exactly one of any number of workers inserts. A clock that stepped back (R13) must not let
# in again what was already forgotten, nor keep all others out; what is older than the oldest slot was forgotten, too.
_TAKE: Final = (
    "INSERT INTO used_once (digest, ends_at) SELECT ?1, ?2"
    " WHERE ?3 NOT IN (SELECT slot FROM forgotten) AND ?3 > (SELECT min(slot) FROM forgotten)"
    " ON CONFLICT (digest) DO NOTHING"
)
_FORGET: Final = (
    "DELETE FROM used_once WHERE digest IN"
    " (SELECT digest FROM used_once WHERE ends_at < ? ORDER BY ends_at LIMIT ?) RETURNING ends_at"
)
_REMEMBER: Final = "INSERT INTO forgotten VALUES (?) ON CONFLICT DO NOTHING"
_RAISE_FLOOR: Final = (
    "DELETE FROM forgotten WHERE slot < (SELECT slot FROM forgotten ORDER BY slot DESC LIMIT 1 OFFSET ?)"
)


class SqliteUsedOnce:
    """Remembers what was used until it may be forgotten; for all processes of one host that open the same file.

    A use is answered once it is on the disk (write-ahead log, full durability), together with all that wait at the
    same moment. What ended is removed a little at a time, and its room is used again: the file grows to what the rate
    of calls and the age of proofs need, and stays there. The file must be on a local file system.

    Made in the process that uses it, and used by one event loop.

    Args:
        path: the file; made, readable by its owner alone, when it is missing.
        limit_bytes: how large the file may become. A full store refuses (DPR-25), and is itself again as soon as
            something ended; for that, the disk needs room for this and two mebibytes of log.

    Raises:
        OSError: the file cannot be made.
        sqlite3.Error: it cannot be opened, or is no database.
        ValueError: it is a database of another kind.
    """

    __slots__ = ("_failed", "_process", "_since_sweep", "_writer")

    def __init__(self, path: Path | str, *, limit_bytes: int = _LIMIT_BYTES) -> None:
        file = Path(path).absolute()
        _prepare(file)
        self._writer = SqliteWriter(partial(_open, file, limit_bytes // _PAGE_BYTES), file=file)
        self._process = os.getpid()
        self._since_sweep = 0
        self._failed = False

    async def take(self, namespace: str, digest: bytes, *, until: int, now: int) -> bool:
        """Whether this is the first use; among any number of simultaneous callers exactly one is told True.

        Raises:
            Unavailable: the store is full, locked, moved, or cannot be written.
        """
        if os.getpid() != self._process:
            raise Unavailable("replay store: opened before the process was forked")  # its thread stayed behind
        if self._failed:
            # alone in its transaction: what makes room must not be undone with what found none
            await self._written(partial(_forget, now))
            self._failed = False
        self._since_sweep += 1
        if self._since_sweep >= _TAKES_PER_SWEEP:
            self._since_sweep = 0
            self._sweep(now)
        key = hashlib.sha256(b"%d:%b%b" % (len(namespace), namespace.encode(), digest)).digest()[:_DIGEST_BYTES]
        return await self._written(partial(_insert, key, until))

    async def aclose(self) -> None:
        """Finish what is waiting, then close the file."""
        await self._writer.close()

    async def _written(self, unit: Unit[bool]) -> bool:
        try:
            written = self._writer.submit(unit)
        except WriterUnavailable as error:  # more wait than are served: nothing is wrong with the file
            raise Unavailable(f"replay store: {error.detail}") from None
        try:
            return await written
        except WriterUnavailable as error:
            self._failed = True
            raise Unavailable(f"replay store: {error.detail}") from None

    def _sweep(self, now: int) -> None:
        """Have some of what ended removed; nobody waits for it."""
        with contextlib.suppress(WriterUnavailable):  # the use that comes next says so
            self._writer.submit(partial(_forget, now)).add_done_callback(_seen)


def _seen(sweep: asyncio.Future[bool]) -> None:
    """A sweep that fails is no news: the uses that share its transaction fail as well, and are told to the observer."""
    if not sweep.cancelled():
        sweep.exception()


def _insert(key: bytes, until: int, transaction: Transaction) -> bool:
    return transaction.execute(_TAKE, (key, until, until // _SLOT_SECONDS)).rowcount == 1


def _forget(now: int, transaction: Transaction) -> bool:
    """Remove some entries of slots that ended before `now`; an entry counts until its last second is over."""
    begun = now // _SLOT_SECONDS * _SLOT_SECONDS
    slots = {end // _SLOT_SECONDS for (end,) in transaction.execute(_FORGET, (begun, _SWEPT_AT_ONCE)).fetchall()}
    for slot in slots:
        transaction.execute(_REMEMBER, (slot,))
    if slots:
        transaction.execute(_RAISE_FLOOR, (_FORGOTTEN_KEPT,))
    return bool(slots)


def _connected(file: Path) -> sqlite3.Connection:
    """Open the file; workers that start together wait for the one that switches it to the write-ahead log.

    That switch fails at once where it meets another (SQLite's busy timeout does not hold for it).
    """
    end = monotonic_seconds() + BUSY_SECONDS
    while True:
        try:
            return connect(file)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic_seconds() >= end:
                raise
        time.sleep(_PAUSE_SECONDS)


def _open(file: Path, pages: int) -> sqlite3.Connection:
    connection = _connected(file)
    connection.execute(f"PRAGMA max_page_count = {pages}")
    return connection


def _prepare(file: Path) -> None:
    """Make the file and its tables, unless another worker did.

    Raises:
        OSError: the file cannot be made.
        sqlite3.Error: it cannot be opened, or is no database.
        ValueError: it is a database of another kind.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with contextlib.closing(_connected(file)) as connection:
        connection.execute("BEGIN IMMEDIATE")  # workers start together: one makes the tables, the others find them
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        if version == 0 and not names:
            for statement in _SCHEMA:
                connection.execute(statement)
        elif version != _FORMAT or names != _TABLES:
            raise ValueError(f"{file} is a database of another kind, not a replay store")
        connection.execute("COMMIT")
