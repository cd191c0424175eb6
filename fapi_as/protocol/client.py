"""Clients: what is registered, and the proof that a request comes from one."""

from __future__ import annotations

from dataclasses import dataclass

from fapi_as.protocol.client_certificate import CertificateSubject
from fapi_as.protocol.client_message_metadata import DEFAULT_ALGORITHM
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
    jwks_uri: str | None = None
    key_certificates: tuple[bytes | None, ...] = ()  # DER, beside `keys`
    certificate_subject: CertificateSubject | None = None
    tls_client_certificate_bound_access_tokens: bool = False
    use_mtls_endpoint_aliases: bool = False
    require_signed_request_object: bool = False
    request_object_signing_alg: str | None = None
    authorization_signed_response_alg: str = DEFAULT_ALGORITHM
    response_modes: tuple[str, ...] | None = None
    id_token_signed_response_alg: str = DEFAULT_ALGORITHM
    userinfo_signed_response_alg: str | None = None
    subject_type: str = "public"
    sector_identifier_uri: str | None = None
    default_max_age: int | None = None
    require_auth_time: bool = False
    post_logout_redirect_uris: tuple[str, ...] = ()

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """The certificates of the registered keys, DER (RFC 8705 §2.2)."""
        return tuple(certificate for certificate in self.key_certificates if certificate is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientKeySet:
    """The keys and certificates of a client as they are now."""

    keys: tuple[PublicJwk, ...]
    certificates: tuple[bytes, ...] = ()


class KeysUnavailable(Exception):
    """The keys behind a client's jwks_uri cannot be had now; the message is the private reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticatedClient:
    """A client that proved possession of a registered key.

    Either by an assertion, whose jti is spent with the decision, or by the certificate (DER) of its connection: then
    there is nothing to spend, because nobody who copied the request has the key of that certificate.
    """

    registered: RegisteredClient
    assertion_once: TakeOnce | None = None
    certificate: bytes | None = None
