"""WWW-Authenticate as a client reads it: parameters it does not know, and nonsense, do no harm (DPOP-CL-4)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_LENGTH_LIMIT: Final = 16_384
_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# RFC 9110 §11.6.1: a scheme, or one of its parameters; a comma may stand between any two
_SCHEME: Final = re.compile(rf"[ \t,]*+({_WORD})(?:[ \t]++|\Z|(?=,))(?![ \t]*=)")
_PARAMETER: Final = re.compile(rf'[ \t,]*({_WORD})[ \t]*=[ \t]*(?:({_WORD})|"((?:[^"\\]|\\.)*)")')
_ESCAPED: Final = re.compile(r"\\(.)")
_SCOPE: Final = re.compile(r"[!#-)+-\[\]-~]{1,256}\Z")  # RFC 6749 §3.3, without the asterisk: no wildcard is asked for
_SCOPE_LIMIT: Final = 32
_ACR_VALUES: Final = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+){0,15}\Z")
_ACR_LENGTH: Final = 512
_MAX_AGE: Final = re.compile(r"[0-9]{1,9}\Z")  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One challenge: its scheme in lower case and its parameters, each once."""

    scheme: str
    parameters: Mapping[str, str]

    @property
    def error(self) -> str | None:
        """The error code (RFC 6750 §3.1, RFC 9449 §7.1)."""
        return self.parameters.get("error")

    @property
    def scope(self) -> tuple[str, ...]:
        """The scopes that this operation needs; none when it is more than an agent should ask for (FAPI2-CL-11)."""
        return askable(self.parameters.get("scope", "").split())

    @property
    def acr_values(self) -> str | None:
        """How the person has to sign in (RFC 9470 §3)."""
        value = self.parameters.get("acr_values", "")
        return value if len(value) <= _ACR_LENGTH and _ACR_VALUES.match(value) else None

    @property
    def max_age(self) -> str | None:
        """How many seconds ago the person may have signed in (RFC 9470 §3)."""
        value = self.parameters.get("max_age", "")
        return value if _MAX_AGE.match(value) else None

    @property
    def resource_metadata(self) -> str | None:
        """Where the metadata of the protected resource is (RFC 9728 §5.1)."""
        return self.parameters.get("resource_metadata")


def chosen(values: tuple[str, ...]) -> Challenge | None:
    """The DPoP challenge, else the Bearer one (the MCP text knows only that name), else none."""
    found = [challenge for value in values for challenge in _challenges(value[:_LENGTH_LIMIT])]
    for scheme in ("dpop", "bearer"):
        for challenge in found:
            if challenge.scheme == scheme:
                return challenge
    return None


def askable(scope: Sequence[str]) -> tuple[str, ...]:
    """These scopes, when they are scopes, no wildcards and not too many; otherwise none of them."""
    if len(scope) > _SCOPE_LIMIT or not all(map(_SCOPE.match, scope)):
        return ()
    return tuple(scope)


def _challenges(value: str) -> Iterator[Challenge]:
    position = 0
    scheme: str | None = None
    parameters: dict[str, str] = {}
    while position < len(value):
        if (parameter := _PARAMETER.match(value, position)) is not None and scheme is not None:
            name, plain, quoted = parameter.groups()
            parameters.setdefault(name.lower(), plain if plain is not None else _ESCAPED.sub(r"\1", quoted))
            position = parameter.end()
        elif (start := _SCHEME.match(value, position)) is not None:
            if scheme is not None:
                yield Challenge(scheme=scheme, parameters=parameters)
            scheme, parameters = start.group(1).lower(), {}
            position = start.end()
        else:
            break  # malformed from here on: what was read before still counts
    if scheme is not None:
        yield Challenge(scheme=scheme, parameters=parameters)
