"""The grant type refresh_token: what is loaded for its rule."""

from __future__ import annotations

from typing import Final

from fapi_as.features.refresh_token.rules import GRANT_TYPE, RefreshFacts, decide_refresh
from fapi_as.kernel.seam import Grant, TokenRequest
from fapi_as.ports import Reading
from fapi_as.protocol.authorization_request import AuthorizationGrant
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.handles import digest_of


async def load(request: TokenRequest, reading: Reading) -> RefreshFacts:
    """Look at the refresh token.

    Raises:
        InvalidRequest: there is no refresh token.
    """
    refresh_token = request.parameters.require("refresh_token")
    handle = await reading.handle(HandleKind.REFRESH_TOKEN, digest_of(refresh_token))
    if handle is None:
        return RefreshFacts(handle=None, grant=None, user=None, resources={})
    grant = AuthorizationGrant.from_bytes(handle.payload)
    found = [await reading.resource(name) for name in grant.resources]
    return RefreshFacts(
        handle=handle,
        grant=grant,
        user=await reading.user(grant.subject),
        resources={registered.resource: registered for registered in found if registered is not None},
    )


REFRESH: Final = Grant(
    grant_type=GRANT_TYPE,
    parameters=frozenset({"refresh_token", "scope", "resource"}),
    load=load,
    rule=decide_refresh,
)
