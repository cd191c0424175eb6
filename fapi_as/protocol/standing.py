"""Whether a pushed request still stands: what was checked at the push may have changed since (PAR-18)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fapi_as.protocol import redirect_uri
from fapi_as.protocol.authorization_request import ValidatedAuthorizationRequest
from fapi_as.protocol.authorization_response import AuthorizationFailed
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.errors import InvalidRequest, InvalidScope, InvalidTarget, UnauthorizedClient
from fapi_as.protocol.resource import RegisteredResource
from fapi_as.protocol.userinfo_resource import identity_scope


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingRequest:
    """A validated request with the live client and the live resources that it is about, in the order asked."""

    validated: ValidatedAuthorizationRequest
    client: RegisteredClient
    resources: tuple[RegisteredResource, ...]

    def scopes_of(self, resource: RegisteredResource) -> tuple[str, ...]:
        """The asked scope values that mean something at this resource (RES-4)."""
        return tuple(value for value in self.validated.scope if value in resource.scopes)


def require_standing(
    validated: ValidatedAuthorizationRequest,
    client: RegisteredClient | None,
    resources: Mapping[str, RegisteredResource],
) -> StandingRequest:
    """Check against today's registrations; `resources` holds the live ones among those asked.

    Raises:
        UnauthorizedClient, InvalidRequest: nobody to redirect to any more, so only a local page may say so (OA-AC-4).
        AuthorizationFailed: the client is as trusted as ever and may hear what is wrong.
    """
    if client is None:
        raise UnauthorizedClient("the client is gone", "this application may not be used any more")
    if validated.document_digest != client.document_digest:  # CIMD-14
        raise InvalidRequest("the client's document changed", "the application's document changed, start again there")
    redirect = validated.redirect_uri
    if (
        not redirect_uri.is_registered(redirect, client.redirect_uris, client.application_type)
        or redirect_uri.refusal(redirect, client.application_type) is not None  # a planted record: AUZ-19
    ):
        raise InvalidRequest("redirect_uri is gone", "redirect_uri is not registered for this client")
    if "authorization_code" not in client.grant_types:
        raise AuthorizationFailed(validated, UnauthorizedClient("not registered for the code flow any more"))
    if any(_is_gone(resources.get(name), client) for name in validated.resources):
        raise AuthorizationFailed(validated, InvalidTarget("a resource is gone"))
    known = {value for resource in resources.values() if not resource.built_in for value in resource.scopes}
    known.update(identity_scope(validated.scope))
    if any(value not in client.scope or value not in known for value in validated.scope):
        raise AuthorizationFailed(validated, InvalidScope("a scope is gone"))
    if any(not set(validated.scope) & set(resource.scopes) for resource in resources.values()):
        raise AuthorizationFailed(validated, InvalidTarget("no asked scope means anything at a resource any more"))
    return StandingRequest(
        validated=validated, client=client, resources=tuple(resources[name] for name in validated.resources)
    )


def _is_gone(resource: RegisteredResource | None, client: RegisteredClient) -> bool:
    """Whether nobody may be asked for it: it is not registered, or beyond what the client's approval covers today."""
    covered = client.limits.resources
    return resource is None or not (covered is None or resource.built_in or resource.resource in covered)
