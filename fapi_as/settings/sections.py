"""The sections of the configuration and their hardened defaults."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from fapi_as.protocol import profile
from fapi_as.protocol.policy import DocumentPolicy, Policy, seconds
from fapi_as.settings.values import (
    DocumentHost,
    HostName,
    ResolvedPath,
    ScopeValue,
    between,
    bind_host,
    database_url,
    host_of,
    in_range,
    issuer_url,
    longer_than_jwks_max_age,
)

DEFAULT_TENANT: Final = "default"
_HIGHEST_PORT: Final = 65535
_HTTPS_PORT: Final = 443
_FILES: Final = frozenset({"certificate_file", "private_key_file"})
_WORKER_LIMIT: Final = 64
_ROTATION_CEILING_DAYS: Final = 365  # JOSE-34: no signing key is for ever
_PENDING_CEILING_HOURS: Final = 7 * 24  # DCR-16: what nobody uses ends
_UNUSED_CEILING_DAYS: Final = 365
_REGISTRATIONS_CEILING: Final = 100_000


class _Section(BaseModel):
    # strict: "8443" is no port and 1 is no boolean; defaults are validated, since paths are resolved there
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, hide_input_in_errors=True
    )


class Server(_Section):
    """Where the server lives and how it is reached."""

    issuer: Annotated[str, AfterValidator(issuer_url)]
    host: Annotated[str, AfterValidator(bind_host)] = "127.0.0.1"
    port: Annotated[int, in_range(1, _HIGHEST_PORT)] = 8443
    workers: Annotated[int, in_range(1, _WORKER_LIMIT)] = 1
    certificate_file: ResolvedPath = Path("authorization-server.pem")
    private_key_file: ResolvedPath = Path("authorization-server.key")


class MutualTls(_Section):
    """The second address, where peers are asked for certificates; what is not said is as on the first one."""

    enabled: bool = True
    host: Annotated[str, AfterValidator(bind_host)] = "127.0.0.1"
    port: Annotated[int, in_range(1, _HIGHEST_PORT)] = 8444
    certificate_file: ResolvedPath = Path("authorization-server.pem")
    private_key_file: ResolvedPath = Path("authorization-server.key")
    url: Annotated[str, AfterValidator(issuer_url)] | None = None
    client_ca_file: ResolvedPath | None = None
    client_crl_file: ResolvedPath | None = None
    client_cert_header: bool = False
    proxy_networks: Annotated[tuple[str, ...], Field(strict=False)] = ()
    proxy_certificates_file: ResolvedPath | None = None
    proxy_secret_file: ResolvedPath | None = None

    @model_validator(mode="after")
    def _header_of_somebody(self) -> Self:
        named = bool(self.proxy_networks or self.proxy_certificates_file or self.proxy_secret_file)
        if self.client_cert_header and not named:
            raise ValueError(
                "mtls.client_cert_header is on and nobody is trusted: it needs mtls.proxy_networks, and "
                "mtls.proxy_certificates_file or mtls.proxy_secret_file"
            )
        if named and not (self.client_cert_header and self.enabled):
            raise ValueError("mtls.proxy_* names a proxy, and mtls.client_cert_header or mtls.enabled is off")
        return self


class Database(_Section):
    """The one store that all workers share."""

    url: Annotated[str, AfterValidator(database_url)] = "sqlite:///fapi-as.db"

    @property
    def path(self) -> Path:
        """The file of the database."""
        return Path(self.url.removeprefix("sqlite:///"))


class Keys(_Section):
    """What seals the signing keys and every payload at rest."""

    sealing_key_file: ResolvedPath = Path("sealing.key")
    rotation_days: Annotated[int, in_range(1, _ROTATION_CEILING_DAYS)] = 90
    jwks_max_age: Annotated[int, between(timedelta(seconds=1), profile.JWKS_MAX_AGE_CEILING, "JOSE-33")] = seconds(
        profile.JWKS_MAX_AGE
    )
    published_before_use: Annotated[
        int, between(timedelta(seconds=2), timedelta(days=1), "JOSE-34"), AfterValidator(longer_than_jwks_max_age)
    ] = seconds(profile.SIGNING_KEY_PUBLISHED_BEFORE_USE)


class Fetch(_Section):
    """How documents of others are had: keys of clients and authorities, client ID metadata documents."""

    ca_file: ResolvedPath | None = None
    allowed_private_hosts: Annotated[tuple[HostName, ...], Field(strict=False)] = ()


class Lifetimes(_Section):
    """All in seconds; shorter is allowed, longer than the profile is not."""

    authorization_code: Annotated[
        int, between(timedelta(seconds=5), profile.AUTHORIZATION_CODE_CEILING, "FAPI2-AS-13")
    ] = seconds(profile.AUTHORIZATION_CODE_LIFETIME)
    request_uri: Annotated[
        int, between(profile.REQUEST_URI_FLOOR, profile.REQUEST_URI_CEILING, "FAPI2-AZ-15, RFC 9126 section 2.2")
    ] = seconds(profile.REQUEST_URI_LIFETIME)
    interaction: Annotated[int, between(timedelta(minutes=1), profile.INTERACTION_LIFETIME, "LOG-20")] = seconds(
        profile.INTERACTION_LIFETIME
    )
    session: Annotated[int, between(timedelta(minutes=1), profile.SESSION_CEILING, "LOG-14")] = seconds(
        profile.SESSION_LIFETIME
    )
    session_idle: Annotated[int, between(timedelta(minutes=1), profile.SESSION_IDLE, "LOG-14")] = seconds(
        profile.SESSION_IDLE
    )
    access_token: Annotated[int, between(timedelta(seconds=10), profile.ACCESS_TOKEN_CEILING, "DPOP-AS-17, AT-15")] = (
        seconds(profile.ACCESS_TOKEN_LIFETIME)
    )
    refresh_token: Annotated[int, between(timedelta(minutes=1), profile.REFRESH_TOKEN_CEILING, "RT-3")] = seconds(
        profile.REFRESH_TOKEN_LIFETIME
    )
    refresh_token_idle: Annotated[int, between(timedelta(minutes=1), profile.REFRESH_TOKEN_CEILING, "RT-3")] = seconds(
        profile.REFRESH_TOKEN_IDLE
    )


class Dpop(_Section):
    """Proofs of possession at our own endpoints."""

    nonces: bool = True
    proof_age: Annotated[int, between(timedelta(seconds=5), profile.DPOP_PROOF_AGE_CEILING, "DPOP-12")] = seconds(
        profile.DPOP_PROOF_AGE
    )


class Registration(_Section):
    """How clients register themselves, and when those that nobody uses end; who may is up to approvers."""

    enabled: bool = True
    pending_hours: Annotated[int, in_range(1, _PENDING_CEILING_HOURS)] = (
        seconds(profile.PENDING_CLIENT_LIFETIME) // 3600
    )
    unused_days: Annotated[int, in_range(1, _UNUSED_CEILING_DAYS)] = profile.UNUSED_CLIENT_LIFETIME.days
    per_source_per_hour: Annotated[int, in_range(1, _REGISTRATIONS_CEILING)] = profile.REGISTRATIONS_PER_SOURCE


class ClientIdMetadata(_Section):
    """Clients that have a document instead of a registration: of which hosts, and for which scopes (CIMD-13)."""

    enabled: bool = False
    hosts: Annotated[tuple[DocumentHost, ...], Field(strict=False)] = ()
    scopes: Annotated[tuple[ScopeValue, ...], Field(strict=False)] = ()
    statement_required: bool = False

    @model_validator(mode="after")
    def _of_somebody_for_something(self) -> Self:
        if self.enabled and not (self.hosts and self.scopes):
            raise ValueError(
                "client_id_metadata.enabled is on and nothing is allowed: it needs client_id_metadata.hosts and "
                "client_id_metadata.scopes"
            )
        return self


class Logging(_Section):
    """What the processes say on stderr; ids and outcomes, never secrets."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "text"] = "json"


class Settings(_Section):
    """The whole configuration, already judged."""

    server: Server
    mtls: MutualTls
    database: Database
    keys: Keys
    fetch: Fetch
    lifetimes: Lifetimes
    dpop: Dpop
    registration: Registration
    client_id_metadata: ClientIdMetadata
    logging: Logging

    @model_validator(mode="before")
    @classmethod
    def _second_like_first(cls, document: Any) -> Any:
        server, mtls = document.get("server"), document.get("mtls")
        if not isinstance(server, dict) or not isinstance(mtls, dict):
            return document
        if len(_FILES & mtls.keys()) == 1:
            raise ValueError("mtls.certificate_file and mtls.private_key_file are set together or not at all")
        shared = {"host"} if _FILES & mtls.keys() else {"host", *_FILES}
        return {**document, "mtls": {**{name: server[name] for name in shared & server.keys()}, **mtls}}

    @model_validator(mode="after")
    def _two_addresses(self) -> Self:
        server, mtls = self.server, self.mtls
        if mtls.enabled and (mtls.host, mtls.port) == (server.host, server.port):
            raise ValueError(
                f"mtls.port is {mtls.port} as server.port is: clients with certificates need one of their own"
            )
        if self.mutual_tls_url == server.issuer:
            raise ValueError("mtls.url is the issuer: browsers would be asked for certificates there")
        if mtls.client_crl_file is not None and mtls.client_ca_file is None:
            raise ValueError("mtls.client_crl_file is set and mtls.client_ca_file is not: there is nobody to revoke")
        return self

    @property
    def mutual_tls_url(self) -> str | None:
        """How clients name the second address: as the issuer with another port, where nothing else is said."""
        if not self.mtls.enabled:
            return None
        if self.mtls.url is not None:
            return self.mtls.url
        port = "" if self.mtls.port == _HTTPS_PORT else f":{self.mtls.port}"
        return f"https://{host_of(self.server.issuer)}{port}"

    def policy(self, tenant: str = DEFAULT_TENANT) -> Policy:
        """What rules get instead of settings."""
        lifetimes = self.lifetimes
        return Policy(
            tenant=tenant,
            issuer=self.server.issuer,
            mutual_tls_url=self.mutual_tls_url,
            client_authorities=self.mtls.enabled and self.mtls.client_ca_file is not None,
            authorization_code_lifetime=timedelta(seconds=lifetimes.authorization_code),
            request_uri_lifetime=timedelta(seconds=lifetimes.request_uri),
            interaction_lifetime=timedelta(seconds=lifetimes.interaction),
            session_lifetime=timedelta(seconds=lifetimes.session),
            session_idle=timedelta(seconds=lifetimes.session_idle),
            access_token_lifetime=timedelta(seconds=lifetimes.access_token),
            refresh_token_lifetime=timedelta(seconds=lifetimes.refresh_token),
            refresh_token_idle=timedelta(seconds=lifetimes.refresh_token_idle),
            dpop_proof_age=timedelta(seconds=self.dpop.proof_age),
            dpop_nonces=self.dpop.nonces,
            jwks_max_age=timedelta(seconds=self.keys.jwks_max_age),
            pending_client_lifetime=timedelta(hours=self.registration.pending_hours),
            unused_client_lifetime=timedelta(days=self.registration.unused_days),
            registrations_per_source=self.registration.per_source_per_hour,
            documents=self._documents(),
            allowed_private_hosts=frozenset(self.fetch.allowed_private_hosts),
        )

    def _documents(self) -> DocumentPolicy | None:
        section = self.client_id_metadata
        if not section.enabled:
            return None
        return DocumentPolicy(
            hosts=frozenset(section.hosts),
            scope=frozenset(section.scopes),
            statement_required=section.statement_required,
        )
