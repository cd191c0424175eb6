"""The grant type authorization_code: what is loaded for its rule."""

from __future__ import annotations

from typing import Final

from fapi_as.features.authorization_code.rules import GRANT_TYPE, CodeFacts, decide_redemption
from fapi_as.kernel.seam import Grant, TokenRequest
from fapi_as.ports import Reading
from fapi_as.protocol.authorization_request import AuthorizationGrant
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.handles import digest_of


async def load(request: TokenRequest, reading: Reading) -> CodeFacts:
    """Look at the code without spending it.

    Raises:
        InvalidRequest: there is no code.
    """
    code = request.parameters.require("code")
    handle = await reading.handle(HandleKind.CODE, digest_of(code))
    if handle is None:
        return CodeFacts(handle=None, grant=None, user=None, resources={})
    grant = AuthorizationGrant.from_bytes(handle.payload)
    found = [await reading.resource(name) for name in grant.resources]
    return CodeFacts(
        handle=handle,
        grant=grant,
        user=await reading.user(grant.subject),
        resources={registered.resource: registered for registered in found if registered is not None},
    )


REDEEM: Final = Grant(
    grant_type=GRANT_TYPE,
    parameters=frozenset({"code", "code_verifier", "redirect_uri", "resource"}),
    load=load,
    rule=decide_redemption,
)
