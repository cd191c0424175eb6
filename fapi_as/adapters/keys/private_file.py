"""Files that hold a key: read only when nobody but their owner could have read or changed them (LOG-14)."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

_OTHERS: Final = 0o077


class UnusablePrivateFile(Exception):
    """The file is missing, no regular file, somebody else's or open to others; the message is one sentence."""


def read_private_file(path: Path, what: str, limit: int) -> bytes:
    """The first `limit` octets of a file that only its owner can read.

    Args:
        path: where it is.
        what: what it is called in the sentence that refuses it.
        limit: in octets; whoever reads it refuses what was cut.

    Raises:
        UnusablePrivateFile: it may not be used.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(limit)
    except OSError as error:
        raise UnusablePrivateFile(f"the {what} {path} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise UnusablePrivateFile(f"the {what} {path} is no regular file")
    if status.st_mode & _OTHERS:
        raise UnusablePrivateFile(f"the {what} {path} can be read by others, set its mode to 0600")
    if status.st_uid not in {os.geteuid(), 0}:
        raise UnusablePrivateFile(f"the {what} {path} belongs to another user")
    return content
