"""The normal form of a request URI, as DPoP compares it (RFC 9449 §4.3, RFC 3986 §6.2.2 and §6.2.3)."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import unquote_to_bytes

_LIMIT: Final = 4096
_URI: Final = re.compile(r"(https?)://([^/?#]*)([^?#]*)(?:\?[^#]*)?(?:#.*)?\Z", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::([1-9][0-9]{0,4}))?\Z")
_PATH: Final = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*\Z")
_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DEFAULT_PORTS: Final = {"https": "443", "http": "80"}
_LAST_PORT: Final = 65535


class InvalidUri(ValueError):
    """Not an absolute http(s) URI that could be that of a request."""


def normalise(url: str) -> str:
    """Scheme and host in lower case, no default port, no dot segments, no needless escapes, no query, no fragment.

    Raises:
        InvalidUri: relative, another scheme, user information, an empty port, or characters outside RFC 3986.
    """
    if len(url) > _LIMIT or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidUri("not printable ASCII")
    parts = _URI.match(url)
    if parts is None:
        raise InvalidUri("not an absolute http(s) URI")
    scheme, authority, path = parts.groups()
    scheme = scheme.lower()
    if _PATH.match(path) is None:
        raise InvalidUri("path")
    return f"{scheme}://{_authority(scheme, authority)}{_without_dot_segments(_ESCAPE.sub(_unescaped, path))}"


def htu_matches(htu: str, expected: str) -> bool:
    """RFC 9449 §4.3 (9): whether a proof's `htu` is the request's URI; `expected` is in normal form already."""
    if htu == expected:
        return True
    try:
        return normalise(htu) == expected
    except InvalidUri:
        return False


def _authority(scheme: str, authority: str) -> str:
    found = _AUTHORITY.match(authority)
    if found is None:
        raise InvalidUri("authority")
    host, port = found.groups()
    if host.startswith("["):
        try:
            IPv6Address(host[1:-1])
        except ValueError:
            raise InvalidUri("IPv6 address") from None
    if port is not None and int(port) > _LAST_PORT:
        raise InvalidUri("port")
    if port is None or port == _DEFAULT_PORTS[scheme]:
        return host.lower()
    return f"{host.lower()}:{port}"


def _unescaped(escape: re.Match[str]) -> str:
    """RFC 3986 §6.2.2.2: an escaped unreserved character is that character; other escapes are upper case."""
    character = unquote_to_bytes(escape.group()).decode("latin-1")
    return character if character in _UNRESERVED else escape.group().upper()


def _without_dot_segments(path: str) -> str:
    """RFC 3986 §5.2.4, for a path that is empty or absolute; an empty one is the root (§6.2.3)."""
    if "/." not in path:
        return path or "/"
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)
