"""Clients: what is registered, and the proof that a request comes from one."""

from __future__ import annotations

from dataclasses import dataclass

from fapi_as.protocol.client_certificate import CertificateSubject
from fapi_as.protocol.client_message_metadata import DEFAULT_ALGORITHM
from fapi_as.protocol.effects import Require, Required, TakeOnce
from rs_kit.protocol.jwk import PublicJwk


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientDescription:
    """What a client says of itself to people: nothing here decides anything (RFC 7591 §2, §2.2)."""

    names: tuple[tuple[str, str], ...] = ()  # (BCP 47 language, name): client_name#language
    client_uri: str | None = None
    logo_uri: str | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None
    contacts: tuple[str, ...] = ()
    software_id: str | None = None
    software_version: str | None = None
    localized_uris: tuple[tuple[str, str], ...] = ()  # (member#language, URL), as logo_uri#fr

    def name_for(self, language: str) -> str | None:
        """The name in this language (BCP 47), or in a wider one (RFC 4647 §3.4), or None."""
        names = {tag.lower(): name for tag, name in self.names}
        subtags = language.lower().split("-")
        wider = ("-".join(subtags[:length]) for length in range(len(subtags), 0, -1))
        return next((names[tag] for tag in wider if tag in names), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """What today's policy of whoever approved a client leaves of what it may be issued; None limits nothing."""

    resources: frozenset[str] | None = None
    access_token_seconds: int | None = None
    refresh_tokens: bool = True
    refresh_token_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """Who approved a client: the name of an approver, and its version when the client was read."""

    approver: str
    version: int


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
    default_acr_values: tuple[str, ...] = ()
    introspection_signed_response_alg: str | None = None  # registered for the day that somebody introspects
    description: ClientDescription = ClientDescription()
    approval: Approval | None = None  # None: an operator registered it
    limits: ClientLimits = ClientLimits()
    last_used_at: int | None = None  # NumericDate; None until it first authenticates
    document_digest: str | None = None  # of what a metadata document binds (CIMD-14); None: it has a registration

    @property
    def requirements(self) -> tuple[Require, ...]:
        """What must still be so when a decision about this client is committed."""
        approved: tuple[Require, ...] = ()
        if self.approval is not None:
            name, version = self.approval.approver, self.approval.version
            approved = (Require(required=Required.APPROVER, identifier=name, version=version),)
        if self.document_digest is not None:
            return (Require(required=Required.DOCUMENT, identifier=self.client_id), *approved)
        return (Require(required=Required.CLIENT, identifier=self.client_id, version=self.version), *approved)

    @property
    def key_owner(self) -> str:
        """Whose keys these are, among all whose keys are looked for."""
        return f"client {self.client_id}"

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """The certificates of the registered keys, DER (RFC 8705 §2.2)."""
        return tuple(certificate for certificate in self.key_certificates if certificate is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientKeySet:
    """The keys and certificates of a client as they are now."""

    keys: tuple[PublicJwk, ...]
    certificates: tuple[bytes, ...] = ()


class ClientUnavailable(Exception):
    """The metadata document of a client cannot be had or used now; the message is the private reason."""


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
