"""Who an agent is at one issuer: its registration there, what proves it, and how messages are signed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fapi_as.agent.address import acceptable_redirect, secure, secure_issuer
from fapi_as.agent.errors import Misconfigured
from fapi_as.agent.ports import Certificate
from rs_kit.protocol.algorithms import SIGNING_ALGORITHMS, canonical
from rs_kit.protocol.jws import SigningKey


class GrantType(Enum):
    """How this agent gets its tokens."""

    AUTHORIZATION_CODE = "authorization_code"  # a person allows it
    CLIENT_CREDENTIALS = "client_credentials"  # it acts for itself


class AuthMethod(Enum):
    """How this agent shows an authorization server who it is (FAPI 2.0 §5.3.3.1)."""

    PRIVATE_KEY_JWT = "private_key_jwt"
    TLS_CLIENT_AUTH = "tls_client_auth"  # a certificate of an authority that the server trusts
    SELF_SIGNED_TLS_CLIENT_AUTH = "self_signed_tls_client_auth"  # a certificate that is registered itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One registration: the issuer it is good for, what proves it there, and how messages are signed.

    The members that have the name of a client's metadata are what was registered (RFC 7591, RFC 8705, RFC 9101, JARM).

    Args:
        endpoint_origins: other origins, as `https://host:port`, at which this issuer's endpoints may be. Its metadata
            alone sends no assertion, code or refresh token to another origin than its own; the endpoints for mutual TLS
            may have another port.
        certificate: what authenticates, or what tokens are bound to, or both. The HTTP clients show it only when they
            are made with `verify=certificate.context`.
        dpop_bound_access_tokens: tokens are bound to a key; so they are when they are not bound to the certificate.
        request_object_signing_alg: pushed requests are request objects, signed with `key`; None pushes parameters.
        authorization_signed_response_alg: responses are asked for and taken as signed JWTs only; None takes plain ones.

    Raises:
        InsecureAddress: the issuer is not https, or the redirect URI is neither https nor on this machine.
        Misconfigured: an endpoint origin has a path or a query; a key, a certificate or an algorithm does not fit.
    """

    issuer: str
    client_id: str
    key: SigningKey | None = None
    redirect_uri: str | None = None
    endpoint_origins: tuple[str, ...] = ()
    token_endpoint_auth_method: AuthMethod = AuthMethod.PRIVATE_KEY_JWT
    certificate: Certificate | None = None
    dpop_bound_access_tokens: bool = False
    tls_client_certificate_bound_access_tokens: bool = False
    request_object_signing_alg: str | None = None
    authorization_signed_response_alg: str | None = None
    id_token_signed_response_alg: str = "ES256"  # noqa: S105 - an algorithm
    userinfo_signed_response_alg: str | None = None

    def __post_init__(self) -> None:
        secure_issuer(self.issuer)
        for allowed in self.endpoint_origins:
            parts = secure(allowed, "endpoint origin")
            if parts.path not in {"", "/"} or parts.query:  # it would allow more than it says
                raise Misconfigured(f"{allowed} is no origin: give scheme, host and port, and no path")
        if self.redirect_uri is not None:
            acceptable_redirect(self.redirect_uri)
        self._check_credentials()
        signed = (self.authorization_signed_response_alg, self.userinfo_signed_response_alg)
        for algorithm in (*signed, self.id_token_signed_response_alg):
            if algorithm is not None and canonical(algorithm) not in SIGNING_ALGORITHMS:
                raise Misconfigured(f"responses are signed with one of {', '.join(SIGNING_ALGORITHMS)}")

    def _check_credentials(self) -> None:
        by_key = self.token_endpoint_auth_method is AuthMethod.PRIVATE_KEY_JWT
        if by_key and self.key is None:
            raise Misconfigured("private_key_jwt needs the agent's key")
        if not by_key and self.certificate is None:
            raise Misconfigured(f"{self.token_endpoint_auth_method.value} needs the agent's certificate")
        if self.tls_client_certificate_bound_access_tokens and self.certificate is None:
            raise Misconfigured("tokens that are bound to a certificate need the agent's certificate")
        signing = self.request_object_signing_alg
        if signing is not None and (self.key is None or self.key.alg != canonical(signing)):
            raise Misconfigured(f"request objects that are signed with {signing} need a key for it")

    @property
    def proves_key(self) -> bool:
        """Whether requests carry a DPoP proof: always, where the certificate alone does not bind the tokens."""
        return self.dpop_bound_access_tokens or not self.tls_client_certificate_bound_access_tokens
