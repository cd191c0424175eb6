"""What rules get instead of Settings: issuer, endpoints, lifetimes, all frozen and already checked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from fapi_as.protocol import profile


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentPolicy:
    """Which clients may have a metadata document instead of a registration (CIMD-13).

    `hosts` are names in lower case: `agents.example` at port 443, `agents.example:8443` at another one.
    """

    hosts: frozenset[str]
    scope: frozenset[str]
    statement_required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The policy of one tenant; every URL is built from configuration, never from a request (DPOP-11)."""

    tenant: str
    issuer: str
    authorization_code_lifetime: timedelta = profile.AUTHORIZATION_CODE_LIFETIME
    request_uri_lifetime: timedelta = profile.REQUEST_URI_LIFETIME
    interaction_lifetime: timedelta = profile.INTERACTION_LIFETIME
    session_lifetime: timedelta = profile.SESSION_LIFETIME
    session_idle: timedelta = profile.SESSION_IDLE
    access_token_lifetime: timedelta = profile.ACCESS_TOKEN_LIFETIME
    refresh_token_lifetime: timedelta = profile.REFRESH_TOKEN_LIFETIME
    refresh_token_idle: timedelta = profile.REFRESH_TOKEN_IDLE
    dpop_proof_age: timedelta = profile.DPOP_PROOF_AGE
    dpop_nonces: bool = True
    jwks_max_age: timedelta = profile.JWKS_MAX_AGE
    mutual_tls_url: str | None = None  # where client certificates are asked for, without a slash at its end
    client_authorities: bool = False  # whether anybody is trusted to certify clients (RFC 8705 §2.1)
    pending_client_lifetime: timedelta = profile.PENDING_CLIENT_LIFETIME
    unused_client_lifetime: timedelta = profile.UNUSED_CLIENT_LIFETIME
    registrations_per_source: int = profile.REGISTRATIONS_PER_SOURCE  # within an hour
    documents: DocumentPolicy | None = None  # None: a URL is nobody's client_id
    allowed_private_hosts: frozenset[str] = frozenset()  # fetch.allowed_private_hosts: inside, and fetched all the same

    def url(self, path: str, *, mutual_tls: bool = False) -> str:
        """The absolute URL of one of our paths; RFC 8414 §2 endpoints, or their RFC 8705 §5 aliases."""
        return (self.mutual_tls_url if mutual_tls and self.mutual_tls_url is not None else self.issuer) + path


def seconds(duration: timedelta) -> int:
    """Whole seconds, as NumericDate arithmetic and `expires_in` want them."""
    return int(duration.total_seconds())
