"""Redirect URIs: what may be registered, and the one exception to exact comparison."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, urlsplit

_LOOPBACK: Final = re.compile(r"http://(127\.0\.0\.1|\[::1\])(?::([0-9]{1,5}))?(/[^\s#\\]*)?\Z")
_PRINTABLE: Final = re.compile(r"[!-~]+\Z")  # URIs are ASCII without spaces: RFC 3986 §2
# a DNS name or an IP literal: what a browser would rewrite, or a content security policy cannot name, is nobody's host
_AUTHORITY: Final = re.compile(r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?\Z")
_ANSWERS: Final = frozenset({"code", "state", "iss", "error", "error_description", "error_uri", "response"})


def refusal(redirect_uri: str, application_type: str) -> str | None:
    """Why this URI may not be registered, or None (FAPI2-AZ-8, OA-REG-4, OA-REG-6)."""
    if _PRINTABLE.match(redirect_uri) is None or "\\" in redirect_uri:
        return "redirect_uri must be printable ASCII"
    if "#" in redirect_uri:
        return "redirect_uri must not have a fragment"
    try:
        parts = urlsplit(redirect_uri)
        port = parts.port
    except ValueError:
        return "redirect_uri is not a URI"
    if parts.username is not None or parts.password is not None:
        return "redirect_uri must not have user information"
    if not _ANSWERS.isdisjoint(name for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        return "redirect_uri must not hold a parameter of the response"  # OA-EP-1: it would be there twice
    if parts.scheme == "https":
        is_host = _AUTHORITY.match(parts.netloc) is not None and port != 0
        return None if is_host else "redirect_uri must name a host"
    if application_type == "native" and _loopback(redirect_uri) is not None:
        return None
    return "redirect_uri must be https, or http on 127.0.0.1 or [::1] for a native client"


def is_registered(redirect_uri: str, registered: tuple[str, ...], application_type: str) -> bool:
    """Exact string equality; a loopback IP literal of a native client may differ in its port (OA-REG-3)."""
    if redirect_uri in registered:
        return True
    if application_type != "native":
        return False
    asked = _loopback(redirect_uri)
    return asked is not None and asked in {_loopback(candidate) for candidate in registered}


def _loopback(redirect_uri: str) -> tuple[str, str] | None:
    match = _LOOPBACK.match(redirect_uri)
    if match is None:
        return None
    host, port, path = match.groups()
    if port is not None and not 0 < int(port) <= 65535:  # noqa: PLR2004 - the range of TCP ports
        return None
    return host, path or ""


def origin_of(redirect_uri: str) -> str:
    """scheme://host[:port] of a validated redirect URI, for `form-action` and for the consent page."""
    parts = urlsplit(redirect_uri)
    return f"{parts.scheme}://{parts.netloc}"


def with_parameters(redirect_uri: str, encoded: str) -> str:
    """Append response parameters; a registered query is kept (OA-REG-4)."""
    return f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{encoded}"


def form_action_source(redirect_uri: str) -> str:
    """The CSP source that lets the answer to a form redirect there (CSP3 form-action)."""
    parts = urlsplit(redirect_uri)
    # the grammar of host sources has no IPv6 literal: browsers drop such a source and then block the redirect
    return f"{parts.scheme}:" if "[" in parts.netloc else origin_of(redirect_uri)
