"""JSON values that nobody changes: what is verified once and shown to many calls must stay what was signed."""

# typing.override came with Python 3.12, and dunder methods have no other parent than object
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

_UNCHANGING: Final = frozenset({str, int, float, bool, type(None)})
_REFUSAL: Final = "what was verified cannot be changed; dict(...) gives a copy"


class FrozenObject(dict[str, object]):
    """A JSON object for reading: a dict for every reader, a TypeError for every writer."""

    __slots__ = ()

    def _refuse(self, *_args: object, **_more: object) -> NoReturn:
        raise TypeError(_REFUSAL)

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __copy__(self) -> FrozenObject:
        return self

    def __deepcopy__(self, _memo: object) -> FrozenObject:
        return self

    def __reduce__(self) -> tuple[type[FrozenObject], tuple[dict[str, object]]]:
        return FrozenObject, (dict(self),)


def frozen(members: Mapping[str, object]) -> FrozenObject:
    """The same object with everything in it frozen, too; arrays become tuples."""
    whole = FrozenObject(members)
    for name, value in members.items():
        if value.__class__ not in _UNCHANGING:
            dict.__setitem__(whole, name, _frozen(value))
    return whole


def thawed(members: Mapping[str, object]) -> dict[str, Any]:
    """A copy that belongs to the caller, of plain dicts and lists."""
    return {name: _thawed(value) for name, value in members.items()}


def _frozen(value: object) -> object:
    if isinstance(value, dict):
        return frozen(value)
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _thawed(value: object) -> object:
    if isinstance(value, dict):
        return thawed(value)
    return list(map(_thawed, value)) if isinstance(value, list | tuple) else value
