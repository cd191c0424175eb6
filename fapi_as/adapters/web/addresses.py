"""Which tenant and endpoint an address belongs to: exact paths as they came over the wire, nothing normalised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from fapi_as.kernel.capabilities import endpoints
from fapi_as.kernel.seam import Context, Endpoint

_SEGMENT_LIMIT: Final = 255  # bytes, as long as a client_id that is pinned
_WELL_KNOWN: Final = "/.well-known/"
_ANY_SEGMENT: Final = b"/\0"  # no path on the wire has it
_OPENID: Final = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One endpoint of one tenant; `host` is the name that requests for it must be for, None where any will do.

    `mutual_tls_host` is the same for requests that come to the address where certificates are asked for.
    """

    path: str
    context: Context
    endpoint: Endpoint
    host: bytes | None
    mutual_tls_host: bytes | None


def routes(contexts: Mapping[str, Context]) -> dict[bytes, Route]:
    """Every address of every tenant; tenants are keyed by the path of their issuer, "" at the root."""
    by_path: dict[bytes, Route] = {}
    for prefix, context in contexts.items():
        issuer, alias = context.policy.issuer, context.policy.mutual_tls_url
        for endpoint in endpoints(context.features).values():
            for path in _paths(prefix, endpoint.path):
                by_path[_wire_path(path)] = Route(
                    path=path,
                    context=context,
                    endpoint=endpoint,
                    host=None if endpoint.any_host else _host_of(issuer),
                    mutual_tls_host=None if endpoint.any_host else _host_of(alias or issuer),
                )
    return by_path


def found(routes_: Mapping[bytes, Route], raw_path: bytes) -> tuple[Route | None, str]:
    """The route of a path, and the segment that one brings whose path ends in `/{…}`."""
    route = routes_.get(raw_path)
    if route is not None:
        return route, ""
    above, _, segment = raw_path.rpartition(b"/")
    route = routes_.get(above + _ANY_SEGMENT)
    if route is None or not 0 < len(segment) <= _SEGMENT_LIMIT:
        return None, ""
    return route, segment.decode("latin-1")


def _wire_path(path: str) -> bytes:
    """How a path is found: what stands for a segment has one name, which no path on the wire has."""
    above, opened, _ = path.partition("{")
    return above.encode("ascii") + (_ANY_SEGMENT[1:] if opened else b"")


def _host_of(url: str) -> bytes:
    """As a Host field names it: an IPv6 address has its brackets."""
    name = urlsplit(url).hostname or ""
    return (f"[{name}]" if ":" in name else name).encode("ascii")


def _paths(prefix: str, path: str) -> tuple[str, ...]:
    if not prefix or not path.startswith(_WELL_KNOWN):
        return (prefix + path,)
    # RFC 8414 §3.1 inserts the issuer's path; OpenID Connect Discovery §4 appends to it, and clients do either
    inserted = path + prefix
    return (inserted, prefix + path) if path == _OPENID else (inserted,)
