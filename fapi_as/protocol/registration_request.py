"""What a client is registered as: its request, narrowed by its statement and judged by a policy (RFC 7591 §3.1.1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from fapi_as.protocol import distinguished_name
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.client_certificate import SubjectKind, subject_refusal
from fapi_as.protocol.client_metadata import InvalidRedirectUri
from fapi_as.protocol.client_places import require_places
from fapi_as.protocol.look_alikes import confusing, resembles
from fapi_as.protocol.metadata_members import LOCALIZED, understood, wrong
from fapi_as.protocol.registration_policy import RegistrationPolicy, algorithm_refusal, dictated
from fapi_as.protocol.software_statement import VerifiedStatement

__all__ = ["judged", "merged", "understood"]

_KEYS: Final = frozenset({"jwks", "jwks_uri"})
_SUBJECTS: Final = frozenset(map(str, SubjectKind))
_BY_PEOPLE: Final = frozenset({"authorization_code", "refresh_token"})  # the answer goes to a redirect URI
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
    allowed_private_hosts: frozenset[str] = frozenset(),
) -> RegisteredClient:
    """The client as this policy lets it be registered: what is too much is refused, never left out (DCR-5).

    `statement` is what vouches for it, `certificate` (DER) what the request came over.

    Raises:
        InvalidRedirectUri: a redirect URI that nobody vouches for, or of a host that the policy does not name.
        InvalidClientMetadata: whatever else the policy does not allow, by name.
    """
    said = frozenset[str]() if statement is None else frozenset(statement.claims)
    if statement is not None and not statement.bound:
        _require_anchor(client, policy, said)
    _require_allowed(client, policy)
    require_places(client, policy, said, allowed_private_hosts)
    _require_honest_name(client, policy, said)
    subject = client.certificate_subject
    if subject is not None and certificate is not None and subject_refusal(subject, certificate) is not None:  # SSA-8
        raise wrong(f"{subject.kind} is not of the certificate that the request came with")
    return dictated(client, policy)


def _require_anchor(client: RegisteredClient, policy: RegistrationPolicy, said: frozenset[str]) -> None:
    """A statement is no secret, so it vouches for what only the software has: where it is, or its keys.

    Otherwise whoever finds one has a client of that name, at addresses and with keys of his own.
    """
    if client.redirect_uris and "redirect_uris" not in said and policy.redirect_hosts is None:
        raise InvalidRedirectUri("nobody vouches", "redirect_uris must be named by the software statement")
    by_keys = client.certificate_subject is None  # and keys vouch for no certificate that is asked for instead
    if client.grant_types - _BY_PEOPLE and not said & (_KEYS if by_keys else _SUBJECTS):
        what = "jwks or jwks_uri" if by_keys else "the subject of its certificate"
        raise wrong(f"{what} must be named by the software statement for a client that acts on its own")


def _require_allowed(client: RegisteredClient, policy: RegistrationPolicy) -> None:
    asked = client.grant_types - policy.grant_types
    if asked or ("refresh_token" in client.grant_types and not policy.refresh_tokens):  # DCR-11
        raise wrong("grant_types: the policy does not allow all of them")
    if client.token_endpoint_auth_method not in policy.token_endpoint_auth_methods:
        raise wrong("token_endpoint_auth_method is not allowed by the policy")
    if policy.scope is not None and not client.scope <= policy.scope:  # DCR-14
        raise wrong("scope: the policy does not allow all of it")
    resource = client.default_resource
    if resource is not None and policy.resources is not None and resource not in policy.resources:
        raise wrong("default_resource is not allowed by the policy")
    refusal = algorithm_refusal(client, policy)
    if refusal is not None:
        raise wrong(refusal)


def _require_honest_name(client: RegisteredClient, policy: RegistrationPolicy, said: frozenset[str]) -> None:
    """DCR-13: a name that people read as another one; an authority may give a name that is reserved, and no riddle."""
    names = {"client_name": client.client_name}
    names |= {f"client_name#{language}": name for language, name in client.description.names}
    for member, name in names.items():
        refusal = confusing(name)
        if refusal is not None:
            raise wrong(f"client_name {refusal}")
        if policy.reserved_names is not None and member not in said and resembles(name, policy.reserved_names):
            raise wrong("client_name is reserved for somebody else")


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
        raise InvalidRedirectUri("beyond the statement", "redirect_uris must be among those of the software statement")
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
