"""What an approver may let in: data, the same for an authority and for an initial access token."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final, TypedDict
from urllib.parse import urlsplit

from fapi_as.protocol.client import ClientLimits, RegisteredClient
from fapi_as.protocol.client_metadata import AUTHENTICATION_METHODS, PRIVATE_KEY_JWT
from fapi_as.protocol.look_alikes import skeleton
from fapi_as.protocol.profile import ACCESS_TOKEN_CEILING, REFRESH_TOKEN_CEILING
from rs_kit.protocol.algorithms import SIGNING_ALGORITHMS, canonical
from rs_kit.protocol.errors import ProtocolError
from rs_kit.protocol.jwk import PublicJwk

_CLIENTS_CEILING: Final = 10_000  # of one software: whoever has more names another software
_DAY_CEILING: Final = 1_000_000
_LIST_LIMIT: Final = 256
_SENDER_CONSTRAINTS: Final = frozenset({"dpop", "mtls"})
_HOST: Final = re.compile(r"[a-z0-9.:-]{1,253}\Z")
_REFRESH: Final = "refresh_token"
_SHORTEST_ACCESS_TOKEN: Final = 10  # seconds, as lifetimes.access_token
_SHORTEST_REFRESH_TOKEN: Final = 60


class _Keys(TypedDict, total=False):
    keys: tuple[PublicJwk, ...]
    key_certificates: tuple[bytes | None, ...]


class _Algorithms(TypedDict, total=False):
    token_endpoint_auth_signing_alg: str | None
    request_object_signing_alg: str | None


class InvalidRegistrationPolicy(ProtocolError):
    """A policy that cannot be meant; the sentence names the member."""

    error: ClassVar[str] = "invalid_client_metadata"
    public: ClassVar[str] = "the registration policy is not valid"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationPolicy:
    """Which clients an approver may bring, and what they may be issued; None is no limit of its own."""

    grant_types: frozenset[str] = frozenset({"authorization_code", "refresh_token"})
    scope: frozenset[str] | None = None
    resources: frozenset[str] | None = None
    token_endpoint_auth_methods: frozenset[str] = frozenset(AUTHENTICATION_METHODS)
    algorithms: frozenset[str] = frozenset(SIGNING_ALGORITHMS)  # that a client may sign with
    sender_constraints: frozenset[str] = _SENDER_CONSTRAINTS  # one of them at least is in force
    redirect_hosts: frozenset[str] | None = None
    same_site: bool = True  # what else has a URL is on the host of a redirect URI, or below it (DCR-12, ODCR-6)
    reserved_names: frozenset[str] | None = None  # what no client may be read as, unless its statement names it so
    access_token_lifetime: int | None = None  # seconds, at most
    refresh_tokens: bool = True
    refresh_token_lifetime: int | None = None  # seconds, at most
    clients_per_software: int = 10
    clients_per_day: int = 100
    uses_per_statement: int = 1
    signed_request: bool = False  # the registration itself must be signed (SSA-7)
    mutual_tls: bool = False  # and must come with a client certificate (DCR-20)

    @property
    def limits(self) -> ClientLimits:
        """What it leaves of what a client may be issued."""
        return ClientLimits(
            resources=self.resources,
            access_token_seconds=self.access_token_lifetime,
            refresh_tokens=self.refresh_tokens,
            refresh_token_seconds=self.refresh_token_lifetime,
        )


DEFAULT_POLICY: Final = RegistrationPolicy()


def parse_policy(members: Mapping[str, object]) -> RegistrationPolicy:
    """Read the `policy` of an approver; an unknown member is refused, because somebody relies on it.

    Raises:
        InvalidRegistrationPolicy: the first member that is wrong, by name.
    """
    unknown = members.keys() - RegistrationPolicy.__dataclass_fields__.keys()
    if unknown:
        raise _wrong(f"policy has no member {min(unknown)!r}"[:120])
    return RegistrationPolicy(
        grant_types=_names(members, "grant_types") or DEFAULT_POLICY.grant_types,
        scope=_names(members, "scope"),
        resources=_names(members, "resources"),
        token_endpoint_auth_methods=_among(members, "token_endpoint_auth_methods", frozenset(AUTHENTICATION_METHODS)),
        algorithms=_algorithms(members),
        sender_constraints=_among(members, "sender_constraints", _SENDER_CONSTRAINTS),
        redirect_hosts=_hosts(members, "redirect_hosts"),
        same_site=_flag(members, "same_site", absent=True),
        reserved_names=_readable(members, "reserved_names"),
        access_token_lifetime=_number(
            members, "access_token_lifetime", _SHORTEST_ACCESS_TOKEN, int(ACCESS_TOKEN_CEILING.total_seconds()), None
        ),
        refresh_tokens=_flag(members, "refresh_tokens", absent=True),
        refresh_token_lifetime=_number(
            members, "refresh_token_lifetime", _SHORTEST_REFRESH_TOKEN, int(REFRESH_TOKEN_CEILING.total_seconds()), None
        ),
        clients_per_software=_number(members, "clients_per_software", 1, _CLIENTS_CEILING, 10) or 1,
        clients_per_day=_number(members, "clients_per_day", 1, _DAY_CEILING, 100) or 1,
        uses_per_statement=_number(members, "uses_per_statement", 1, _DAY_CEILING, 1) or 1,
        signed_request=_flag(members, "signed_request", absent=False),
        mutual_tls=_flag(members, "mutual_tls", absent=False),
    )


def policy_members(policy: RegistrationPolicy) -> dict[str, object]:
    """The policy as `parse_policy` reads it."""
    found: dict[str, object] = {}
    for name in RegistrationPolicy.__dataclass_fields__:
        value = getattr(policy, name)
        if value is not None:
            found[name] = sorted(value) if isinstance(value, frozenset) else value
    return found


def under_policy(client: RegisteredClient, policy: RegistrationPolicy) -> RegisteredClient | None:
    """What a registered client still is under today's policy of its approver; None when it may not be at all.

    What was registered is kept as it was: a policy that is widened again gives it back.
    """
    grant_types = client.grant_types & policy.grant_types
    if not policy.refresh_tokens:
        grant_types -= {_REFRESH}
    scope = client.scope if policy.scope is None else client.scope & policy.scope
    redirect_uris = tuple(uri for uri in client.redirect_uris if may_redirect_to(uri, policy))
    if client.redirect_uris and not redirect_uris:
        return None
    if client.token_endpoint_auth_method not in policy.token_endpoint_auth_methods or not grant_types or not scope:
        return None
    narrowed = replace(
        client,
        grant_types=grant_types,
        scope=scope,
        redirect_uris=redirect_uris,
        post_logout_redirect_uris=tuple(uri for uri in client.post_logout_redirect_uris if may_leave_for(uri, policy)),
        **_without_other_keys(client, policy),
    )
    return None if algorithm_refusal(narrowed, policy) is not None else dictated(narrowed, policy)


def may_redirect_to(uri: str, policy: RegistrationPolicy) -> bool:
    """Whether the policy lets a client have a redirect URI of this host."""
    return policy.redirect_hosts is None or (urlsplit(uri).hostname or "") in policy.redirect_hosts


def may_leave_for(uri: str, policy: RegistrationPolicy) -> bool:
    """Whether the policy lets a client send people to this host, or to one below, when they sign out."""
    return policy.redirect_hosts is None or is_at(urlsplit(uri).hostname or "", policy.redirect_hosts)


def is_at(host: str, places: Collection[str]) -> bool:
    """Whether a host is one of these, or below one of them that is no name of a whole network."""
    return host in places or any("." in place and host.endswith(f".{place}") for place in places)


def algorithm_refusal(client: RegisteredClient, policy: RegistrationPolicy) -> str | None:
    """Why the client signs, or could sign, with what the policy does not name, or None; in words that may be told."""
    if policy.algorithms >= DEFAULT_POLICY.algorithms:
        return None
    allowed = ", ".join(sorted(policy.algorithms))
    for name in ("token_endpoint_auth_signing_alg", "request_object_signing_alg"):
        value = getattr(client, name)
        if value is not None and canonical(value) not in policy.algorithms:
            return f"{name}: the policy allows {allowed}"
    if any(key.algorithm not in policy.algorithms for key in client.keys):
        return f"jwks: the policy allows keys for {allowed}"
    is_open = client.token_endpoint_auth_method == PRIVATE_KEY_JWT and client.jwks_uri is not None
    if is_open and client.token_endpoint_auth_signing_alg is None and len(policy.algorithms) > 1:
        return f"token_endpoint_auth_signing_alg is required beside a jwks_uri, one of {allowed}"
    return None


def dictated(client: RegisteredClient, policy: RegistrationPolicy) -> RegisteredClient:
    """The client with what the policy settles whatever was asked for: limits, and protections that are only added."""
    held = {"dpop": client.dpop_bound_access_tokens, "mtls": client.tls_client_certificate_bound_access_tokens}
    if not any(held[constraint] for constraint in policy.sender_constraints):
        held |= dict.fromkeys(policy.sender_constraints, True)
    return replace(
        client,
        limits=policy.limits,
        dpop_bound_access_tokens=held["dpop"],
        tls_client_certificate_bound_access_tokens=held["mtls"],
        **_named_algorithms(client, policy),
    )


def _without_other_keys(client: RegisteredClient, policy: RegistrationPolicy) -> _Keys:
    """The keys by value that the policy leaves; when it leaves none they stay, and are refused with the client."""
    pairs = zip(client.keys, client.key_certificates or (None,) * len(client.keys), strict=True)
    left = [(key, certificate) for key, certificate in pairs if key.algorithm in policy.algorithms]
    if not left or len(left) == len(client.keys):
        return {}
    return {"keys": tuple(key for key, _ in left), "key_certificates": tuple(certificate for _, certificate in left)}


def _named_algorithms(client: RegisteredClient, policy: RegistrationPolicy) -> _Algorithms:
    """Keys behind a jwks_uri may be of any kind, so what they sign with is said where the policy does not allow all."""
    if client.jwks_uri is None or policy.algorithms >= DEFAULT_POLICY.algorithms:
        return {}
    assertions = client.token_endpoint_auth_signing_alg
    if assertions is None and client.token_endpoint_auth_method == PRIVATE_KEY_JWT:
        assertions = min(policy.algorithms)
    requests = client.request_object_signing_alg or assertions or min(policy.algorithms)
    return {"token_endpoint_auth_signing_alg": assertions, "request_object_signing_alg": requests}


def _wrong(sentence: str) -> InvalidRegistrationPolicy:
    return InvalidRegistrationPolicy(sentence, sentence)


def _names(members: Mapping[str, object], name: str) -> frozenset[str] | None:
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise _wrong(f"policy: {name} must be a list of strings")
    if not 0 < len(value) <= _LIST_LIMIT:
        raise _wrong(f"policy: {name} must have 1 to {_LIST_LIMIT} entries")
    return frozenset(value)


def _hosts(members: Mapping[str, object], name: str) -> frozenset[str] | None:
    hosts = _names(members, name)
    if hosts is not None and not all(_HOST.match(host) for host in hosts):
        raise _wrong(f"policy: {name} must be host names in lower case or addresses, without ports")
    return hosts


def _readable(members: Mapping[str, object], name: str) -> frozenset[str] | None:
    names = _names(members, name)
    if names is not None and not all(skeleton(one) for one in names):
        raise _wrong(f"policy: {name} must have letters")
    return names


def _among(members: Mapping[str, object], name: str, known: frozenset[str]) -> frozenset[str]:
    found = _names(members, name)
    if found is None:
        return known
    if not found <= known:
        raise _wrong(f"policy: {name} may hold {', '.join(sorted(known))}")
    return found


def _algorithms(members: Mapping[str, object]) -> frozenset[str]:
    found = _names(members, "algorithms")
    if found is None:
        return DEFAULT_POLICY.algorithms
    named = frozenset(canonical(name) for name in found)
    if not named <= DEFAULT_POLICY.algorithms:
        raise _wrong(f"policy: algorithms may hold {', '.join(sorted(DEFAULT_POLICY.algorithms))}")
    return frozenset(str(name) for name in named)


def _flag(members: Mapping[str, object], name: str, *, absent: bool) -> bool:
    value = members.get(name, absent)
    if not isinstance(value, bool):
        raise _wrong(f"policy: {name} must be true or false")
    return value


def _number(members: Mapping[str, object], name: str, least: int, most: int, absent: int | None) -> int | None:
    value = members.get(name)
    if value is None:
        return absent
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise _wrong(f"policy: {name} must be a whole number from {least} to {most}")
    return value
