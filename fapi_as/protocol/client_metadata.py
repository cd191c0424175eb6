"""RFC 7591 client metadata: parsed and validated once, the same for the command line and for every stored row.

A member that asks for a protection which is not offered is refused, never dropped (DCR-5); any other unknown member is
ignored and neither kept nor shown (DCR-7).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Final
from urllib.parse import urlsplit

from fapi_as.protocol import client_message_metadata as messages
from fapi_as.protocol import redirect_uri
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.client_certificate import CertificateSubject, registered_subject
from fapi_as.protocol.client_description import NAME_LIMIT, description_members, parse_description
from fapi_as.protocol.client_key_metadata import key_entries, parse_keys
from fapi_as.protocol.display_text import is_displayable
from fapi_as.protocol.metadata_members import (
    URI_LIMIT,
    InvalidClientMetadata,
    algorithm,
    boolean,
    fetched_uri,
    strings,
    understood,
    wrong,
)
from fapi_as.protocol.profile import SCOPE_LIMIT
from fapi_as.protocol.resource_registration import InvalidResourceMetadata, canonical_resource
from fapi_as.protocol.scope import is_scope_token
from rs_kit.protocol import jwk
from rs_kit.protocol.errors import ProtocolError

PRIVATE_KEY_JWT: Final = "private_key_jwt"
TLS_CLIENT_AUTH: Final = "tls_client_auth"
SELF_SIGNED_TLS_CLIENT_AUTH: Final = "self_signed_tls_client_auth"
AUTHENTICATION_METHODS: Final = (PRIVATE_KEY_JWT, TLS_CLIENT_AUTH, SELF_SIGNED_TLS_CLIENT_AUTH)
_CODE: Final = "authorization_code"
_FORBIDDEN_GRANTS: Final = frozenset({"implicit", "password"})  # OA-REG, FAPI2-AS-2, DCR-9
_GRANT_TYPE: Final = re.compile(
    r"[a-z_]{1,64}\Z|[a-z][a-z0-9+.-]*:[!#-\[\]-~]{1,200}\Z"
)  # a name or a URI: RFC 6749 §4.5
_CLIENT_ID: Final = re.compile(r"[!#-\[\]-~]{1,255}\Z")  # VSCHAR of RFC 6749 §2.2 without space, quote and backslash
_REDIRECT_URI_LIMIT: Final = 16
# what would promise more than is done: the values that are harmless, and everything else is refused (DCR-5)
_NOT_OFFERED: Final[Mapping[str, tuple[object, ...]]] = {
    "client_secret": (),
    "request_uris": (),  # ODCR-7
    "require_pushed_authorization_requests": (True,),  # every client pushes: FAPI2-AZ-3, attack DCR-14
    "authorization_details_types": ([],),
    "id_token_encrypted_response_alg": (),  # ODCR-8
    "id_token_encrypted_response_enc": (),
    "userinfo_encrypted_response_alg": (),
    "userinfo_encrypted_response_enc": (),
    "authorization_encrypted_response_alg": (),
    "authorization_encrypted_response_enc": (),
    "introspection_encrypted_response_alg": (),
    "introspection_encrypted_response_enc": (),
    "request_object_encryption_alg": (),
    "request_object_encryption_enc": (),
    "backchannel_logout_uri": (),  # nobody is told of a sign-out by a request of ours
    "backchannel_logout_session_required": (False,),
    "frontchannel_logout_uri": (),
    "frontchannel_logout_session_required": (False,),
    "backchannel_token_delivery_mode": (),  # DCR-11: CIBA is not offered
    "backchannel_client_notification_endpoint": (),
    "backchannel_authentication_request_signing_alg": (),
    "backchannel_user_code_parameter": (False,),
}


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
        raise wrong("client_id must be 1 to 255 printable ASCII characters without spaces, quotes and backslashes")
    if client_id.lower().startswith(("https:", "http:")):
        raise wrong("client_id must not be a URL, those are client ID metadata documents")
    return client_id


def parse_client(members: Mapping[str, object], *, client_id: str, version: int) -> RegisteredClient:
    """Read the metadata of a registration, or of the row that keeps it; `client_id` never comes from the members.

    Raises:
        InvalidClientMetadata: the first member that is wrong, by name.
        InvalidRedirectUri: a redirect URI is missing or may not be registered.
    """
    if members.get("software_statement") is not None:  # whoever registers by one has it verified, and passes the rest
        raise wrong("software_statement is not for this way of registering")
    members = understood(members)
    _refuse_what_is_not_offered(members)
    grant_types = _grant_types(members)
    application_type = members.get("application_type", "web")
    if not isinstance(application_type, str) or application_type not in {"web", "native"}:
        raise wrong("application_type must be web or native")
    method = _auth_method(members)
    jwks_uri = fetched_uri(members, "jwks_uri")
    keys, certificates = parse_keys(members, jwks_uri)
    _require_means(method, keys, certificates, jwks_uri)
    redirect_uris = _redirect_uris(members, grant_types, application_type)
    certificate_bound = boolean(members, "tls_client_certificate_bound_access_tokens")
    return RegisteredClient(
        client_id=client_id,
        version=version,
        client_name=_client_name(members, client_id, grant_types),
        token_endpoint_auth_method=method,
        token_endpoint_auth_signing_alg=_signing_alg(members, method, keys),
        redirect_uris=redirect_uris,
        grant_types=grant_types,
        scope=_scope(members),
        keys=keys,
        application_type=application_type,
        default_resource=_default_resource(members),
        dpop_bound_access_tokens=_dpop_bound(members, certificate_bound=certificate_bound),
        jwks_uri=jwks_uri,
        key_certificates=certificates,
        certificate_subject=_certificate_subject(members, method),
        tls_client_certificate_bound_access_tokens=certificate_bound,
        use_mtls_endpoint_aliases=boolean(members, "use_mtls_endpoint_aliases"),
        require_signed_request_object=_require_signed_request_object(members, keys, jwks_uri),
        request_object_signing_alg=messages.request_object_alg(members, keys),
        authorization_signed_response_alg=messages.response_alg(members, "authorization_signed_response_alg"),
        response_modes=messages.response_modes(members),
        id_token_signed_response_alg=messages.response_alg(members, "id_token_signed_response_alg"),
        userinfo_signed_response_alg=algorithm(members, "userinfo_signed_response_alg"),
        subject_type=messages.subject_type(members, redirect_uris),
        sector_identifier_uri=messages.sector_identifier_uri(members),
        default_max_age=messages.default_max_age(members),
        require_auth_time=boolean(members, "require_auth_time"),
        post_logout_redirect_uris=messages.post_logout_redirect_uris(members, application_type),
        default_acr_values=messages.default_acr_values(members),
        introspection_signed_response_alg=algorithm(members, "introspection_signed_response_alg"),
        description=parse_description(members),
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
        "dpop_bound_access_tokens": client.dpop_bound_access_tokens,
        "tls_client_certificate_bound_access_tokens": client.tls_client_certificate_bound_access_tokens,
        "use_mtls_endpoint_aliases": client.use_mtls_endpoint_aliases,
        "require_pushed_authorization_requests": True,
        "require_signed_request_object": client.require_signed_request_object,
        "authorization_signed_response_alg": client.authorization_signed_response_alg,
        "id_token_signed_response_alg": client.id_token_signed_response_alg,
        "subject_type": client.subject_type,
        "require_auth_time": client.require_auth_time,
    }
    subject = client.certificate_subject
    optional: dict[str, object] = {
        "token_endpoint_auth_signing_alg": client.token_endpoint_auth_signing_alg,
        "default_resource": client.default_resource,
        "jwks": {"keys": key_entries(client)} if client.keys else None,
        "jwks_uri": client.jwks_uri,
        "request_object_signing_alg": client.request_object_signing_alg,
        "response_modes": None if client.response_modes is None else list(client.response_modes),
        "userinfo_signed_response_alg": client.userinfo_signed_response_alg,
        "sector_identifier_uri": client.sector_identifier_uri,
        "default_max_age": client.default_max_age,
        "post_logout_redirect_uris": list(client.post_logout_redirect_uris) or None,
        "default_acr_values": list(client.default_acr_values) or None,
        "introspection_signed_response_alg": client.introspection_signed_response_alg,
        **({} if subject is None else {str(subject.kind): subject.value}),
        **description_members(client.description),
    }
    return metadata | {name: value for name, value in optional.items() if value is not None}


def _refuse_what_is_not_offered(members: Mapping[str, object]) -> None:
    for name, harmless in _NOT_OFFERED.items():
        if name in members and members[name] not in harmless:
            raise wrong(f"{name} is not offered here with this value")


def _grant_types(members: Mapping[str, object]) -> frozenset[str]:
    grant_types = strings(members, "grant_types", [_CODE])  # RFC 7591 §2
    for grant_type in grant_types:
        if grant_type in _FORBIDDEN_GRANTS or _GRANT_TYPE.match(grant_type) is None:
            raise wrong("grant_types: implicit, password and malformed names are refused")
    if not grant_types:
        raise wrong("grant_types must not be empty")
    expected = ["code"] if _CODE in grant_types else []
    if strings(members, "response_types", expected) != expected:  # RFC 7591 §2.1, DCR-9
        raise wrong("response_types must be code for the authorization_code grant and empty without it")
    return frozenset(grant_types)


def _auth_method(members: Mapping[str, object]) -> str:
    # RFC 7591 §2 makes client_secret_basic the default, so silence may not mean something else (DCR-10)
    method = members.get("token_endpoint_auth_method")
    if not isinstance(method, str) or method not in AUTHENTICATION_METHODS:  # FAPI2-AS-6
        raise wrong(f"token_endpoint_auth_method is required and must be one of {', '.join(AUTHENTICATION_METHODS)}")
    return method


def _certificate_subject(members: Mapping[str, object], method: str) -> CertificateSubject | None:
    subject = registered_subject(members)
    if subject is None and method == TLS_CLIENT_AUTH:  # MTLS-4
        raise wrong("tls_client_auth needs the one subject of the client's certificates")
    if subject is not None and method != TLS_CLIENT_AUTH:
        raise wrong(f"{subject.kind} is for tls_client_auth only")
    return subject


def _require_means(
    method: str, keys: tuple[jwk.PublicJwk, ...], certificates: tuple[bytes | None, ...], jwks_uri: str | None
) -> None:
    """What the client authenticates with must be known, or where to find it."""
    if method == PRIVATE_KEY_JWT and not keys and jwks_uri is None:
        raise wrong("jwks or jwks_uri is required: the public keys of the client")
    if method == SELF_SIGNED_TLS_CLIENT_AUTH and jwks_uri is None and not any(certificates):
        raise wrong("jwks with x5c, or jwks_uri, is required for self_signed_tls_client_auth")  # RFC 8705 §2.2.2


def _require_signed_request_object(
    members: Mapping[str, object], keys: tuple[jwk.PublicJwk, ...], jwks_uri: str | None
) -> bool:
    required = boolean(members, "require_signed_request_object")
    if required and not keys and jwks_uri is None:
        raise wrong("require_signed_request_object needs jwks or jwks_uri")
    return required


def _signing_alg(members: Mapping[str, object], method: str, keys: tuple[jwk.PublicJwk, ...]) -> str | None:
    name = "token_endpoint_auth_signing_alg"
    value = algorithm(members, name)
    if value is not None and method != PRIVATE_KEY_JWT:
        raise wrong(f"{name} is for private_key_jwt only")
    messages.require_key(name, value, keys)
    return value


def _client_name(members: Mapping[str, object], client_id: str, grant_types: frozenset[str]) -> str:
    name = members.get("client_name")
    if name is None and _CODE not in grant_types:
        return client_id  # nobody is asked for consent
    if not isinstance(name, str) or not is_displayable(name, NAME_LIMIT):  # DCR-13
        raise wrong(f"client_name is required: one line of at most {NAME_LIMIT} visible characters")
    return name


def _redirect_uris(
    members: Mapping[str, object], grant_types: frozenset[str], application_type: str
) -> tuple[str, ...]:
    uris = strings(members, "redirect_uris", [])
    if not uris and _CODE in grant_types:
        raise InvalidRedirectUri("none", "redirect_uris is required for the authorization_code grant")
    if len(uris) > _REDIRECT_URI_LIMIT:
        raise InvalidRedirectUri("too many", f"redirect_uris must have at most {_REDIRECT_URI_LIMIT} entries")
    for uri in uris:
        refusal = redirect_uri.refusal(uri, application_type)
        if refusal is None and len(uri) > URI_LIMIT:
            refusal = f"redirect_uri must have at most {URI_LIMIT} characters"
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
        raise wrong("scope is required: the values that the client may ask for, separated by spaces")
    values = scope.split(" ")
    if len(values) > SCOPE_LIMIT or not all(is_scope_token(value) for value in values):
        raise wrong("scope must be scope values of RFC 6749 3.3, separated by single spaces")
    return frozenset(values)


def _default_resource(members: Mapping[str, object]) -> str | None:
    value = members.get("default_resource")
    if value is None:
        return None
    try:
        return canonical_resource(value)
    except InvalidResourceMetadata as error:
        raise InvalidClientMetadata(error.detail, "default_resource must be an https URI") from None


def _dpop_bound(members: Mapping[str, object], *, certificate_bound: bool) -> bool:
    # DCR-19: neither flag means DPoP, and a token that is bound to nothing is not offered
    bound = boolean(members, "dpop_bound_access_tokens", absent=not certificate_bound)
    if not bound and not certificate_bound:
        raise wrong("dpop_bound_access_tokens must be true, bearer tokens are not offered")
    return bound
