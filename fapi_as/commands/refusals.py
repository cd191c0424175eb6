"""How a command says no: one sentence on stderr and exit code 1, never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def refusals(subject: str | None = None) -> Iterator[None]:
    """Turn the errors that an operator can do something about into their sentence; a defect of ours keeps its trace.

    `subject` is what the sentence is about when the error itself does not say, a file for example.
    """
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        raise click.ClickException(sentence if subject is None else f"{subject}: {sentence}") from None


def _sentence(error: Exception) -> str | None:
    # named only now: a command that goes well never asks for them
    from fapi_as.settings import ConfigurationError

    if isinstance(error, ConfigurationError):
        return str(error)
    if isinstance(error, UnicodeEncodeError):  # what is stored is text; a terminal can send octets that are none
        return "an argument is not UTF-8"
    from fapi_as.adapters.keys import (
        AlreadyRotating,
        KeyInUse,
        NoSigningKey,
        TooManyKeys,
        UnusableAuthorityKey,
        UnusableSealingKey,
    )
    from fapi_as.adapters.store import AlreadyExists, NotFound, UnsupportedDatabase, UnusableDatabase
    from rs_kit.protocol.errors import ProtocolError

    if isinstance(error, UnusableSealingKey | UnusableAuthorityKey | UnsupportedDatabase | UnusableDatabase):
        return str(error)
    if isinstance(error, AlreadyExists | NotFound | AlreadyRotating | KeyInUse | NoSigningKey | TooManyKeys):
        return str(error)
    if isinstance(error, ProtocolError):
        return error.description if error.description == error.detail else f"{error.description} ({error.detail})"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return None
