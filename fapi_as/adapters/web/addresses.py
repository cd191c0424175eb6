"""Which tenant and endpoint an address belongs to: exact paths as they came over the wire, nothing normalised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fapi_as.kernel.capabilities import endpoints
from fapi_as.kernel.seam import Context, Endpoint

_WELL_KNOWN: Final = "/.well-known/"
_OPENID: Final = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One endpoint of one tenant."""

    path: str
    context: Context
    endpoint: Endpoint


def routes(contexts: Mapping[str, Context]) -> dict[bytes, Route]:
    """Every address of every tenant; tenants are keyed by the path of their issuer, "" at the root."""
    found: dict[bytes, Route] = {}
    for prefix, context in contexts.items():
        for endpoint in endpoints(context.features).values():
            for path in _paths(prefix, endpoint.path):
                found[path.encode("ascii")] = Route(path=path, context=context, endpoint=endpoint)
    return found


def _paths(prefix: str, path: str) -> tuple[str, ...]:
    if not prefix or not path.startswith(_WELL_KNOWN):
        return (prefix + path,)
    # RFC 8414 §3.1 inserts the issuer's path; OpenID Connect Discovery §4 appends to it, and clients do either
    inserted = path + prefix
    return (inserted, prefix + path) if path == _OPENID else (inserted,)
