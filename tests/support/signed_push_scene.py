"""What tests of signed requests do over and over."""

from __future__ import annotations

from typing import Any, Final

from tests.support.browser import Callback
from tests.support.house import PASSWORD, House
from tests.support.signing_client import SigningClient
from tests.support.standing_still import refused_push

OBJECT: Final = (400, "invalid_request_object")
REQUEST: Final = (400, "invalid_request")


async def refused(house: House, signer: SigningClient, **said: Any) -> tuple[int, str]:
    """A push that is refused and leaves everything as it was."""
    with signer.saying(**said):
        return await refused_push(house, client=signer)


async def pushed(signer: SigningClient, **said: Any) -> int:
    with signer.saying(**said):
        return (await signer.push()).response.status_code


async def completed(signer: SigningClient, **said: Any) -> Callback:
    """A request that is pushed, allowed and redeemed."""
    with signer.saying(**said):
        request = await signer.push()
    done = await signer.authorize(request, username="alice", password=PASSWORD)
    assert (await signer.redeem(done, request)).scope == "accounts:read"
    return done
