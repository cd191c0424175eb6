"""Files that only their owner can read, shared by every process of that owner on this machine (MCP CL20).

A file is replaced in one step, so that a writer that dies leaves the old one. A lock that ends with its process keeps
writers apart. For POSIX systems only: the package does not import this module by itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import anyio

from fapi_as.agent.errors import AgentError

PATIENCE: Final = timedelta(minutes=6)  # another process renews, and its person may take five minutes to sign in
SIZE_LIMIT: Final = 262_144  # bytes: an answer of a server, which is where tokens come from, has at most a quarter
_FIRST_PAUSE: Final = 0.002  # seconds between two looks at a lock that somebody holds
_LONGEST_PAUSE: Final = 0.05
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OPEN: Final = os.O_CLOEXEC | os.O_NOFOLLOW


class StoreUnusable(AgentError):
    """The token store cannot be trusted, read or written; the sentence names the file and what to do."""


class PrivateFiles:
    """A directory (0700) of files (0600) that are replaced whole.

    Args:
        directory: where the files are; made when it is missing.
        patience: how long to wait for another process that is at the same file.
    """

    def __init__(self, directory: Path, *, patience: timedelta) -> None:
        self.directory = directory
        self._patience = patience

    def read(self, name: str) -> bytes | None:
        """What was written last, by whichever process; None when there is none, and never much more than the limit.

        Raises:
            StoreUnusable: others can read or change it.
        """
        with self._opened() as directory, self._told(name):
            try:
                file = os.open(name, os.O_RDONLY | _OPEN | os.O_NONBLOCK, dir_fd=directory)
            except FileNotFoundError:
                return None
            with os.fdopen(file, "rb") as content:
                self._check_file(os.fstat(file), name)
                return content.read(SIZE_LIMIT + 1)

    def replace(self, name: str, text: bytes | None) -> None:
        """Replace a file, within `alone`; None removes it.

        Raises:
            StoreUnusable: it cannot be written.
        """
        with self._opened() as directory, self._told(name):
            if text is None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=directory)
            else:
                fresh = f"{name}.new"
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(fresh, dir_fd=directory)  # of a writer that died
                _write(fresh, text, directory)
                os.replace(fresh, name, src_dir_fd=directory, dst_dir_fd=directory)
            os.fsync(directory)

    @asynccontextmanager
    async def alone(self, name: str) -> AsyncIterator[None]:
        """Keep every other process away from this lock; a process that dies holds nothing any more.

        Raises:
            StoreUnusable: another process was at it for longer than anybody should be.
        """
        lock = self._open_lock(name)
        try:
            await self._take(lock)
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # a process that was forked in the meantime holds it as well
            os.close(lock)

    def _open_lock(self, name: str) -> int:
        with self._opened() as directory, self._told(name):
            lock = os.open(name, os.O_RDWR | os.O_CREAT | _OPEN | os.O_NONBLOCK, 0o600, dir_fd=directory)
        try:
            self._check_file(os.fstat(lock), name)
        except StoreUnusable:
            os.close(lock)
            raise
        return lock

    async def _take(self, lock: int) -> None:
        pause, end = _FIRST_PAUSE, anyio.current_time() + self._patience.total_seconds()
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if anyio.current_time() >= end:
                    raise StoreUnusable(
                        f"another process is renewing the tokens in {self.directory}, or signing in, and does not end"
                    ) from None
            else:
                return
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The directory itself: everything is found through it, so that nobody can put another in its place."""
        with self._told(None):
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | _OPEN)
        try:
            _check_private(os.fstat(directory), self.directory, "700")
            yield directory
        finally:
            os.close(directory)

    @contextmanager
    def _told(self, name: str | None) -> Iterator[None]:
        path = self.directory if name is None else self.directory / name
        try:
            yield
        except OSError as error:
            # ELOOP, in whichever words: O_NOFOLLOW met a symbolic link
            raise StoreUnusable(f"the token store {path} cannot be used: {error.strerror}") from None

    def _check_file(self, found: os.stat_result, name: str) -> None:
        path = self.directory / name
        if not stat.S_ISREG(found.st_mode):
            raise StoreUnusable(f"{path} is no file, and no token store of this program")
        _check_private(found, path, "600")


def _check_private(found: os.stat_result, path: Path, mode: str) -> None:
    if found.st_uid != os.geteuid():
        raise StoreUnusable(f"{path} belongs to somebody else, and no token is taken from there or kept there")
    if found.st_mode & _OTHERS:
        raise StoreUnusable(
            f"others than its owner can reach {path}: if they may have, revoke what is in it; chmod {mode}"
        )


def _write(name: str, text: bytes, directory: int) -> None:
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, 0o600, dir_fd=directory)
    with os.fdopen(file, "wb") as content:
        content.write(text)
        content.flush()
        os.fsync(file)
