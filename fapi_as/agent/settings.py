"""What an agent is told at start: who it is, where, and what it may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fapi_as.agent.address import acceptable_redirect, secure, secure_issuer
from fapi_as.agent.errors import Misconfigured
from rs_kit.protocol.jws import SigningKey


class GrantType(Enum):
    """How this agent gets its tokens."""

    AUTHORIZATION_CODE = "authorization_code"  # a person allows it
    CLIENT_CREDENTIALS = "client_credentials"  # it acts for itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One registration: the issuer it is good for, and the key that proves it there (private_key_jwt).

    Args:
        endpoint_origins: other origins, as `https://host:port`, at which this issuer's endpoints may be. Its metadata
            alone sends no assertion, code or refresh token to another origin than its own.

    Raises:
        InsecureAddress: the issuer is not https, or the redirect URI is neither https nor on this machine.
        Misconfigured: an endpoint origin has a path or a query.
    """

    issuer: str
    client_id: str
    key: SigningKey
    redirect_uri: str | None = None
    endpoint_origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        secure_issuer(self.issuer)
        for allowed in self.endpoint_origins:
            parts = secure(allowed, "endpoint origin")
            if parts.path not in {"", "/"} or parts.query:  # it would allow more than it says
                raise Misconfigured(f"{allowed} is no origin: give scheme, host and port, and no path")
        if self.redirect_uri is not None:
            acceptable_redirect(self.redirect_uri)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """One agent at one protected resource; only issuers it has an identity for are believed.

    Args:
        scope: what to ask for first; when empty, what the resource's challenge or metadata names (MCP CL14).

    Raises:
        Misconfigured: no identity, two for one issuer (ISS-5), or a wildcard scope (FAPI2-CL-11).
        InsecureAddress: the resource is not https.
    """

    resource: str
    identities: tuple[Identity, ...]
    scope: tuple[str, ...] = ()
    grant_type: GrantType = GrantType.AUTHORIZATION_CODE

    def __post_init__(self) -> None:
        secure(self.resource, "protected resource")
        issuers = [identity.issuer for identity in self.identities]
        if not issuers:
            raise Misconfigured("an agent needs at least one identity")
        if len(set(issuers)) != len(issuers):
            raise Misconfigured("two identities name the same issuer")
        if any("*" in value for value in self.scope):
            raise Misconfigured("a wildcard is no scope: ask for what the agent needs")
        if self.grant_type is GrantType.AUTHORIZATION_CODE and any(
            identity.redirect_uri is None for identity in self.identities
        ):
            raise Misconfigured("the code flow needs a redirect_uri for every identity")
