"""An operator at work: the settings, the registrations, and the stamp of what is changed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from fapi_as.commands.refusals import refusals

if TYPE_CHECKING:
    from fapi_as.adapters.store import Approvals, Operators
    from fapi_as.protocol.audit_events import Stamp
    from fapi_as.settings import Settings

_FILE_LIMIT: Final = 64 * 1024  # bytes of a file with JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What a command that reads or changes registrations works with."""

    settings: Settings
    operators: Operators
    stamp: Stamp

    @property
    def approvals(self) -> Approvals:
        """Who may approve clients; opened only by commands that ask for it."""
        from fapi_as.adapters.store import Approvals
        from fapi_as.settings import DEFAULT_TENANT

        return Approvals.open(self.settings.database.url, DEFAULT_TENANT)


@contextmanager
def desk(config: Path) -> Iterator[Desk]:
    """Open the registrations of the default tenant; every refusal inside becomes a sentence and exit code 1.

    A database that is not there is not made: it may be the one that was lost, and nobody would notice (STO-07).
    """
    from fapi_as.adapters.store import Operators, UnusableDatabase
    from fapi_as.settings import DEFAULT_TENANT, load

    with refusals():
        settings = load(config, os.environ)
        path = settings.database.path
        if not path.exists():
            sentence = f"the database {path} does not exist; fapi-as init --only-database makes an empty one"
            raise UnusableDatabase(sentence)
        operators = Operators.open(settings.database.url, DEFAULT_TENANT)
        yield Desk(settings=settings, operators=operators, stamp=operator_stamp())


def operator_stamp() -> Stamp:
    """When, with which command and by which account of this machine."""
    from fapi_as.adapters.clock import SystemClock
    from fapi_as.adapters.entropy import SystemEntropy
    from fapi_as.protocol.audit_events import Stamp

    return Stamp(
        at=SystemClock().now(),
        correlation_id=SystemEntropy().identifier(),
        endpoint=click.get_current_context().command_path,
        source=f"uid:{os.getuid()}",
    )


def read_members(source: str) -> Mapping[str, Any]:
    """The JSON object in a file, or on stdin for `-`.

    Raises:
        click.ClickException: it cannot be read, is too large, or is no JSON object.
    """
    from rs_kit.protocol.strict_json import InvalidJson, parse_object

    name = "stdin" if source == "-" else source
    try:
        if source == "-":
            content = sys.stdin.buffer.read(_FILE_LIMIT + 1)
        else:
            with Path(source).open("rb") as file:
                content = file.read(_FILE_LIMIT + 1)
    except OSError as error:
        raise click.ClickException(f"{name} cannot be read: {error.strerror}") from None
    if len(content) > _FILE_LIMIT:
        raise click.ClickException(f"{name} is larger than {_FILE_LIMIT} bytes")
    try:
        return parse_object(content)
    except InvalidJson as error:
        raise click.ClickException(f"{name} is no JSON object that every parser reads alike: {error}") from None
