"""Configuration: one TOML file, overridden by the environment, read once and refused whole when anything is unsafe.

Nothing below bootstrap reads a file or the environment. The defaults are the hardened ones; a limit of the profile can
be tightened here and never loosened, and what has no setting (sign-in attempts, algorithms) cannot be loosened at all.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo
from pydantic_core import ErrorDetails

from fapi_as.protocol import profile
from fapi_as.protocol.policy import Policy, seconds
from rs_kit.protocol.htu import InvalidUri, normalise

ENVIRONMENT_PREFIX: Final = "FAPI_AS__"
DEFAULT_TENANT: Final = "default"
_HIGHEST_PORT: Final = 65535
_WORKER_LIMIT: Final = 64
_ROTATION_CEILING_DAYS: Final = 365  # JOSE-34: no signing key is for ever
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\Z")  # RFC 1123 §2.1

_NO_PATH: Final = re.compile("[\x00\ud800-\udfff]")  # what is not UTF-8 comes as lone surrogates


class ConfigurationError(Exception):
    """Why the start is refused, as one sentence for the person who can change it."""


def _between(floor: timedelta, ceiling: timedelta, clause: str) -> AfterValidator:
    """A number of seconds within the limits that the clause sets."""

    def judge(value: int) -> int:
        if value > seconds(ceiling):
            raise ValueError(f"is {value} seconds, above its ceiling of {seconds(ceiling)} seconds ({clause})")
        if value < seconds(floor):
            raise ValueError(f"is {value} seconds, below its floor of {seconds(floor)} seconds ({clause})")
        return value

    return AfterValidator(judge)


def _range(lowest: int, highest: int) -> AfterValidator:
    def judge(value: int) -> int:
        if not lowest <= value <= highest:
            raise ValueError(f"is {value} and must be {lowest} to {highest}")
        return value

    return AfterValidator(judge)


def _issuer(value: str) -> str:
    """RFC 8414 §2, FAPI2-DISC: an https URL that is compared as a string, so it has exactly one spelling."""
    refusal = issuer_refusal(value)
    if refusal is not None:
        raise ValueError(refusal)
    return value


def issuer_refusal(issuer: str) -> str | None:
    """Why this may not be the issuer of the root tenant, or None."""
    if re.fullmatch(r"[!-~]+", issuer) is None:
        return "must be printable ASCII without spaces"
    if not issuer.startswith("https://"):
        return "must begin with https:// (RFC 8414, section 2)"
    if "?" in issuer or "#" in issuer:
        return "must have no query and no fragment (RFC 8414, section 2)"
    if issuer.endswith("/"):
        return "must not end with a slash, because clients compare it as a string"
    try:
        parts = urlsplit(issuer)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if "@" in parts.netloc:
        return "must have no user information"
    if parts.path:
        return "must have no path, the default tenant lives at the root"
    if host is None or not _is_host(host) or parts.netloc != parts.netloc.lower():
        return "must name a host in lower case"
    if port == 443 or parts.netloc.endswith(":"):  # noqa: PLR2004 - the default port of https
        return "must not name the default port, because clients compare it as a string"
    return None if _is_normal(issuer) else "must be written as RFC 3986, section 6, normalises it"


def _is_normal(issuer: str) -> bool:
    try:
        return normalise(issuer) == f"{issuer}/"
    except InvalidUri:
        return False  # a zone of an IPv6 address, a port that begins with zero: no proof could name it


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _HOST_NAME.match(host) is not None
    return True


def _bind_host(value: str) -> str:
    if not _is_host(value):
        raise ValueError("must be an IP address or a host name")
    return value


def _resolved(value: Path, info: ValidationInfo) -> Path:
    """Relative paths start where the configuration file is, not where a command was typed."""
    if _NO_PATH.search(str(value)) is not None:
        raise ValueError("must be a path in UTF-8")
    return (info.context or Path()) / value


def _database_url(value: str, info: ValidationInfo) -> str:
    engine = re.match(r"([a-z0-9]+)(?:\+[a-z0-9]+)?:", value)
    if engine is not None and engine[1] != "sqlite":  # the rest is not repeated, it may hold a password
        raise ValueError(f"names the engine {engine[1]}, for which there is no store yet; use sqlite:///fapi-as.db")
    scheme, _, rest = value.partition(":///")
    if scheme != "sqlite":
        raise ValueError("must be sqlite:/// and the path of a file, without a driver")
    if rest in {"", ":memory:"}:
        raise ValueError("must name a file, because the workers share it")
    path = str((info.context or Path()) / rest)
    if _NO_PATH.search(path) is not None or re.search(r"[?#%\x00-\x1f]", path) is not None:
        # these end or change a path in a URL: another file would be opened than the one that is written here
        raise ValueError("and its directory must have none of the characters ? # % in their names")
    return f"sqlite:///{path}"


def _longer_than_jwks_max_age(value: int, info: ValidationInfo) -> int:
    if value <= info.data.get("jwks_max_age", 0):
        raise ValueError("must be longer than keys.jwks_max_age: peers keep the set before it for that long (JOSE-34)")
    return value


def _private_host(value: str) -> str:
    if _HOST_NAME.match(value) is None or value.rpartition(".")[2].isdecimal():
        raise ValueError("must be names of hosts in lower case, without a port")
    return value


_Path = Annotated[Path, Field(strict=False), AfterValidator(_resolved)]
_PrivateHost = Annotated[str, AfterValidator(_private_host)]


class _Section(BaseModel):
    # strict: "8443" is no port and 1 is no boolean; defaults are validated, since paths are resolved there
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, hide_input_in_errors=True
    )


class Server(_Section):
    """Where the server lives and how it is reached."""

    issuer: Annotated[str, AfterValidator(_issuer)]
    host: Annotated[str, AfterValidator(_bind_host)] = "127.0.0.1"
    port: Annotated[int, _range(1, _HIGHEST_PORT)] = 8443
    workers: Annotated[int, _range(1, _WORKER_LIMIT)] = 1
    certificate_file: _Path = Path("authorization-server.pem")
    private_key_file: _Path = Path("authorization-server.key")


class Database(_Section):
    """The one store that all workers share."""

    url: Annotated[str, AfterValidator(_database_url)] = "sqlite:///fapi-as.db"

    @property
    def path(self) -> Path:
        """The file of the database."""
        return Path(self.url.removeprefix("sqlite:///"))


class Keys(_Section):
    """What seals the signing keys and every payload at rest."""

    sealing_key_file: _Path = Path("sealing.key")
    rotation_days: Annotated[int, _range(1, _ROTATION_CEILING_DAYS)] = 90
    jwks_max_age: Annotated[int, _between(timedelta(seconds=1), profile.JWKS_MAX_AGE_CEILING, "JOSE-33")] = seconds(
        profile.JWKS_MAX_AGE
    )
    published_before_use: Annotated[
        int, _between(timedelta(seconds=2), timedelta(days=1), "JOSE-34"), AfterValidator(_longer_than_jwks_max_age)
    ] = seconds(profile.SIGNING_KEY_PUBLISHED_BEFORE_USE)


class Fetch(_Section):
    """How documents of others are had: the jwks_uri of clients."""

    ca_file: _Path | None = None
    allowed_private_hosts: Annotated[tuple[_PrivateHost, ...], Field(strict=False)] = ()


class Lifetimes(_Section):
    """All in seconds; shorter is allowed, longer than the profile is not."""

    authorization_code: Annotated[
        int, _between(timedelta(seconds=5), profile.AUTHORIZATION_CODE_CEILING, "FAPI2-AS-13")
    ] = seconds(profile.AUTHORIZATION_CODE_LIFETIME)
    request_uri: Annotated[
        int, _between(profile.REQUEST_URI_FLOOR, profile.REQUEST_URI_CEILING, "FAPI2-AZ-15, RFC 9126 section 2.2")
    ] = seconds(profile.REQUEST_URI_LIFETIME)
    interaction: Annotated[int, _between(timedelta(minutes=1), profile.INTERACTION_LIFETIME, "LOG-20")] = seconds(
        profile.INTERACTION_LIFETIME
    )
    session: Annotated[int, _between(timedelta(minutes=1), profile.SESSION_CEILING, "LOG-14")] = seconds(
        profile.SESSION_LIFETIME
    )
    session_idle: Annotated[int, _between(timedelta(minutes=1), profile.SESSION_IDLE, "LOG-14")] = seconds(
        profile.SESSION_IDLE
    )
    access_token: Annotated[int, _between(timedelta(seconds=10), profile.ACCESS_TOKEN_CEILING, "DPOP-AS-17, AT-15")] = (
        seconds(profile.ACCESS_TOKEN_LIFETIME)
    )
    refresh_token: Annotated[int, _between(timedelta(minutes=1), profile.REFRESH_TOKEN_CEILING, "RT-3")] = seconds(
        profile.REFRESH_TOKEN_LIFETIME
    )
    refresh_token_idle: Annotated[int, _between(timedelta(minutes=1), profile.REFRESH_TOKEN_CEILING, "RT-3")] = seconds(
        profile.REFRESH_TOKEN_IDLE
    )


class Dpop(_Section):
    """Proofs of possession at our own endpoints."""

    nonces: bool = True
    proof_age: Annotated[int, _between(timedelta(seconds=5), profile.DPOP_PROOF_AGE_CEILING, "DPOP-12")] = seconds(
        profile.DPOP_PROOF_AGE
    )


class Logging(_Section):
    """What the processes say on stderr; ids and outcomes, never secrets."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "text"] = "json"


class Settings(_Section):
    """The whole configuration, already judged."""

    server: Server
    database: Database
    keys: Keys
    fetch: Fetch
    lifetimes: Lifetimes
    dpop: Dpop
    logging: Logging

    def policy(self, tenant: str = DEFAULT_TENANT) -> Policy:
        """What rules get instead of settings."""
        lifetimes = self.lifetimes
        return Policy(
            tenant=tenant,
            issuer=self.server.issuer,
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
        )


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Read the file and what the environment overrides; nothing else is looked at.

    Raises:
        ConfigurationError: the first thing that is unreadable, misspelt, of the wrong type or unsafe.
    """
    document = _document(path)
    overridden = _override(document, environ)
    for section in Settings.model_fields:
        document.setdefault(section, {})
    directory = path.absolute().parent if path is not None else Path.cwd()
    try:
        return Settings.model_validate(document, context=directory)
    except ValidationError as error:
        raise ConfigurationError(_sentence(error.errors(include_url=False), overridden)) from None


def _document(path: Path | None) -> dict[str, object]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"{path} does not exist; fapi-as init writes one") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except RecursionError:
        raise ConfigurationError(f"{path} is nested too deeply") from None
    except ValueError as error:  # no UTF-8, no TOML, or a number of thousands of digits
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from None


def _override(document: dict[str, object], environ: Mapping[str, str]) -> dict[tuple[str, ...], str]:
    """Put the values of our variables into the document and tell where they came from.

    Raises:
        ConfigurationError: a variable that looks like ours names no setting, or its value has the wrong type.
    """
    known = {
        f"{ENVIRONMENT_PREFIX}{section}__{key}".upper(): (section, key)
        for section, field in Settings.model_fields.items()
        for key in _section(field.annotation).model_fields
    }
    overridden: dict[tuple[str, ...], str] = {}
    for name, value in environ.items():
        # without the double underscore it is somebody else's: Kubernetes sets FAPI_AS_PORT for a service fapi-as
        if not name.upper().startswith("FAPI_AS_") or "__" not in name:
            continue
        if name not in known:
            raise ConfigurationError(f"the environment variable {name} names no setting{_meant(name.upper(), known)}")
        section, key = known[name]
        table = document.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigurationError(f"{section} must be a table")
        table[key] = _from_text(
            name, value, _section(Settings.model_fields[section].annotation).model_fields[key].annotation
        )
        overridden[known[name]] = name
    return overridden


def _section(annotation: object) -> type[BaseModel]:
    if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        raise TypeError("every setting stands in a section")
    return annotation


def _from_text(name: str, value: str, wanted: object) -> object:
    if wanted is int:
        if re.fullmatch(r"-?[0-9]{1,10}", value) is None:
            raise ConfigurationError(f"{name} must be a whole number")
        return int(value)
    if wanted is bool:
        if value not in {"true", "false"}:
            raise ConfigurationError(f"{name} must be true or false")
        return value == "true"
    if wanted == tuple[str, ...]:
        return [item.strip() for item in value.split(",") if item.strip()]
    return value


def _meant(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


_EXPECTED: Final = {
    "int": "a whole number",
    "bool": "true or false",
    "string": "a text in quotes",
    "path": "a text in quotes",
    "tuple": "a list of texts in quotes",
    "model": "a table",
    "dict": "a table",
}


def _sentence(errors: list[ErrorDetails], overridden: Mapping[tuple[str, ...], str]) -> str:
    # a misspelt key comes first: it is the reason why the right one is missing
    error = min(errors, key=lambda item: item["type"] != "extra_forbidden")
    location = tuple(str(part) for part in error["loc"][:2])
    label = overridden.get(location, ".".join(location))
    if error["type"] == "extra_forbidden":
        known = {
            f"{section}.{key}"
            for section, field in Settings.model_fields.items()
            for key in _section(field.annotation).model_fields
        } | set(Settings.model_fields)
        return f"{label} is not a setting{_meant(label, dict.fromkeys(known))}"
    if error["type"] == "missing":
        return f"{label} is required"
    if error["type"] == "value_error":
        return f"{label} {error['ctx']['error']}"
    if error["type"] == "literal_error":
        return f"{label} must be one of {error['ctx']['expected']}"
    return f"{label} must be {_EXPECTED.get(error['type'].partition('_')[0], 'of another type')}"
