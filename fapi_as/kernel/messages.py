"""Requests and answers as endpoints see them: no framework, nothing lost, nothing merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fapi_as.protocol.audit_events import Stamp

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRequest:
    """One request: raw bytes and ordered pairs; `path` is the endpoint's own, without the tenant's prefix.

    `segment` is what stands for the last part of a path that ends in `/{…}`, as it came over the wire.
    """

    method: str
    path: str
    segment: str = ""
    query_string: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    now: int
    correlation_id: str
    source: str
    peer_certificate: bytes | None = None  # DER, whose key the peer of this connection holds
    peer_chain: tuple[bytes, ...] = ()  # DER: what else it sent; proves nothing by itself
    mutual_tls: bool = False  # whether it came to the address where certificates are asked for
    proxied: bool = False  # whether `source` is a proxy, through which everybody comes

    @property
    def stamp(self) -> Stamp:
        """What is written beside every audit fact of this request."""
        return Stamp(at=self.now, correlation_id=self.correlation_id, endpoint=self.path, source=self.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cookie:
    """A `__Host-` cookie: Secure, HttpOnly, SameSite=Lax, Path=/ always; the value None removes it."""

    name: str
    value: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Json:
    """A JSON answer of a back-channel endpoint; never cached unless `cache_seconds` is set."""

    payload: Mapping[str, object]
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    cache_seconds: int | None = None
    public: bool = False  # readable from any origin: metadata and keys only (MD-6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compact:
    """A signed answer of a back-channel endpoint (`application/jwt`); never cached."""

    token: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NoContent:
    """Done, and nothing to say about it: 204 (RFC 7592 §2.3); never cached."""

    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An HTML page: a template shipped by a feature and its values; `form_action` lists extra origins (CSP)."""

    template: str
    values: Mapping[str, object] = field(default_factory=dict)
    status: int = 200
    form_action: tuple[str, ...] = ()
    cookies: tuple[Cookie, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SeeOther:
    """The only redirect there is: 303 (FAPI2-AZ-13, FAPI2-AZ-14); a 307 cannot be expressed."""

    location: str
    cookies: tuple[Cookie, ...] = ()


Answer = Json | Compact | NoContent | Page | SeeOther


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointResponse:
    """What leaves: status, headers in order, body bytes."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
