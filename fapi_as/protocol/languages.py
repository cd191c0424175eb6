"""In which languages a person would like to read (RFC 9110 §12.5.4): pure."""

from __future__ import annotations

import re
from typing import Final

_RANGES_LIMIT: Final = 16
_LENGTH_LIMIT: Final = 1024  # characters
_RANGE: Final = re.compile(
    r"(?P<language>[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,7})[ \t]*"
    r"(?:;[ \t]*[qQ]=(?P<weight>0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?\Z"
)


def preferred_languages(accept_language: str) -> tuple[str, ...]:
    """The language ranges of an Accept-Language field, the dearest first; what is malformed says nothing."""
    if len(accept_language) > _LENGTH_LIMIT:
        return ()
    found: list[tuple[float, str]] = []
    for item in accept_language.split(",")[:_RANGES_LIMIT]:
        match = _RANGE.match(item.strip(" \t"))
        if match is not None:
            found.append((float(match["weight"] or 1), match["language"]))
    wanted = [(weight, language) for weight, language in found if weight > 0]
    return tuple(language for _, language in sorted(wanted, key=lambda pair: -pair[0]))
