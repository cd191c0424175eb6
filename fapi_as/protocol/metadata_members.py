"""Reading the members of RFC 7591 metadata: one type each, and a refusal that names the member."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from fapi_as.protocol.outbound_url import InvalidOutboundUrl, parse_outbound_url
from rs_kit.protocol.algorithms import SIGNING_ALGORITHMS, canonical
from rs_kit.protocol.errors import ProtocolError

URI_LIMIT: Final = 2048  # characters
LOCALIZED: Final = frozenset({"client_name", "client_uri", "logo_uri", "policy_uri", "tos_uri"})  # RFC 7591 §2.2
_ALGORITHMS_SENTENCE: Final = "must be PS256, ES256, Ed25519 or EdDSA"
# what is read of a registration, or refused by name, and its JSON type (DCR-18); whatever else there is, is nothing
_TYPES: Final[Mapping[type, frozenset[str]]] = {
    list: frozenset(
        {
            *("redirect_uris", "grant_types", "response_types", "response_modes", "contacts", "default_acr_values"),
            *("post_logout_redirect_uris", "request_uris", "authorization_details_types"),
        }
    ),
    dict: frozenset({"jwks"}),
    int: frozenset({"default_max_age"}),
    bool: frozenset(
        {
            *("dpop_bound_access_tokens", "tls_client_certificate_bound_access_tokens", "use_mtls_endpoint_aliases"),
            *("require_pushed_authorization_requests", "require_signed_request_object", "require_auth_time"),
            *("backchannel_logout_session_required", "backchannel_user_code_parameter"),
            "frontchannel_logout_session_required",
        }
    ),
    str: frozenset(
        {
            *("client_name", "client_uri", "logo_uri", "policy_uri", "tos_uri", "software_id", "software_version"),
            *("scope", "application_type", "default_resource", "jwks_uri", "sector_identifier_uri", "subject_type"),
            *("token_endpoint_auth_method", "token_endpoint_auth_signing_alg", "request_object_signing_alg"),
            *("authorization_signed_response_alg", "id_token_signed_response_alg", "userinfo_signed_response_alg"),
            *("introspection_signed_response_alg", "tls_client_auth_subject_dn", "tls_client_auth_san_dns"),
            *("tls_client_auth_san_uri", "tls_client_auth_san_ip", "tls_client_auth_san_email", "client_secret"),
            *("id_token_encrypted_response_alg", "id_token_encrypted_response_enc"),
            *("userinfo_encrypted_response_alg", "userinfo_encrypted_response_enc"),
            *("authorization_encrypted_response_alg", "authorization_encrypted_response_enc"),
            *("request_object_encryption_alg", "request_object_encryption_enc"),
            *("introspection_encrypted_response_alg", "introspection_encrypted_response_enc"),
            *("backchannel_logout_uri", "frontchannel_logout_uri", "initiate_login_uri"),
            *("backchannel_token_delivery_mode", "backchannel_client_notification_endpoint"),
            "backchannel_authentication_request_signing_alg",
        }
    ),
}
_TYPE_OF: Final = {name: kind for kind, names in _TYPES.items() for name in names}
_TYPE_NAMES: Final = {bool: "true or false", int: "a whole number", str: "a string", dict: "an object"}
MEMBERS: Final = frozenset(_TYPE_OF)


class InvalidClientMetadata(ProtocolError):
    """RFC 7591 §3.2.2."""

    error: ClassVar[str] = "invalid_client_metadata"
    public: ClassVar[str] = "the client may not be registered as described"


def wrong(sentence: str) -> InvalidClientMetadata:
    """The refusal whose private reason may be told as it is."""
    return InvalidClientMetadata(sentence, sentence)


def base_name(name: str) -> str:
    """The member that this is, in whatever language (RFC 7591 §2.2)."""
    base, tagged, _ = name.partition("#")
    return base if tagged and base in LOCALIZED else name


def understood(members: Mapping[str, object]) -> dict[str, object]:
    """The members that mean anything in a registration; the rest, the server's own among them, is gone (DCR-7, DCR-13).

    A null means that nothing is said (RFC 7592 §2.2).

    Raises:
        InvalidClientMetadata: a member of another JSON type.
    """
    kept: dict[str, object] = {}
    for name, value in members.items():
        base = base_name(name)
        kind = _TYPE_OF.get(base)
        if kind is None or value is None:
            continue
        if kind is list:
            kept[name] = strings(members, name, [])
        elif type(value) is kind:  # a boolean is no number
            kept[name] = value
        else:
            raise wrong(f"{base} must be {_TYPE_NAMES[kind]}")
    return kept


def strings(members: Mapping[str, object], name: str, absent: list[str]) -> list[str]:
    """A list of strings, each once.

    Raises:
        InvalidClientMetadata: another type.
    """
    value = members.get(name)
    if value is None:
        return absent
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise wrong(f"{name} must be a list of strings")
    return list(dict.fromkeys(value))


def boolean(members: Mapping[str, object], name: str, *, absent: bool = False) -> bool:
    """A boolean; the word "true" is none (MTLS-16).

    Raises:
        InvalidClientMetadata: another type.
    """
    value = members.get(name, absent)
    if not isinstance(value, bool):
        raise wrong(f"{name} must be true or false")
    return value


def algorithm(members: Mapping[str, object], name: str) -> str | None:
    """The name of a signature algorithm as it was sent; RS256 and none are never among them (FAPI2-CR-2).

    Raises:
        InvalidClientMetadata: another one.
    """
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or canonical(value) not in SIGNING_ALGORITHMS:
        raise wrong(f"{name} {_ALGORITHMS_SENTENCE}")
    return value


def fetched_uri(members: Mapping[str, object], name: str) -> str | None:
    """The URL of a document of the client's, read and never fetched here (FAPI2-JWKS-1, DCR-10).

    Raises:
        InvalidClientMetadata: no https URL in its one spelling, or an address that is not public.
    """
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise wrong(f"{name} must be an https URL")
    try:
        parse_outbound_url(value)
    except InvalidOutboundUrl as error:
        raise wrong(f"{name}: {error}") from None
    return value
