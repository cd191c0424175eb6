"""Which addresses an agent will talk to: https, nothing hidden in them, nothing a shell or a log could trip over."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from fapi_as.agent.errors import InsecureAddress
from rs_kit.protocol.htu import InvalidUri, normalise

_LENGTH_LIMIT: Final = 2048
_PRINTABLE: Final = re.compile(r"[!#-\[\]-~]+\Z")  # visible ASCII without quotes and backslash
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def secure(url: str, what: str) -> SplitResult:
    """The parts of an https address (MCP CL18, FAPI2-NET-1).

    Args:
        url: the address as somebody else sent or configured it.
        what: what it is the address of, for the sentence.

    Raises:
        InsecureAddress: another scheme, no host, credentials, a fragment, or characters no address has.
    """
    parts = _split(url, what)
    if parts.scheme != "https":
        raise InsecureAddress(f"the {what} is not an https address, and this agent speaks to no other")
    try:
        normalise(url)  # what has no normal form cannot be proved for, and has more than one reading
    except InvalidUri:
        raise InsecureAddress(f"the {what} is no address that a request could have") from None
    return parts


def secure_issuer(url: str) -> SplitResult:
    """The parts of an issuer identifier (RFC 8414 §2).

    Raises:
        InsecureAddress: not https, or with a query.
    """
    parts = secure(url, "issuer")
    if "?" in url:
        raise InsecureAddress("the issuer has a query, which no issuer may have")
    return parts


def acceptable_redirect(url: str) -> None:
    """A redirect URI is https, or http on this very machine (MCP CL17, RFC 8252 §7.3).

    Raises:
        InsecureAddress: anything else.
    """
    parts = _split(url, "redirect_uri")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise InsecureAddress("the redirect_uri is neither https nor http on this machine")


def is_on_this_machine(redirect_uri: str) -> bool:
    """Whether a redirect URI is that of a native application (RFC 8252 §7.3)."""
    return _split(redirect_uri, "redirect_uri").hostname in _LOOPBACK


def origin(url: str) -> str:
    """Scheme, host and port of an address, the port always written: what a nonce belongs to (RFC 9449 §8.2)."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"


def with_well_known(url: str, name: str) -> str:
    """Insert a well-known path between host and path (RFC 8414 §3.1, RFC 9728 §3.1)."""
    parts = urlsplit(url)
    path = "" if parts.path == "/" else parts.path
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}/.well-known/{name}{path}{query}"


def _split(url: str, what: str) -> SplitResult:
    if len(url) > _LENGTH_LIMIT or not _PRINTABLE.match(url):
        raise InsecureAddress(f"the {what} is no address: it is too long or has characters that no address has")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InsecureAddress(f"the {what} is no address") from None
    if not host or parts.username is not None or parts.password is not None or "#" in url:
        raise InsecureAddress(f"the {what} has no host, or carries credentials or a fragment")
    return parts
