"""Clients: what is registered, and the proof that a request comes from one."""

from __future__ import annotations

from dataclasses import dataclass

from fapi_as.protocol.effects import TakeOnce
from rs_kit.protocol.jwk import PublicJwk


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredClient:
    """One RFC 7591 registration, parsed and validated; `version` changes with every update."""

    client_id: str
    version: int
    client_name: str
    token_endpoint_auth_method: str
    token_endpoint_auth_signing_alg: str | None
    redirect_uris: tuple[str, ...]
    grant_types: frozenset[str]
    scope: frozenset[str]
    keys: tuple[PublicJwk, ...]
    application_type: str = "web"
    default_resource: str | None = None
    dpop_bound_access_tokens: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticatedClient:
    """A client that proved possession of a registered key; the assertion's jti is spent with the decision."""

    registered: RegisteredClient
    assertion_once: TakeOnce
