"""Where a request comes from, as far as anything is counted by it."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

_IPV6_SITE_BITS: Final = 64  # whoever has one address of a site has them all


@lru_cache(maxsize=1024)
def site_of(source: str) -> str:
    """The IPv4 address, or the /64 of an IPv6 address; what is no address stays as it is."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return source
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), _IPV6_SITE_BITS), strict=False))
