"""Single values of the configuration: each is judged by itself, and what is wrong with it ends a sentence."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo

from fapi_as.protocol.policy import seconds
from fapi_as.protocol.scope import is_scope_token
from rs_kit.protocol.htu import InvalidUri, normalise

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\Z")  # RFC 1123 §2.1

_PORT: Final = re.compile(r"[1-9][0-9]{0,4}\Z")
_PORTS: Final = range(1024, 65536)  # beside 443, as for every URL that is fetched

_NO_PATH: Final = re.compile("[\x00\ud800-\udfff]")  # what is not UTF-8 comes as lone surrogates


def between(floor: timedelta, ceiling: timedelta, clause: str) -> AfterValidator:
    """A number of seconds within the limits that the clause sets."""

    def judge(value: int) -> int:
        if value > seconds(ceiling):
            raise ValueError(f"is {value} seconds, above its ceiling of {seconds(ceiling)} seconds ({clause})")
        if value < seconds(floor):
            raise ValueError(f"is {value} seconds, below its floor of {seconds(floor)} seconds ({clause})")
        return value

    return AfterValidator(judge)


def in_range(lowest: int, highest: int) -> AfterValidator:
    """A number within limits, both included."""

    def judge(value: int) -> int:
        if not lowest <= value <= highest:
            raise ValueError(f"is {value} and must be {lowest} to {highest}")
        return value

    return AfterValidator(judge)


def issuer_url(value: str) -> str:
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
    if host is None or not is_host(host) or parts.netloc != parts.netloc.lower():
        return "must name a host in lower case"
    if port == 443 or parts.netloc.endswith(":"):  # noqa: PLR2004 - the default port of https
        return "must not name the default port, because clients compare it as a string"
    return None if _is_normal(issuer) else "must be written as RFC 3986, section 6, normalises it"


def _is_normal(issuer: str) -> bool:
    try:
        return normalise(issuer) == f"{issuer}/"
    except InvalidUri:
        return False  # a zone of an IPv6 address, a port that begins with zero: no proof could name it


def host_of(origin: str) -> str:
    """The host of a judged origin as URLs write it: an IPv6 address has its brackets."""
    host = urlsplit(origin).hostname or ""
    return f"[{host}]" if ":" in host else host


def is_host(host: str) -> bool:
    """Whether this is an IP address or a name in lower case."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _HOST_NAME.match(host) is not None
    return True


def bind_host(value: str) -> str:
    """What can be listened on."""
    if not is_host(value):
        raise ValueError("must be an IP address or a host name")
    return value


def _resolved(value: Path, info: ValidationInfo) -> Path:
    """Relative paths start where the configuration file is, not where a command was typed."""
    if _NO_PATH.search(str(value)) is not None:
        raise ValueError("must be a path in UTF-8")
    return (info.context or Path()) / value


def database_url(value: str, info: ValidationInfo) -> str:
    """A database that there is a store for, with an absolute path."""
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


def longer_than_jwks_max_age(value: int, info: ValidationInfo) -> int:
    """A time after which nobody keeps the set of before."""
    if value <= info.data.get("jwks_max_age", 0):
        raise ValueError("must be longer than keys.jwks_max_age: peers keep the set before it for that long (JOSE-34)")
    return value


def _host_name(value: str) -> str:
    if _HOST_NAME.match(value) is None or value.rpartition(".")[2].isdecimal():
        raise ValueError("must be names of hosts in lower case, without a port")
    return value


def _document_host(value: str) -> str:
    name, colon, port = value.partition(":")
    is_name = _HOST_NAME.match(name) is not None and not name.rpartition(".")[2].isdecimal()
    if not is_name or (colon and (_PORT.match(port) is None or int(port) not in _PORTS)):
        raise ValueError("must be names of hosts in lower case, with a port where it is not 443")
    return value


def _scope_value(value: str) -> str:
    if not is_scope_token(value):
        raise ValueError("must be scope values of RFC 6749, section 3.3")
    return value


ResolvedPath = Annotated[Path, Field(strict=False), AfterValidator(_resolved)]
HostName = Annotated[str, AfterValidator(_host_name)]
DocumentHost = Annotated[str, AfterValidator(_document_host)]
ScopeValue = Annotated[str, AfterValidator(_scope_value)]
