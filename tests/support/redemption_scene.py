"""What tests of redeeming a code do over and over."""

from __future__ import annotations

from typing import Any

import pytest

from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.handles import digest_of
from tests.support.browser import Callback
from tests.support.fapi_client import FapiClient, Pushed, Refused
from tests.support.house import PASSWORD, House
from tests.support.peer_keys import PeerKey

SHOP = "https://shop.example/mcp"


async def a_code(
    house: House, client: FapiClient | None = None, *, bound: bool = False, **form: Any
) -> tuple[Callback, Pushed]:
    """A fresh code; its push carries no proof unless it is `bound`."""
    client = client or house.agent
    with client.lying(proof=client.lies.proof if bound else ..., form=form):
        pushed = await client.push()
    return await client.authorize(pushed, username="alice", password=PASSWORD), pushed


async def refused(
    house: House,
    done: Callback,
    pushed: Pushed,
    *,
    client: FapiClient | None = None,
    key: PeerKey | None = None,
    **form: Any,
) -> tuple[int, str | None, str | None]:
    """Status, wire code and private reason of a redemption that gives nothing."""
    signed = len(house.signer.signed)
    client = client or house.agent
    with client.lying(form=form), pytest.raises(Refused) as raised:
        await client.redeem(done, pushed, key=key)
    assert len(house.signer.signed) == signed
    return raised.value.status, raised.value.error, house.last_detail


def is_spent(house: House, done: Callback) -> bool:
    return house.store.is_spent(HandleKind.CODE, digest_of(done.code or ""))
