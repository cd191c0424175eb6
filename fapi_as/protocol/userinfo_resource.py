"""The issuer as a protected resource of its own: what a person lets a client know (OpenID Connect Core §5.3, §5.4)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from fapi_as.protocol.resource import RegisteredResource

OPENID: Final = "openid"
OFFLINE_ACCESS: Final = "offline_access"
PROFILE: Final = "profile"
EMAIL: Final = "email"
# each scope in the words of the consent page
IDENTITY_SCOPES: Final[Mapping[str, str]] = {
    OPENID: "Know that it is you when you sign in again",
    PROFILE: "See your name and your user name",
    EMAIL: "See your e-mail address",
    OFFLINE_ACCESS: "Keep this access while you are away",
}


def userinfo_resource(issuer: str) -> RegisteredResource:
    """What nobody has to register; no operator's change touches it, so nothing about it can become stale."""
    return RegisteredResource(
        resource=issuer, version=0, resource_name="Your identity", scopes=IDENTITY_SCOPES, built_in=True
    )


def with_userinfo(
    resources: Mapping[str, RegisteredResource], asked: Collection[str], issuer: str
) -> dict[str, RegisteredResource]:
    """The registered resources among those asked, and the issuer itself where it is asked."""
    found = dict(resources)
    found.pop(issuer, None)  # whoever registers a resource under our own name changes nothing about us
    return found | ({issuer: userinfo_resource(issuer)} if issuer in asked else {})


def identity_scope(scope: Collection[str]) -> tuple[str, ...]:
    """What of a scope concerns the person's identity; nothing without `openid` (OIDC-1)."""
    return tuple(value for value in scope if value in IDENTITY_SCOPES) if OPENID in scope else ()
