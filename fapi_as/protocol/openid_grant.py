"""What a grant with `openid` brings beside its access tokens: the issuer as an audience, and ID tokens."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from fapi_as.protocol.authorization_request import AuthorizationGrant
from fapi_as.protocol.id_token import IdTokenToIssue
from fapi_as.protocol.openid_claims import claims_about, registered_claims
from fapi_as.protocol.user import RegisteredUser
from fapi_as.protocol.userinfo_resource import OFFLINE_ACCESS, OPENID

USERINFO_CLAIMS: Final = "userinfo_claims"


def issuer_beside(grant: AuthorizationGrant, issuer: str) -> tuple[str, ...]:
    """Whoever may know the person may ask at the userinfo endpoint, too; the resource has to be named (RES-3)."""
    return () if grant.openid is None else (issuer,)


def is_offline(grant: AuthorizationGrant, client_scope: Collection[str]) -> bool:
    """Whether the person allowed access while away, and the client may still have it (Core §11)."""
    return OFFLINE_ACCESS in grant.scope and OFFLINE_ACCESS in client_scope


def access_token_claims(grant: AuthorizationGrant, audience: str, issuer: str) -> dict[str, object]:
    """How the person signed in (never of a refresh: AT-3), and what userinfo may tell beside the scope."""
    claims: dict[str, object] = {"auth_time": grant.auth_time, "acr": grant.acr}
    if audience == issuer and grant.openid is not None and grant.openid.userinfo_claims:
        claims[USERINFO_CLAIMS] = list(grant.openid.userinfo_claims)
    return claims


def id_token(
    grant: AuthorizationGrant, user: RegisteredUser, scope: Collection[str], client_scope: Collection[str]
) -> IdTokenToIssue | None:
    """The ID token of a redemption or a refresh, where `openid` was granted and is still there (OIDC-1, OIDC-38)."""
    if grant.openid is None or OPENID not in scope or OPENID not in client_scope:
        return None
    return IdTokenToIssue(
        auth_time=grant.auth_time,
        acr=grant.acr,
        nonce=grant.nonce,
        more=claims_about(user, registered_claims(grant.openid.id_token_claims, client_scope)),
    )
