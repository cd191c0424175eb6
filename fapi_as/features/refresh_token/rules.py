"""When a refresh token may be used: pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fapi_as.kernel.seam import TokenDecision, TokenRequest, TokensToIssue
from fapi_as.protocol import openid_grant, resource, scope
from fapi_as.protocol.authorization_request import AuthorizationGrant
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.decisions import Refuse
from fapi_as.protocol.effects import Effect, Require, Required, Touch
from fapi_as.protocol.errors import InvalidGrant, InvalidTarget
from fapi_as.protocol.handles import KeptHandle
from fapi_as.protocol.policy import Policy, seconds
from fapi_as.protocol.profile import REFRESH_TOKEN_IDLE_GRAIN
from fapi_as.protocol.resource import RegisteredResource
from fapi_as.protocol.user import RegisteredUser
from fapi_as.protocol.userinfo_resource import with_userinfo

GRANT_TYPE: Final = "refresh_token"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshFacts:
    """What `load` found for a refresh token."""

    handle: KeptHandle | None
    grant: AuthorizationGrant | None
    user: RegisteredUser | None
    resources: dict[str, RegisteredResource]


def decide_refresh(request: TokenRequest, facts: RefreshFacts, policy: Policy) -> TokenDecision:
    """RFC 6749 §6 as FAPI 2.0 §5.3.2.1 has it; the key may change, the client may not (RFC 9449 §5)."""
    handle, grant, client = facts.handle, facts.grant, request.client.registered
    if handle is None or grant is None:
        return Refuse(error=InvalidGrant("unknown refresh token"))
    if handle.client_id != client.client_id:  # OA-RT-1
        return Refuse(error=InvalidGrant("refresh token of another client"))
    if handle.spent or handle.revoked:
        return Refuse(error=InvalidGrant("the authorization has ended"))
    if request.now >= handle.usable_until:  # RT-3: idle, and absolute because no use moves it beyond `ends_at`
        return Refuse(error=InvalidGrant("refresh token expired"))
    if _is_over_today(grant, client, request.now):
        return Refuse(error=InvalidGrant("the client's approval lets no refresh token live for so long"))
    if grant.document_digest != client.document_digest:  # CIMD-14: only its keys may have changed
        return Refuse(error=InvalidGrant("the client's document changed"))
    user = facts.user
    if user is None or user.version != grant.user_version:  # OA-RT-4: a new password ends it
        return Refuse(error=InvalidGrant("the user changed"))
    beside = openid_grant.issuer_beside(grant, policy.issuer)
    audience = resource.chosen(request.parameters.resources, grant.resources, beside=beside)
    registered = with_userinfo(facts.resources, (audience,), policy.issuer).get(audience)
    if registered is None:
        raise InvalidTarget("the resource is gone")
    if not _may_be_refreshed(registered, facts.resources, grant, client):
        return Refuse(error=InvalidGrant("the resource allows no refresh tokens any more"))
    asked = request.parameters.get("scope")
    granted = grant.scope if asked is None else scope.limited(scope.parse(asked), grant.scope)  # OA-RT-2
    used = _used(handle, grant, request.now, policy)
    live_user = Require(required=Required.USER, identifier=grant.subject, version=grant.user_version)
    live_grant = Require(required=Required.AUTHORIZATION, identifier=grant.authorization_id)
    return TokensToIssue(
        subject=grant.subject,
        scope=scope.narrowed(granted, grant.scope_of(audience), client.scope, registered.scopes),
        resource=audience,
        authorization_id=grant.authorization_id,
        access_token_seconds=seconds(registered.access_token_lifetime or policy.access_token_lifetime),
        claims=openid_grant.access_token_claims(grant, audience, policy.issuer),
        effects=(live_user, live_grant, *registered.requirements, *used),
        lost={
            **{effect: Refuse(error=InvalidGrant("the authorization has ended")) for effect in used},
            live_user: Refuse(error=InvalidGrant("the user changed")),
            live_grant: Refuse(error=InvalidGrant("the authorization has ended")),
            **dict.fromkeys(registered.requirements, Refuse(error=InvalidTarget("the resource changed"))),
        },
        id_token=openid_grant.id_token(grant, user, granted, client.scope),
    )


def _is_over_today(grant: AuthorizationGrant, client: RegisteredClient, now: int) -> bool:
    """Whether today's policy of whoever approved the client gives a refresh token less time than it had."""
    approved = client.limits.refresh_token_seconds
    return approved is not None and grant.begins_at is not None and now >= grant.begins_at + approved


def _may_be_refreshed(
    registered: RegisteredResource,
    granted: Mapping[str, RegisteredResource],
    grant: AuthorizationGrant,
    client: RegisteredClient,
) -> bool:
    """The issuer has no rule of its own: what the refresh token was given for still has to be so (Core §11)."""
    if not registered.built_in:
        return registered.refresh_tokens
    return openid_grant.is_offline(grant, client.scope) or any(found.refresh_tokens for found in granted.values())


def _used(handle: KeptHandle, grant: AuthorizationGrant, now: int, policy: Policy) -> tuple[Effect, ...]:
    """What a use moves: the end by idleness, no further than the absolute one (RT-3)."""
    if grant.ends_at is None:
        return ()
    usable_until = min(now + seconds(policy.refresh_token_idle), grant.ends_at)
    moved = usable_until - handle.usable_until
    if moved <= 0 or (moved < seconds(REFRESH_TOKEN_IDLE_GRAIN) and usable_until < grant.ends_at):
        return ()
    return (Touch(kind=handle.kind, digest=handle.digest, usable_until=usable_until, delete_after=grant.ends_at),)
