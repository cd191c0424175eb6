"""The file of an authority (`fapi-as trust add`) and what is kept of it: parsed and validated once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fapi_as.protocol.metadata_members import fetched_uri, wrong
from fapi_as.protocol.registration import TrustedAuthority
from fapi_as.protocol.registration_policy import parse_policy, policy_members
from rs_kit.protocol import jwk
from rs_kit.protocol.errors import InvalidJwk

ASSERTED: Final = frozenset(
    {
        *("redirect_uris", "jwks", "jwks_uri", "client_name", "scope", "contacts", "grant_types", "response_types"),
        *("token_endpoint_auth_method", "application_type", "client_uri", "logo_uri", "policy_uri", "tos_uri"),
        *("default_resource", "post_logout_redirect_uris", "sector_identifier_uri", "subject_type"),
        *("tls_client_auth_subject_dn", "tls_client_auth_san_dns", "tls_client_auth_san_uri"),
        *("tls_client_auth_san_ip", "tls_client_auth_san_email"),
        *("tls_client_certificate_bound_access_tokens", "dpop_bound_access_tokens"),
    }
)  # beside software_id and software_version, which every statement says
_MEMBERS: Final = frozenset({"issuer", "jwks", "jwks_uri", "may_assert", "policy", "status_uri"})
_ISSUER_LIMIT: Final = 512  # characters


def parse_authority(members: Mapping[str, object], *, version: int) -> TrustedAuthority:
    """Read the file of an authority, or the row that keeps it.

    Raises:
        InvalidClientMetadata: the first member that is wrong, by name.
        InvalidRegistrationPolicy: the same of its policy.
    """
    unknown = members.keys() - _MEMBERS
    if unknown:
        raise wrong(f"an authority has no member {min(unknown)!r}"[:120])
    issuer = members.get("issuer")
    if not isinstance(issuer, str) or not 0 < len(issuer) <= _ISSUER_LIMIT or fetched_uri(members, "issuer") is None:
        raise wrong("issuer is required: the https URL that stands as iss in its statements")
    jwks_uri = fetched_uri(members, "jwks_uri")
    keys = _keys(members)
    if (jwks_uri is None) == (not keys):
        raise wrong("an authority has either jwks or jwks_uri: its public keys, or where they are published")
    policy = members.get("policy", {})
    if not isinstance(policy, Mapping):
        raise wrong("policy must be an object")
    return TrustedAuthority(
        issuer=issuer,
        version=version,
        keys=keys,
        jwks_uri=jwks_uri,
        may_assert=_may_assert(members),
        policy=parse_policy(policy),
        status_uri=fetched_uri(members, "status_uri"),
    )


def authority_members(authority: TrustedAuthority) -> dict[str, object]:
    """The authority as `parse_authority` reads it, defaults included."""
    members: dict[str, object] = {
        "issuer": authority.issuer,
        "may_assert": sorted(authority.may_assert),
        "policy": policy_members(authority.policy),
    }
    if authority.keys:
        members["jwks"] = {"keys": [dict(key.to_jwk()) for key in authority.keys]}
    optional = {"jwks_uri": authority.jwks_uri, "status_uri": authority.status_uri}
    return members | {name: value for name, value in optional.items() if value is not None}


def _keys(members: Mapping[str, object]) -> tuple[jwk.PublicJwk, ...]:
    value = members.get("jwks")
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise wrong("jwks must be a JWK set: the public keys of the authority")
    try:
        return jwk.parse_set(value)
    except InvalidJwk as error:
        raise wrong(f"jwks: {error.detail}") from None


def _may_assert(members: Mapping[str, object]) -> frozenset[str]:
    value = members.get("may_assert")
    if value is None:
        return ASSERTED
    if not isinstance(value, list) or not all(isinstance(name, str) and name in ASSERTED for name in value):
        raise wrong(f"may_assert may hold {', '.join(sorted(ASSERTED))}")
    return frozenset(value)
