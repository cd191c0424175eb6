"""Who the agent of `fapi-as agent` is: options, and behind them a TOML file."""

from __future__ import annotations

import os
import ssl
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fapi_as.agent.certificate import ClientCertificate
from fapi_as.agent.errors import Misconfigured
from fapi_as.agent.identity import AuthMethod, GrantType, Identity
from fapi_as.agent.registrant import UNREGISTERED, Registrant
from fapi_as.agent.tls import trust
from rs_kit.protocol.errors import InvalidJwk
from rs_kit.protocol.jws import SigningKey
from rs_kit.protocol.secret import Secret

_DEFAULT_FILE: Final = Path("fapi-agent.toml")
_REDIRECT_URI: Final = "http://127.0.0.1/callback"
_APPROVALS: Final = ("software_statement", "initial_access_token")  # files: who has them may register
_PATHS: Final = frozenset({"key", "ca", "store", "certificate", "certificate_key", *_APPROVALS})
_NEEDED: Final = ("resource", "issuer", "client_id")
_SIGNED: Final = ("request_object_signing_alg", "authorization_signed_response_alg", "id_token_signed_response_alg")
_SWITCHES: Final = frozenset({"sign_registration"})
_MEMBERS: Final = frozenset({*_NEEDED, *_PATHS, *_SIGNED, *_SWITCHES}) | frozenset(
    {"endpoint_origins", "kid", "scope", "grant_type", "redirect_uri", "token_endpoint_auth_method", "bound_to"}
    | {"client_id_metadata_document", "client_name", "software_id"}
)
_SELF_MADE: Final = frozenset({*_APPROVALS, "client_id_metadata_document"})  # a client_id comes of each of them
_DESCRIBED: Final = ("client_name", "software_id")
_APPROVAL_LIMIT: Final = 65_536
BINDINGS: Final = ("key", "certificate", "both")
_OTHERS: Final = 0o077
_ANYBODY_WRITES: Final = 0o002


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One agent at one MCP server."""

    resource: str
    issuer: str
    endpoint_origins: tuple[str, ...]
    client_id: str | None  # None: it makes itself known
    key: SigningKey | None
    scope: tuple[str, ...]
    grant_type: GrantType
    redirect_uri: str
    store: Path
    tls: ssl.SSLContext
    auth_method: AuthMethod
    certificate: ClientCertificate | None
    bound_to: str
    signed: Mapping[str, str]
    approvals: Mapping[str, Secret]
    client_id_metadata_document: str | None
    described: Mapping[str, str]
    sign_registration: bool

    def identity(self, redirect_uri: str | None) -> Identity:
        """Who the agent is there, or will be."""
        return Identity(
            issuer=self.issuer,
            client_id=UNREGISTERED if self.client_id is None else self.client_id,
            key=self.key,
            redirect_uri=redirect_uri,
            endpoint_origins=self.endpoint_origins,
            token_endpoint_auth_method=self.auth_method,
            certificate=self.certificate,
            dpop_bound_access_tokens=self.bound_to != "certificate",
            tls_client_certificate_bound_access_tokens=self.bound_to != "key",
            **self.signed,
        )

    def registrant(self, redirect_uri: str | None) -> Registrant:
        """How it makes itself known; what a statement names is not said once more."""
        by_person = self.grant_type is GrantType.AUTHORIZATION_CODE
        metadata: dict[str, object] = dict(self.described)
        if by_person:  # without the port that it happens to get
            metadata["redirect_uris"] = [self.redirect_uri]
        if self.scope and "software_statement" not in self.approvals:
            metadata["scope"] = " ".join(self.scope)
        return Registrant(
            identity=self.identity(redirect_uri),
            grant_type=self.grant_type,
            metadata=metadata,
            software_statement=self.approvals.get("software_statement"),
            initial_access_token=self.approvals.get("initial_access_token"),
            client_id_metadata_document=self.client_id_metadata_document,
            signed=self.sign_registration,
        )


def read_profile(who: Mapping[str, Any]) -> Profile:
    """The profile that options and file describe; an option goes before its member.

    Raises:
        click.ClickException: a member is missing, unknown or cannot be used; the sentence says which.
    """
    config: Path | None = who["config"]
    given = {name: value for name, value in who.items() if name != "config" and value is not None}
    values = {**_from_file(config), **given}
    auth_method = _auth_method(values.get("token_endpoint_auth_method", AuthMethod.PRIVATE_KEY_JWT.value))
    by_key = auth_method is AuthMethod.PRIVATE_KEY_JWT
    needed = {*_NEEDED, "key" if by_key else "certificate"}
    needed -= {"client_id"} if _SELF_MADE & values.keys() else set()
    missing = sorted(needed - values.keys(), key=[*_NEEDED, "key", "certificate"].index)
    if missing:
        options = ", ".join("--" + name.replace("_", "-") for name in missing)
        raise click.ClickException(f"the agent does not know who it is: give {options}, or a fapi-agent.toml with them")
    certificate = _certificate(values)
    return Profile(
        resource=values["resource"],
        issuer=values["issuer"],
        endpoint_origins=tuple(values.get("endpoint_origins", "").split()),
        client_id=values.get("client_id"),
        key=_key(Path(values["key"]), values.get("kid")) if "key" in values else None,
        scope=tuple(values.get("scope", "").split()),
        grant_type=_grant_type(values.get("grant_type", GrantType.AUTHORIZATION_CODE.value)),
        redirect_uri=values.get("redirect_uri", _REDIRECT_URI),
        store=Path(values.get("store", _default_store())),
        tls=certificate.context if certificate is not None else _trust(values.get("ca")),
        auth_method=auth_method,
        certificate=certificate,
        bound_to=_bound_to(values.get("bound_to", BINDINGS[0])),
        signed={name: values[name] for name in _SIGNED if name in values},
        approvals={name: _approval(name, Path(values[name])) for name in _APPROVALS if name in values},
        client_id_metadata_document=values.get("client_id_metadata_document"),
        described={name: values[name] for name in _DESCRIBED if name in values},
        sign_registration=values.get("sign_registration", False),
    )


def _from_file(config: Path | None) -> dict[str, Any]:
    path = config or _DEFAULT_FILE
    if config is None and not path.exists():
        return {}
    if config is None and _is_of_others(path):
        raise click.ClickException(f"{path} belongs to somebody else, or anybody can change it; name it with --config")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise click.ClickException(f"{path}: {error}") from None
    for name, value in values.items():
        if name not in _MEMBERS:
            raise click.ClickException(f"{path}: {name} is no member; the members are {', '.join(sorted(_MEMBERS))}")
        if name in _SWITCHES and not isinstance(value, bool):
            raise click.ClickException(f"{path}: {name} is neither true nor false")
        if name not in _SWITCHES and not isinstance(value, str):
            raise click.ClickException(f"{path}: {name} is no string")
        if name in _PATHS:
            values[name] = path.parent / Path(value).expanduser()
    return values


def _is_of_others(path: Path) -> bool:
    """Whether who the agent is, and which authorities it trusts, would be somebody else's word in a shared folder."""
    if os.name != "posix":
        return False
    status = path.stat()
    return status.st_uid not in {os.geteuid(), 0} or bool(status.st_mode & _ANYBODY_WRITES)


def _grant_type(name: str) -> GrantType:
    try:
        return GrantType(name)
    except ValueError:
        raise click.ClickException(f"grant_type is {' or '.join(known.value for known in GrantType)}") from None


def _auth_method(name: str) -> AuthMethod:
    try:
        return AuthMethod(name)
    except ValueError:
        known = ", ".join(known.value for known in AuthMethod)
        raise click.ClickException(f"token_endpoint_auth_method is one of {known}") from None


def _bound_to(name: str) -> str:
    if name not in BINDINGS:
        raise click.ClickException(f"bound_to is one of {', '.join(BINDINGS)}")
    return name


def _certificate(values: Mapping[str, Any]) -> ClientCertificate | None:
    if "certificate" not in values:
        return None
    path, ca = Path(values["certificate"]), values.get("ca")
    private_key = Path(values.get("certificate_key", path))
    try:
        _check_private(private_key)
        _trust(ca)  # for its own sentence
        return ClientCertificate(path, private_key, authority=ca)
    except OSError as error:
        raise click.ClickException(f"{private_key}: {error.strerror}") from None
    except Misconfigured as error:
        raise click.ClickException(str(error)) from None


def _check_private(path: Path, what: str = "private key") -> None:
    if os.name == "posix" and path.stat().st_mode & _OTHERS:
        raise click.ClickException(f"{path}: others than its owner can reach this {what}; chmod 600 it")


def _key(path: Path, kid: str | None) -> SigningKey:
    try:
        _check_private(path)
        private_key: Any = load_pem_private_key(path.read_bytes(), password=None)
        return SigningKey.from_private_key(private_key, kid=kid)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidJwk):
        raise click.ClickException(
            f"{path}: no private key that the agent can use: PEM without a password; P-256, Ed25519 or RSA"
        ) from None


def _approval(name: str, path: Path) -> Secret:
    """What somebody gave the agent, as one line; a token opens the door to whoever has it, a statement does not."""
    try:
        if name == "initial_access_token":
            _check_private(path, "token")
        with path.open(encoding="ascii") as file:
            text = file.read(_APPROVAL_LIMIT + 1).strip()
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None
    except ValueError:
        text = ""
    if not 0 < len(text) <= _APPROVAL_LIMIT or not text.isprintable() or " " in text:
        raise click.ClickException(f"{path}: neither a software statement nor a token: one line without spaces")
    return Secret(text)


def _trust(authorities: Path | None) -> ssl.SSLContext:
    try:
        return trust(authorities)
    except OSError as error:  # ssl.SSLError is one
        raise click.ClickException(f"{authorities}: no certificates of authorities: {error.strerror}") from None


def _default_store() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "fapi-as" / "agent"
