"""The file that registers a protected resource: parsed once, refused in full, never half understood.

The format is ours, so an unknown member is a spelling mistake and refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import ClassVar, Final
from urllib.parse import urlsplit

from fapi_as.protocol.display_text import is_displayable
from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import ACCESS_TOKEN_CEILING, REFRESH_TOKEN_CEILING, SCOPE_LIMIT
from fapi_as.protocol.resource import RegisteredResource
from fapi_as.protocol.scope import is_scope_token
from rs_kit.protocol.errors import ProtocolError

_MEMBERS: Final = frozenset(
    {
        "resource",
        "resource_name",
        "scopes",
        "access_token_lifetime",
        "refresh_tokens",
        "refresh_token_lifetime",
    }
)
_RESERVED_SCOPES: Final = frozenset({"openid", "offline_access"})  # the authorization server's own, not a resource's
_URI_LIMIT: Final = 2048  # characters
_NAME_LIMIT: Final = 100  # characters, shown on the consent page
_WORDS_LIMIT: Final = 200  # characters per scope, shown on the consent page
# RFC 3986 §2 and §3.2.2; no user information, no query, no fragment (PRM-2, RES-1)
_RESOURCE: Final = re.compile(
    r"https://(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*)\Z"
)
_DOT_SEGMENT: Final = re.compile(r"/(?:\.|%2e){1,2}(?:/|\Z)", re.IGNORECASE)
_PERCENT: Final = re.compile(r"%(?![0-9A-F]{2})")  # RFC 3986 §6.2.2.1: upper-case hexadecimal digits
_HTTPS_PORT: Final = 443
_HIGHEST_PORT: Final = 65535


class InvalidResourceMetadata(ProtocolError):
    """A resource file that may not be registered; only the command line sees it, no clause names a code."""

    error: ClassVar[str] = "invalid_resource_metadata"
    public: ClassVar[str] = "the resource may not be registered as described"


def parse_resource(members: Mapping[str, object], *, version: int) -> RegisteredResource:
    """Read the members of a resource file, or of the row that keeps it.

    Raises:
        InvalidResourceMetadata: the first member that is wrong, by name.
    """
    unknown = sorted(set(members) - _MEMBERS)
    if unknown:
        known = ", ".join(sorted(_MEMBERS))
        raise InvalidResourceMetadata(f"unknown member {unknown[0]!r}", f"unknown member; the members are {known}")
    refresh_tokens = members.get("refresh_tokens", False)
    if not isinstance(refresh_tokens, bool):
        raise _wrong("refresh_tokens must be true or false")
    refresh_token_lifetime = _lifetime(members, "refresh_token_lifetime", REFRESH_TOKEN_CEILING)
    if refresh_token_lifetime is not None and not refresh_tokens:
        raise _wrong("refresh_token_lifetime needs refresh_tokens to be true")
    return RegisteredResource(
        resource=canonical_resource(members.get("resource")),
        version=version,
        resource_name=_words(members.get("resource_name"), "resource_name", _NAME_LIMIT),
        scopes=_scopes(members.get("scopes")),
        access_token_lifetime=_lifetime(members, "access_token_lifetime", ACCESS_TOKEN_CEILING),  # DPOP-AS-17
        refresh_tokens=refresh_tokens,
        refresh_token_lifetime=refresh_token_lifetime,
    )


def to_members(registered: RegisteredResource) -> dict[str, object]:
    """The members that `parse_resource` reads back to the same resource."""
    members: dict[str, object] = {
        "resource": registered.resource,
        "resource_name": registered.resource_name,
        "scopes": dict(registered.scopes),
        "refresh_tokens": registered.refresh_tokens,
    }
    if registered.access_token_lifetime is not None:
        members["access_token_lifetime"] = seconds(registered.access_token_lifetime)
    if registered.refresh_token_lifetime is not None:
        members["refresh_token_lifetime"] = seconds(registered.refresh_token_lifetime)
    return members


def canonical_resource(value: object) -> str:
    """The one spelling of a resource URI: RFC 8707 §2, RFC 3986 §6.2.2 for scheme, host and default port.

    The path is never touched: `https://host/mcp` and `https://host/mcp/` are two resources (RSV-4, PRM-7).

    Raises:
        InvalidResourceMetadata: no https URI, or a path with two spellings.
    """
    if not isinstance(value, str) or not 0 < len(value) <= _URI_LIMIT:
        raise _wrong("resource is required and must be an https URI")
    scheme, separator, rest = value.partition("://")
    match = _RESOURCE.match(scheme.lower() + separator + rest)
    if match is None or not _is_authority(match["host"], match["port"]):
        raise _wrong("resource must be an https URI without user information, query and fragment")
    path = match["path"]
    if _DOT_SEGMENT.search(path) or _PERCENT.search(path) or "//" in path:
        raise _wrong("the path of resource must have no dot segments, no empty segments and upper-case %-escapes")
    port = match["port"]
    suffix = "" if port is None or int(port) == _HTTPS_PORT else f":{int(port)}"
    return f"https://{match['host'].lower()}{suffix}{path}"


def _is_authority(host: str, port: str | None) -> bool:
    if port is not None and not 0 < int(port) <= _HIGHEST_PORT:
        return False
    if host.startswith("["):
        try:
            urlsplit(f"https://{host}/")
        except ValueError:
            return False
        return True
    return all(label and not label.startswith("-") and not label.endswith("-") for label in host.split("."))


def _scopes(value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or not 0 < len(value) <= SCOPE_LIMIT:
        raise _wrong(f"scopes is required: an object of 1 to {SCOPE_LIMIT} scope values, each with its words")
    for name in value:
        if not isinstance(name, str) or not is_scope_token(name):
            raise _wrong("a scope value must be 1 to 128 characters of RFC 6749 3.3")
        if name in _RESERVED_SCOPES:
            raise _wrong("openid and offline_access are not scopes of a resource")
    return MappingProxyType({name: _words(words, "the text of a scope", _WORDS_LIMIT) for name, words in value.items()})


def _words(value: object, name: str, limit: int) -> str:
    if not isinstance(value, str) or not is_displayable(value, limit):
        raise _wrong(f"{name} is required: one line of at most {limit} visible characters")
    return value


def _lifetime(members: Mapping[str, object], name: str, ceiling: timedelta) -> timedelta | None:
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= seconds(ceiling):
        raise _wrong(f"{name} must be a whole number of seconds, 1 to {seconds(ceiling)}")
    return timedelta(seconds=value)


def _wrong(sentence: str) -> InvalidResourceMetadata:
    return InvalidResourceMetadata(sentence, sentence)
