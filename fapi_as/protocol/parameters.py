"""Request parameters: lossless pairs first, then each at most once (OA-EP-1, OA-EP-2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl

from fapi_as.protocol.errors import InvalidRequest
from fapi_as.protocol.profile import PARAMETER_LIMIT

FORM_TYPE: Final = "application/x-www-form-urlencoded"
_REPEATABLE: Final = frozenset({"resource"})  # RFC 8707 §2


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Parameters by name; an empty value counts as omitted (RFC 6749 §3.1)."""

    values: Mapping[str, str]
    resources: tuple[str, ...] = ()

    def get(self, name: str) -> str | None:
        """The value of a parameter that may be omitted."""
        return self.values.get(name)

    def require(self, name: str) -> str:
        """The value of a parameter that must be there.

        Raises:
            InvalidRequest: it is missing or empty (RFC 6749 §5.2).
        """
        value = self.values.get(name)
        if value is None:
            raise InvalidRequest(f"{name} is missing", f"{name} is required")
        return value

    def only(self, names: frozenset[str]) -> Parameters:
        """The parameters that a grant declares; it cannot read any other (RFC 6749 §3.2: unknown ones are ignored)."""
        return Parameters(
            values=MappingProxyType({name: value for name, value in self.values.items() if name in names}),
            resources=self.resources if "resource" in names else (),
        )


def parse(encoded: bytes) -> Parameters:
    """Read an x-www-form-urlencoded body or query.

    Raises:
        InvalidRequest: not UTF-8, too many parameters, or one of them more than once.
    """
    if encoded.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise InvalidRequest("byte order mark")
    if b"\x00" in encoded:
        raise InvalidRequest("NUL in the form")
    try:
        pairs = parse_qsl(
            encoded.decode("ascii"),
            separator="&",  # and no other: a semicolon is data, however it is written
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=PARAMETER_LIMIT,
        )
    except ValueError as error:
        raise InvalidRequest(f"form does not parse: {type(error).__name__}") from None
    return once(pairs)


def once(pairs: list[tuple[str, str]]) -> Parameters:
    """Each parameter at most once, `resource` excepted; unknown ones are kept and ignored by name.

    Raises:
        InvalidRequest: a parameter is repeated (RFC 6749 §3.1), or holds a NUL character.
    """
    values: dict[str, str] = {}
    seen: set[str] = set()
    resources: list[str] = []
    for name, value in pairs:
        if "\x00" in name or "\x00" in value:
            raise InvalidRequest("NUL in a parameter")
        if name in _REPEATABLE:
            if value:
                resources.append(value)
            continue
        if name in seen:
            raise InvalidRequest("a parameter is repeated", "a parameter is given more than once")
        seen.add(name)
        if value:
            values[name] = value
    return Parameters(values=MappingProxyType(values), resources=tuple(resources))


def parse_form(content_type: str | None, body: bytes) -> Parameters:
    """Read the form of a POST.

    Raises:
        InvalidRequest: another content type (OA-EP-3) or charset, or what `parse` refuses.
    """
    media_type, *attributes = (part.strip(" \t").lower() for part in (content_type or "").split(";"))
    if media_type != FORM_TYPE:
        raise InvalidRequest("content type", "the body must be application/x-www-form-urlencoded")
    for attribute in attributes:
        name, _, value = attribute.partition("=")
        if name == "charset" and value.strip('"') != "utf-8":  # RFC 6749 appendix B: whoever means another is misread
            raise InvalidRequest("charset", "the body must be UTF-8")
    return parse(body)
