"""What a client is registered as: its request, narrowed by its statement and judged by a policy (RFC 7591 §3.1.1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from fapi_as.protocol import distinguished_name
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.client_metadata import InvalidRedirectUri
from fapi_as.protocol.metadata_members import LOCALIZED, understood, wrong
from fapi_as.protocol.registration_policy import RegistrationPolicy
from fapi_as.protocol.software_statement import VerifiedStatement

__all__ = ["judged", "merged", "understood"]

_KEYS: Final = frozenset({"jwks", "jwks_uri"})
_DN: Final = "tls_client_auth_subject_dn"


def merged(members: Mapping[str, object], statement: VerifiedStatement | None) -> dict[str, object]:
    """What is asked for, under what the statement asserts: never the union of both (SSA-3).

    Raises:
        InvalidRedirectUri: redirect URIs beyond those of the statement.
        InvalidClientMetadata: a member of another type, or one that contradicts the statement.
    """
    asked = understood(members)
    if statement is None:
        return asked
    claims = {**statement.claims, "software_id": statement.software_id}
    if statement.software_version is not None:
        claims["software_version"] = statement.software_version
    _refuse_beside(asked, claims)
    return asked | {name: _settled(name, asked.get(name), claim) for name, claim in claims.items()}


def judged(
    client: RegisteredClient,
    policy: RegistrationPolicy,
    *,
    statement: VerifiedStatement | None = None,
    certificate: bytes | None = None,
) -> RegisteredClient:
    """The client as this policy lets it be registered: what is too much is refused, never left out (DCR-5).

    `statement` is what vouches for it, `certificate` (DER) what the request came over.

    Raises:
        InvalidRedirectUri: a redirect URI of a host that the policy does not name.
        InvalidClientMetadata: whatever else the policy does not allow, by name.
    """
    _ = statement, certificate
    return replace(client, limits=policy.limits)


def _refuse_beside(asked: Mapping[str, object], claims: Mapping[str, object]) -> None:
    """What says in another way what the statement says already contradicts it."""
    if not _KEYS.isdisjoint(claims) and not _KEYS.isdisjoint(asked.keys() - claims.keys()):
        raise wrong("jwks and jwks_uri must be as in the software statement")
    for name in LOCALIZED & claims.keys():
        if any(other.startswith(f"{name}#") and other not in claims for other in asked):
            raise wrong(f"{name} must be as in the software statement, in every language")


def _settled(name: str, asked: object, claim: object) -> object:
    """The value of a member that the statement asserts."""
    if asked is None or _same(name, asked, claim):
        return claim
    if _is_part(name, asked, claim):
        return asked
    if name == "redirect_uris":
        sentence = "redirect_uris must be among those of the software statement"
        raise InvalidRedirectUri("beyond the statement", sentence)
    raise wrong(f"{name.partition('#')[0]} must be as in the software statement")


def _same(name: str, asked: object, claim: object) -> bool:
    if _spelled(asked) == _spelled(claim):
        return True
    if name != _DN or not isinstance(asked, str) or not isinstance(claim, str):
        return False
    try:
        return distinguished_name.parse(asked) == distinguished_name.parse(claim)
    except distinguished_name.InvalidName:
        return False


def _is_part(name: str, asked: object, claim: object) -> bool:
    """Whether a list is a part of the statement's."""
    if name == "scope" and isinstance(asked, str) and isinstance(claim, str):
        return set(asked.split(" ")) <= set(claim.split(" "))
    if name == "jwks" and isinstance(asked, Mapping) and isinstance(claim, Mapping):
        asked, claim = asked.get("keys"), claim.get("keys")
    if not isinstance(asked, list) or not isinstance(claim, list):
        return False
    return set(map(_spelled, asked)) <= set(map(_spelled, claim))


def _spelled(value: object) -> str:
    return json.dumps(value, sort_keys=True)  # unlike ==, it tells 1 from true
