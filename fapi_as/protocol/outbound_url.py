"""Which URLs of others may be fetched, and at which addresses (JOSE-33, RFC 6890, OWASP on SSRF): pure.

A URL has one spelling that everybody reads alike, or it is refused: no user information, no fragment, no number that
some parsers take for an address, no dot at the end of the host. Names say nothing about where they lead, so addresses
are judged after they were looked up, and the connection is made to the address that was judged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

URL_LIMIT: Final = 2048  # characters
_HTTPS_PORT: Final = 443
_PORTS: Final = range(1024, 65536)  # beside 443: below are the services of other protocols (DCR-10: port 22)
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\Z")  # RFC 1123 §2.1
_NUMBER: Final = re.compile(
    r"(?:[0-9]+|0[xX][0-9A-Fa-f]*)\Z"
)  # what a WHATWG parser takes for a part of an IPv4 address
_URL: Final = re.compile(
    r"https://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*)"
    r"(?P<query>\?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?\Z"
)
# RFC 6761, RFC 8375, RFC 9476 and what is in use for the inside of networks; names without a dot are added below
_INSIDE: Final = ("localhost", "local", "internal", "home.arpa", "onion", "alt", "invalid", "lan", "corp", "home")

# the IANA registries of special-purpose addresses, and an address that a cloud answers its own machines at
_NOT_PUBLIC_4: Final = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
            *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
            *("224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32"),
        ),
    )
)
_PUBLIC_6: Final = IPv6Network("2000::/3")  # mapped, compatible, translated, local and multicast addresses lie outside
_NOT_PUBLIC_6: Final = tuple(
    map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"))
)
# where a host may be that an operator allowed by name: never the addresses of a link, where clouds keep their secrets
_PRIVATE: Final = tuple(map(IPv4Network, ("10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_PRIVATE_6: Final = tuple(map(IPv6Network, ("::1/128", "fc00::/7")))
_CLOUD_SECRETS: Final = IPv6Address("fd00:ec2::254")
_SITE_BITS: Final = 64  # RFC 6177: nobody gets less
_COUNTRY: Final = 2  # characters of its top-level domain
_CATEGORIES: Final = frozenset({"ac", "co", "com", "edu", "go", "gov", "gob", "gouv", "ne", "net", "or", "org"})

Address = IPv4Address | IPv6Address


class InvalidOutboundUrl(Exception):
    """The URL, or the place that it leads to, may not be fetched; the message says why and repeats nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundUrl:
    """An https URL in its one spelling; `address` is the host where that is an address."""

    host: str
    port: int
    target: str
    address: Address | None = None


def parse_outbound_url(url: str) -> OutboundUrl:
    """Read a URL without looking anything up.

    Raises:
        InvalidOutboundUrl: another scheme or spelling, or an address that is not public.
    """
    if len(url) > URL_LIMIT:
        raise InvalidOutboundUrl(f"the URL must have at most {URL_LIMIT} characters")
    match = _URL.match(url)
    if match is None:
        raise InvalidOutboundUrl("the URL must be https, without user information and fragment, in plain ASCII")
    port = int(match["port"] or _HTTPS_PORT)
    if port != _HTTPS_PORT and port not in _PORTS:
        raise InvalidOutboundUrl("the port must be 443 or one above 1023")
    host = match["host"].lower()
    address = _literal(host)
    if address is None and _NAME.match(host) is None:
        raise InvalidOutboundUrl("the host is no name")
    if address is not None and not is_public(address):
        raise InvalidOutboundUrl("the address is not public")
    return OutboundUrl(
        host=host.strip("[]"),
        port=port,
        target=(match["path"] or "/") + (match["query"] or ""),
        address=address,
    )


def require_address(url: OutboundUrl, address: Address, allowed_private_hosts: frozenset[str]) -> None:
    """Judge an address that the host was found at.

    Raises:
        InvalidOutboundUrl: it is not public, and the host is none that may be private.
    """
    if is_public(address):
        return
    if url.host not in allowed_private_hosts or not _is_private(address):
        raise InvalidOutboundUrl("the host has an address that is not public")


def require_name(url: OutboundUrl, allowed_private_hosts: frozenset[str]) -> None:
    """Judge the host before it is looked up: what is named like the inside of a network is not asked for.

    Raises:
        InvalidOutboundUrl: a special-use name, or one without a dot, that no operator allowed.
    """
    if url.address is not None or url.host in allowed_private_hosts:
        return
    if "." not in url.host or any(url.host.endswith(f".{name}") for name in _INSIDE):
        raise InvalidOutboundUrl("the host is a name for the inside of a network")


def site(url: OutboundUrl) -> str:
    """Whose places a fetch takes: of all names below one that is registered, and of all addresses of one network.

    Names and addresses below those cost nothing, so a limit for each of them would be none. Below which names
    others register theirs is only guessed (`co.uk`); where that is too coarse, some wait for each other.
    """
    if isinstance(url.address, IPv6Address):
        return str(IPv6Network((url.address, _SITE_BITS), strict=False))
    if url.address is not None:
        return url.host
    labels = url.host.split(".")
    below_category = len(labels[-1]) == _COUNTRY and labels[-2:][0] in _CATEGORIES
    return ".".join(labels[-3 if below_category else -2 :])


def is_public(address: Address) -> bool:
    """Whether everybody reaches the same machine there."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    return (
        address.scope_id is None and address in _PUBLIC_6 and not any(address in network for network in _NOT_PUBLIC_6)
    )


def _is_private(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return any(address in network for network in _PRIVATE)
    return address.scope_id is None and address != _CLOUD_SECRETS and any(address in network for network in _PRIVATE_6)


def _literal(host: str) -> Address | None:
    """The address that the host is; None for a name.

    Raises:
        InvalidOutboundUrl: a number or an address in another than the usual spelling.
    """
    try:
        if host.startswith("["):
            address = IPv6Address(host[1:-1])
            if str(address) != host[1:-1]:  # RFC 5952: one spelling
                raise AddressValueError(host)
            return address
        if _NUMBER.match(host.rpartition(".")[2]) is not None:
            return IPv4Address(host)
    except AddressValueError:
        raise InvalidOutboundUrl("the host is no address in its usual spelling") from None
    return None
