"""A string that does not show itself."""

# typing.override came with Python 3.12, and dunder methods have no other parent than object
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """Redacts itself in logs, tracebacks and pickles; `reveal()` only where the value leaves or is digested."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The string itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __format__(self, specification: str) -> str:
        return format(repr(self), specification)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")
