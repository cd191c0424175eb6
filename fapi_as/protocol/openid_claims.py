"""The claims that there are about a person, and which of them a scope asks for (OpenID Connect Core §5.1, §5.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from fapi_as.protocol.user import RegisteredUser
from fapi_as.protocol.userinfo_resource import EMAIL, PROFILE

_OF_SCOPE: Final[Mapping[str, tuple[str, ...]]] = {PROFILE: ("name", "preferred_username"), EMAIL: ("email",)}
# each claim in the words of the consent page
IDENTITY_CLAIMS: Final[Mapping[str, str]] = {
    "name": "See your name",
    "preferred_username": "See your user name",
    "email": "See your e-mail address",
}
CLAIMS_SUPPORTED: Final = (
    *("iss", "sub", "aud", "exp", "iat", "nonce", "auth_time", "acr", "amr", "at_hash"),
    *IDENTITY_CLAIMS,
)


def claims_of_scope(scope: Iterable[str]) -> tuple[str, ...]:
    """OpenID Connect Core §5.4: what these scope values ask for at the userinfo endpoint."""
    return tuple(name for value in scope for name in _OF_SCOPE.get(value, ()))


def registered_claims(names: Iterable[str], client_scope: Iterable[str]) -> tuple[str, ...]:
    """Those that a client of this registered scope may know: asking by claim leads no further than asking by scope."""
    known = frozenset(claims_of_scope(client_scope))
    return tuple(name for name in names if name in known)


def claims_about(user: RegisteredUser, names: Iterable[str]) -> dict[str, str]:
    """The asked claims that are known; what is not known is left out, never empty (§5.3.2)."""
    known = {"name": user.name, "preferred_username": user.username, "email": user.email}
    asked = frozenset(names)
    return {name: value for name, value in known.items() if name in asked and value}
