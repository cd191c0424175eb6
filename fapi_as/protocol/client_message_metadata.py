"""What a client registered about signed messages: JAR (RFC 9101), JARM, and OpenID Connect."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from fapi_as.protocol import redirect_uri
from fapi_as.protocol.metadata_members import URI_LIMIT, algorithm, fetched_uri, strings, wrong
from fapi_as.protocol.profile import ACR_VALUES_LIMIT
from rs_kit.protocol.algorithms import canonical
from rs_kit.protocol.jwk import PublicJwk

RESPONSE_MODES: Final = ("query", "jwt", "query.jwt")  # JARM-4
DEFAULT_ALGORITHM: Final = "ES256"  # in place of RS256: JARM-8, OIDC-31
_LOGOUT_URI_LIMIT: Final = 16
_ACR: Final = re.compile(r"[!-~]+\Z")


def request_object_alg(members: Mapping[str, object], keys: Sequence[PublicJwk]) -> str | None:
    """`request_object_signing_alg` (RFC 9101 §4, OpenID Registration §2).

    Raises:
        InvalidClientMetadata: not offered, or no registered key can do it.
    """
    name = "request_object_signing_alg"
    value = algorithm(members, name)
    require_key(name, value, keys)
    return value


def require_key(name: str, value: str | None, keys: Sequence[PublicJwk]) -> None:
    """Refuse an algorithm that no key of an inline set can do; keys behind a jwks_uri may come later.

    Raises:
        InvalidClientMetadata: there is none.
    """
    if value is not None and keys and not any(key.algorithm == canonical(value) for key in keys):
        raise wrong(f"{name}: jwks has no key for it")


def response_modes(members: Mapping[str, object]) -> tuple[str, ...] | None:
    """`response_modes` (MSG-MD-1): what the client may ask for; None is any that is offered.

    Raises:
        InvalidClientMetadata: another type, nothing, or a mode that is not offered.
    """
    if members.get("response_modes") is None:
        return None
    modes = strings(members, "response_modes", [])
    if not modes or any(mode not in RESPONSE_MODES for mode in modes):
        raise wrong("response_modes must be some of query, jwt and query.jwt")
    return tuple(modes)


def response_alg(members: Mapping[str, object], name: str) -> str:
    """The algorithm of a JWT that the client is sent; ES256 unless it asks for another.

    Raises:
        InvalidClientMetadata: not offered.
    """
    return algorithm(members, name) or DEFAULT_ALGORITHM


def subject_type(members: Mapping[str, object], redirect_uris: Iterable[str]) -> str:
    """`public` or `pairwise` (OpenID Connect §8).

    Raises:
        InvalidClientMetadata: another one, or a pairwise client whose sector nobody can tell (ODCR-6).
    """
    value = members.get("subject_type", "public")
    if not isinstance(value, str) or value not in {"public", "pairwise"}:
        raise wrong("subject_type must be public or pairwise")
    hosts = {urlsplit(uri).hostname for uri in redirect_uris}
    if value == "pairwise" and len(hosts) != 1 and members.get("sector_identifier_uri") is None:
        raise wrong("subject_type pairwise needs a sector_identifier_uri where the redirect URIs have several hosts")
    return value


def sector_identifier_uri(members: Mapping[str, object]) -> str | None:
    """`sector_identifier_uri`; its document is judged by who registers the client (OpenID Registration §5).

    Raises:
        InvalidClientMetadata: no https URL.
    """
    return fetched_uri(members, "sector_identifier_uri")


def default_max_age(members: Mapping[str, object]) -> int | None:
    """`default_max_age` in seconds (OIDC-8).

    Raises:
        InvalidClientMetadata: no whole number, or a negative one.
    """
    value = members.get("default_max_age")
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise wrong("default_max_age must be a number of seconds")
    return value


def default_acr_values(members: Mapping[str, object]) -> tuple[str, ...]:
    """`default_acr_values` (OpenID Registration §2): a wish, as acr_values are (OIDC-9).

    Raises:
        InvalidClientMetadata: more than the parameter may hold, or a value that it could not.
    """
    values = strings(members, "default_acr_values", [])
    if len(" ".join(values)) > ACR_VALUES_LIMIT or not all(_ACR.match(value) for value in values):
        raise wrong("default_acr_values must be names without spaces")
    return tuple(values)


def post_logout_redirect_uris(members: Mapping[str, object], application_type: str) -> tuple[str, ...]:
    """`post_logout_redirect_uris`, under the rules of redirect URIs (LOGO-5).

    Raises:
        InvalidClientMetadata: one that may not be registered.
    """
    uris = strings(members, "post_logout_redirect_uris", [])
    if len(uris) > _LOGOUT_URI_LIMIT:
        raise wrong(f"post_logout_redirect_uris must have at most {_LOGOUT_URI_LIMIT} entries")
    for uri in uris:
        if len(uri) > URI_LIMIT or "*" in uri or redirect_uri.refusal(uri, application_type) is not None:
            raise wrong("post_logout_redirect_uris must be redirect URIs of the same kind")
    return tuple(uris)
