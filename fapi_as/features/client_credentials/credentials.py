"""The grant type client_credentials: what is loaded for its rule."""

from __future__ import annotations

from typing import Final

from fapi_as.features.client_credentials.rules import (
    GRANT_TYPE,
    CredentialsFacts,
    asked_resource,
    decide_credentials,
)
from fapi_as.kernel.seam import Grant, TokenRequest
from fapi_as.ports import Reading


async def load(request: TokenRequest, reading: Reading) -> CredentialsFacts:
    """Find the resource that is asked for.

    Raises:
        InvalidTarget: none is named, or several.
    """
    asked = asked_resource(request.parameters, request.client.registered)
    return CredentialsFacts(resource=await reading.resource(asked))


CREDENTIALS: Final = Grant(
    grant_type=GRANT_TYPE,
    parameters=frozenset({"scope", "resource"}),
    load=load,
    rule=decide_credentials,
)
