"""The file of an authority (`fapi-as trust add`) and what is kept of it: parsed and validated once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fapi_as.protocol.metadata_members import MEMBERS, fetched_uri, wrong
from fapi_as.protocol.registration import ClaimNames, TrustedAuthority
from fapi_as.protocol.registration_policy import parse_policy, policy_members
from fapi_as.protocol.scope import is_scope_token
from rs_kit.protocol import jwk
from rs_kit.protocol.errors import InvalidJwk

ASSERTED: Final = MEMBERS - {"software_id", "software_version"}  # those every statement may say
_MEMBERS: Final = frozenset(
    {"issuer", "jwks", "jwks_uri", "may_assert", "policy", "status_uri", "claims", "role_scopes"}
)
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
_ROLES_LIMIT: Final = 64
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
        claims=_claims(members),
        role_scopes=_role_scopes(members),
    )


def authority_members(authority: TrustedAuthority) -> dict[str, object]:
    """The authority as `parse_authority` reads it, defaults included."""
    members: dict[str, object] = {
        "issuer": authority.issuer,
        "may_assert": sorted(authority.may_assert),
        "policy": policy_members(authority.policy),
        "claims": str(authority.claims),
    }
    if authority.role_scopes:
        members["role_scopes"] = {role: sorted(scope) for role, scope in authority.role_scopes}
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
    entries = value.get("keys")
    if isinstance(entries, list) and any(_is_secret(entry) for entry in entries):
        raise wrong("jwks must not hold private or symmetric keys")
    try:
        return jwk.parse_set(value)
    except InvalidJwk as error:
        raise wrong(f"jwks: {error.detail}") from None


def _is_secret(entry: object) -> bool:
    return isinstance(entry, Mapping) and not _PRIVATE_MEMBERS.isdisjoint(entry)


def _may_assert(members: Mapping[str, object]) -> frozenset[str]:
    value = members.get("may_assert")
    if value is None:
        return ASSERTED
    if not isinstance(value, list) or not all(isinstance(name, str) and name in ASSERTED for name in value):
        raise wrong("may_assert may hold names of client metadata only, as redirect_uris or client_name")
    return frozenset(value)


def _claims(members: Mapping[str, object]) -> ClaimNames:
    value = members.get("claims", ClaimNames.RFC_7591)
    if not isinstance(value, str) or value not in set(ClaimNames):
        raise wrong(f"claims may be {' or '.join(ClaimNames)}")
    return ClaimNames(value)


def _role_scopes(members: Mapping[str, object]) -> tuple[tuple[str, frozenset[str]], ...]:
    value = members.get("role_scopes")
    if value is None:
        return ()
    if _claims(members) is not ClaimNames.OPEN_BANKING:
        raise wrong("role_scopes is for claims open_banking only")
    if not isinstance(value, Mapping) or not 0 < len(value) <= _ROLES_LIMIT:
        raise wrong(f"role_scopes must name the scope values of 1 to {_ROLES_LIMIT} roles")
    for values in value.values():
        if not isinstance(values, list) or not all(isinstance(one, str) and is_scope_token(one) for one in values):
            raise wrong("role_scopes must be lists of scope values by role")
    return tuple((role, frozenset(values)) for role, values in sorted(value.items()))
