"""A file that is read again when it changes; what cannot be read is nothing that could be relied on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

Parsed = TypeVar("Parsed")

SIZE_LIMIT: Final = 16 * 1024 * 1024  # octets
_Seen = tuple[int, int, int, int]


class UnusableFile(Exception):
    """The file is missing, too large, or does not hold what it should; the message is a sentence for its owner."""


class WatchedFile(Generic[Parsed]):
    """What a file says now; one look at its status for each question.

    Args:
        path: the file; it is replaced or rewritten by whoever owns it.
        parse: raises ValueError with the reason.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], Parsed]) -> None:
        self._path = path
        self._parse = parse
        self._seen: _Seen | None = None
        self._found: Parsed | UnusableFile = UnusableFile(f"{path} was not read yet")

    def current(self) -> Parsed:
        """The same object until the file changes.

        Raises:
            UnusableFile: it cannot be read as it is now.
        """
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)
            if seen != self._seen:
                self._found = self._read(status.st_size)
                self._seen = seen
        except OSError as error:
            self._seen = None
            raise UnusableFile(f"{self._path} cannot be read: {error.strerror}") from None
        if isinstance(self._found, UnusableFile):
            raise self._found
        return self._found

    def _read(self, size: int) -> Parsed | UnusableFile:
        if size > SIZE_LIMIT:
            return UnusableFile(f"{self._path} is larger than {SIZE_LIMIT} octets")
        try:
            return self._parse(self._path.read_bytes())
        except ValueError as error:
            return UnusableFile(f"{self._path} {error}")
