"""Scopes: RFC 6749 §3.3 syntax and the sets that limit them."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from fapi_as.protocol.errors import InvalidScope
from fapi_as.protocol.profile import SCOPE_LIMIT

_SCOPE_TOKEN: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]{1,128}\Z")  # RFC 6749 §3.3 NQCHAR


def is_scope_token(value: str) -> bool:
    """Whether this is one scope value (RFC 6749 §3.3)."""
    return _SCOPE_TOKEN.match(value) is not None


def parse(scope: str) -> tuple[str, ...]:
    """The scope values in the order they were asked, each once.

    Raises:
        InvalidScope: bad syntax, or more than SCOPE_LIMIT values.
    """
    values = scope.split(" ")
    if len(values) > SCOPE_LIMIT:
        raise InvalidScope("too many scope values")
    if not all(is_scope_token(value) for value in values):
        raise InvalidScope("scope syntax")
    return tuple(dict.fromkeys(values))


def limited(asked: tuple[str, ...], *allowed: Collection[str]) -> tuple[str, ...]:
    """The asked values when every set allows every one of them.

    Raises:
        InvalidScope: one of them is outside one of the sets (FAPI2-AS-18).
    """
    for values in allowed:
        if any(value not in values for value in asked):
            raise InvalidScope("scope not allowed")
    return asked


def narrowed(granted: tuple[str, ...], *allowed: Collection[str]) -> tuple[str, ...]:
    """The granted values that every set still allows (RES-4: only scopes that make sense at the audience).

    Raises:
        InvalidScope: nothing is left.
    """
    left = tuple(value for value in granted if all(value in values for values in allowed))
    if not left:
        raise InvalidScope("no granted scope is left for this resource")
    return left
