"""RFC 7591 client metadata: parsed and validated once, the same for the command line and for every stored row.

A member that asks for a protection which is not offered is refused, never dropped (DCR-5); any other unknown member is
ignored and neither kept nor shown (DCR-7).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Final
from urllib.parse import urlsplit

from fapi_as.protocol import redirect_uri
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.display_text import is_displayable
from fapi_as.protocol.profile import SCOPE_LIMIT
from fapi_as.protocol.resource_registration import InvalidResourceMetadata, canonical_resource
from fapi_as.protocol.scope import is_scope_token
from rs_kit.protocol import jwk
from rs_kit.protocol.algorithms import SIGNING_ALGORITHMS, canonical
from rs_kit.protocol.errors import InvalidJwk, ProtocolError

_CODE: Final = "authorization_code"
_FORBIDDEN_GRANTS: Final = frozenset({"implicit", "password"})  # OA-REG, FAPI2-AS-2, DCR-9
_GRANT_TYPE: Final = re.compile(
    r"[a-z_]{1,64}\Z|[a-z][a-z0-9+.-]*:[!#-\[\]-~]{1,200}\Z"
)  # a name or a URI: RFC 6749 §4.5
_CLIENT_ID: Final = re.compile(r"[!#-\[\]-~]{1,255}\Z")  # VSCHAR of RFC 6749 §2.2 without space, quote and backslash
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
_REDIRECT_URI_LIMIT: Final = 16
_URI_LIMIT: Final = 2048  # characters
_NAME_LIMIT: Final = 100  # characters, shown on the consent page
_KEY_LIMIT: Final = 10  # DCR-11
_KEYS_SENTENCE: Final = "jwks must hold public signature keys only: RSA of 2048 to 4096 bits, P-256 or Ed25519"
# what would promise more than is done: the value that is harmless, and everything else is refused
_NOT_OFFERED: Final[Mapping[str, frozenset[object]]] = {
    "jwks_uri": frozenset(),
    "client_secret": frozenset(),
    "software_statement": frozenset(),
    "request_uris": frozenset(),  # ODCR-7
    "sector_identifier_uri": frozenset(),
    "tls_client_auth_subject_dn": frozenset(),
    "tls_client_auth_san_dns": frozenset(),
    "tls_client_auth_san_uri": frozenset(),
    "tls_client_auth_san_ip": frozenset(),
    "tls_client_auth_san_email": frozenset(),
    "tls_client_certificate_bound_access_tokens": frozenset({False}),
    "require_signed_request_object": frozenset({False}),
    "require_pushed_authorization_requests": frozenset({True}),  # every client pushes: FAPI2-AZ-3, attack DCR-14
    "request_object_signing_alg": frozenset(),
    "authorization_signed_response_alg": frozenset(),
    "introspection_signed_response_alg": frozenset(),
    "userinfo_signed_response_alg": frozenset(),
    "id_token_signed_response_alg": frozenset(SIGNING_ALGORITHMS) | {"EdDSA"},  # ODCR-5
    "id_token_encrypted_response_alg": frozenset(),  # ODCR-8
    "id_token_encrypted_response_enc": frozenset(),
    "userinfo_encrypted_response_alg": frozenset(),
    "userinfo_encrypted_response_enc": frozenset(),
    "authorization_encrypted_response_alg": frozenset(),
    "authorization_encrypted_response_enc": frozenset(),
    "request_object_encryption_alg": frozenset(),
    "request_object_encryption_enc": frozenset(),
    "subject_type": frozenset({"public"}),
    "default_acr_values": frozenset(),
    "authorization_details_types": frozenset(),
}


class InvalidClientMetadata(ProtocolError):
    """RFC 7591 §3.2.2."""

    error: ClassVar[str] = "invalid_client_metadata"
    public: ClassVar[str] = "the client may not be registered as described"


class InvalidRedirectUri(ProtocolError):
    """RFC 7591 §3.2.2."""

    error: ClassVar[str] = "invalid_redirect_uri"
    public: ClassVar[str] = "a redirect URI may not be registered"


def require_client_id(client_id: object) -> str:
    """The client_id that an operator pins.

    Raises:
        InvalidClientMetadata: bad syntax (RFC 6749 §2.2), or the name space of metadata documents (CIMD-11).
    """
    if not isinstance(client_id, str) or _CLIENT_ID.match(client_id) is None:
        raise _wrong("client_id must be 1 to 255 printable ASCII characters without spaces, quotes and backslashes")
    if client_id.lower().startswith(("https:", "http:")):
        raise _wrong("client_id must not be a URL, those are client ID metadata documents")
    return client_id


def parse_client(members: Mapping[str, object], *, client_id: str, version: int) -> RegisteredClient:
    """Read the metadata of a registration, or of the row that keeps it; `client_id` never comes from the members.

    Raises:
        InvalidClientMetadata: the first member that is wrong, by name.
        InvalidRedirectUri: a redirect URI is missing or may not be registered.
    """
    _refuse_what_is_not_offered(members)
    grant_types = _grant_types(members)
    application_type = members.get("application_type", "web")
    if not isinstance(application_type, str) or application_type not in {"web", "native"}:
        raise _wrong("application_type must be web or native")
    keys = _keys(members.get("jwks"))
    return RegisteredClient(
        client_id=client_id,
        version=version,
        client_name=_client_name(members, client_id, grant_types),
        token_endpoint_auth_method=_auth_method(members),
        token_endpoint_auth_signing_alg=_signing_alg(members, keys),
        redirect_uris=_redirect_uris(members, grant_types, application_type),
        grant_types=grant_types,
        scope=_scope(members),
        keys=keys,
        application_type=application_type,
        default_resource=_default_resource(members),
        dpop_bound_access_tokens=_dpop_bound(members),
    )


def to_metadata(client: RegisteredClient) -> dict[str, object]:
    """Every effective value, defaults included (DCR-4); `parse_client` reads it back to the same client."""
    metadata: dict[str, object] = {
        "client_id": client.client_id,
        "client_name": client.client_name,
        "application_type": client.application_type,
        "token_endpoint_auth_method": client.token_endpoint_auth_method,
        "redirect_uris": list(client.redirect_uris),
        "grant_types": sorted(client.grant_types),
        "response_types": ["code"] if _CODE in client.grant_types else [],
        "scope": " ".join(sorted(client.scope)),
        "jwks": {"keys": [key.to_jwk() for key in client.keys]},
        "dpop_bound_access_tokens": client.dpop_bound_access_tokens,
    }
    if client.token_endpoint_auth_signing_alg is not None:
        metadata["token_endpoint_auth_signing_alg"] = client.token_endpoint_auth_signing_alg
    if client.default_resource is not None:
        metadata["default_resource"] = client.default_resource
    return metadata


def _refuse_what_is_not_offered(members: Mapping[str, object]) -> None:
    for name, harmless in _NOT_OFFERED.items():
        value = members.get(name)
        if value is None:
            continue
        if not isinstance(value, str | bool) or value not in harmless:
            if name == "jwks_uri" and "jwks" in members:
                raise _wrong("jwks and jwks_uri exclude each other")  # FAPI2-CR-7
            raise _wrong(f"{name} is not offered here" + (", give jwks" if name == "jwks_uri" else " with this value"))


def _grant_types(members: Mapping[str, object]) -> frozenset[str]:
    grant_types = _strings(members, "grant_types", [_CODE])  # RFC 7591 §2
    for grant_type in grant_types:
        if grant_type in _FORBIDDEN_GRANTS or _GRANT_TYPE.match(grant_type) is None:
            raise _wrong("grant_types: implicit, password and malformed names are refused")
    if not grant_types:
        raise _wrong("grant_types must not be empty")
    expected = ["code"] if _CODE in grant_types else []
    if _strings(members, "response_types", expected) != expected:  # RFC 7591 §2.1, DCR-9
        raise _wrong("response_types must be code for the authorization_code grant and empty without it")
    return frozenset(grant_types)


def _auth_method(members: Mapping[str, object]) -> str:
    # RFC 7591 §2 makes client_secret_basic the default, so silence may not mean something else (DCR-10)
    method = members.get("token_endpoint_auth_method")
    if method != "private_key_jwt":  # FAPI2-AS-6
        raise _wrong("token_endpoint_auth_method is required and must be private_key_jwt")
    return "private_key_jwt"


def _signing_alg(members: Mapping[str, object], keys: tuple[jwk.PublicJwk, ...]) -> str | None:
    algorithm = members.get("token_endpoint_auth_signing_alg")
    if algorithm is None:
        return None
    if not isinstance(algorithm, str) or canonical(algorithm) not in SIGNING_ALGORITHMS:  # FAPI2-CR-2
        raise _wrong("token_endpoint_auth_signing_alg must be PS256, ES256, Ed25519 or EdDSA")
    if not any(key.algorithm == canonical(algorithm) for key in keys):
        raise _wrong("token_endpoint_auth_signing_alg: jwks has no key for it")
    return algorithm


def _keys(value: object) -> tuple[jwk.PublicJwk, ...]:
    if not isinstance(value, Mapping):
        raise _wrong("jwks is required: the public keys of the client")
    entries = value.get("keys")
    if not isinstance(entries, list) or not 0 < len(entries) <= _KEY_LIMIT:
        raise _wrong(f"jwks must have 1 to {_KEY_LIMIT} keys")
    if any(isinstance(entry, Mapping) and not _PRIVATE_MEMBERS.isdisjoint(entry) for entry in entries):
        # whatever it is for: somebody has just shown a key that nobody may see
        raise _wrong("jwks must not hold private or symmetric keys")
    try:
        return jwk.parse_set(value)
    except InvalidJwk as error:
        raise InvalidClientMetadata(f"jwks: {error.detail}", _KEYS_SENTENCE) from None


def _client_name(members: Mapping[str, object], client_id: str, grant_types: frozenset[str]) -> str:
    name = members.get("client_name")
    if name is None and _CODE not in grant_types:
        return client_id  # nobody is asked for consent
    if not isinstance(name, str) or not is_displayable(name, _NAME_LIMIT):  # DCR-13
        raise _wrong(f"client_name is required: one line of at most {_NAME_LIMIT} visible characters")
    return name


def _redirect_uris(
    members: Mapping[str, object], grant_types: frozenset[str], application_type: str
) -> tuple[str, ...]:
    uris = _strings(members, "redirect_uris", [])
    if not uris and _CODE in grant_types:
        raise InvalidRedirectUri("none", "redirect_uris is required for the authorization_code grant")
    if len(uris) > _REDIRECT_URI_LIMIT:
        raise InvalidRedirectUri("too many", f"redirect_uris must have at most {_REDIRECT_URI_LIMIT} entries")
    for uri in uris:
        refusal = redirect_uri.refusal(uri, application_type)
        if refusal is None and len(uri) > _URI_LIMIT:
            refusal = f"redirect_uri must have at most {_URI_LIMIT} characters"
        if refusal is None and "*" in uri:  # DCR-8
            refusal = "redirect_uri must not have a wildcard"
        if refusal is None and application_type == "web" and _is_this_device(uri):  # ODCR-1
            refusal = "redirect_uri of a web client must not be on localhost"
        if refusal is not None:
            raise InvalidRedirectUri(refusal, refusal)
    return tuple(uris)


def _is_this_device(uri: str) -> bool:
    host = (urlsplit(uri).hostname or "").rstrip(".")
    return host in {"localhost", "::1"} or host.endswith(".localhost") or host.startswith("127.")


def _scope(members: Mapping[str, object]) -> frozenset[str]:
    scope = members.get("scope")
    if not isinstance(scope, str) or not scope:
        raise _wrong("scope is required: the values that the client may ask for, separated by spaces")
    values = scope.split(" ")
    if len(values) > SCOPE_LIMIT or not all(is_scope_token(value) for value in values):
        raise _wrong("scope must be scope values of RFC 6749 3.3, separated by single spaces")
    return frozenset(values)


def _default_resource(members: Mapping[str, object]) -> str | None:
    value = members.get("default_resource")
    if value is None:
        return None
    try:
        return canonical_resource(value)
    except InvalidResourceMetadata as error:
        raise InvalidClientMetadata(error.detail, "default_resource must be an https URI") from None


def _dpop_bound(members: Mapping[str, object]) -> bool:
    # DCR-19: neither flag means DPoP; certificate-bound tokens are not offered, so false would leave none
    if members.get("dpop_bound_access_tokens", True) is not True:
        raise _wrong("dpop_bound_access_tokens must be true, bearer tokens are not offered")
    return True


def _strings(members: Mapping[str, object], name: str, absent: list[str]) -> list[str]:
    value = members.get(name)
    if value is None:
        return absent
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong(f"{name} must be a list of strings")
    return list(dict.fromkeys(value))


def _wrong(sentence: str) -> InvalidClientMetadata:
    return InvalidClientMetadata(sentence, sentence)
