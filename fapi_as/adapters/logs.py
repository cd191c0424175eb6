"""Structured logs on stderr: one line per event, nothing that is a secret, nothing that can forge a line (LOG-01).

Every room and every library uses the standard `logging`; what they put into `extra` become members of the line.
"""

# typing.override came with Python 3.12
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

import json
import logging
import sys
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

_LONGEST_VALUE: Final = 2048  # characters
_LONGEST_TRACE: Final = 16_384
_REDACTED: Final = "[redacted]"
# what nobody may read in a log, whoever puts it there: ids and outcomes are for logs, credentials are not
_SECRET_NAMES: Final = frozenset(
    {
        "access_token",
        "authorization",
        "client_assertion",
        "client_secret",
        "code",
        "code_verifier",
        "cookie",
        "dpop",
        "handle",
        "id_token",
        "nonce",
        "password",
        "private_key",
        "refresh_token",
        "request_uri",
        "sealing_key",
        "session",
        "state",
        "token",
    }
)
_OWN_MEMBERS: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(level: str, form: str) -> None:
    """Send every record of this process to stderr: as JSON lines, or as text for a person."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.getLogger("alembic").setLevel(logging.WARNING)  # says at every start what it would do


class JsonLines(logging.Formatter):
    """One JSON object per record, ASCII only, so that no character in it can do anything."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        return json.dumps(_members(self, record), ensure_ascii=True, sort_keys=False)


class TextLines(logging.Formatter):
    """One line per record for a person; control and format characters are spelt out."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        members = _members(self, record)
        head = [str(members.pop(name)) for name in ("at", "level", "event")]
        line = " ".join([*head, *(f"{name}={value}" for name, value in members.items())])
        return "".join(character if _is_plain(character) else ascii(character)[1:-1] for character in line)


def _members(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, object]:
    moment = datetime.fromtimestamp(record.created, UTC)
    members: dict[str, object] = {
        "at": moment.isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "event": _capped(record.getMessage(), _LONGEST_VALUE),
        "logger": record.name,
        "process": record.process,
    }
    members.update(_extra(vars(record)))
    if record.exc_info:
        # a traceback without the values of variables: one of them would be a secret
        members["exception"] = _capped(formatter.formatException(record.exc_info), _LONGEST_TRACE)
    return members


def _extra(attributes: Mapping[str, object]) -> dict[str, object]:
    return {name: _told(name, value) for name, value in attributes.items() if name not in _OWN_MEMBERS}


def _told(name: str, value: object) -> object:
    if name.lower() in _SECRET_NAMES:
        return _REDACTED
    if value is None or isinstance(value, bool | int | float):
        return value
    return _capped(value if isinstance(value, str) else repr(value), _LONGEST_VALUE)


def _capped(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}..."


def _is_plain(character: str) -> bool:
    return character == " " or unicodedata.category(character)[0] not in {"C", "Z"}
