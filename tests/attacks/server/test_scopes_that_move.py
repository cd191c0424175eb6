"""A scope that was allowed at one resource is never a scope at another, whatever is registered later."""

from __future__ import annotations

import pytest

from tests.support.fapi_client import Refused
from tests.support.house import PASSWORD, RESOURCE, House

PAY = "https://pay.example/mcp"
SEE = {"accounts:read": "See your balances"}
SEND = {"transfers:write": "Send money"}


@pytest.fixture
def house() -> House:
    house = House()
    house.resource(scopes=SEE)
    house.resource(PAY, scopes=SEND)
    return house


@pytest.mark.requirement("RES-4", proves="refused")
async def test_a_scope_that_a_resource_learns_later_was_not_allowed_there(house: House) -> None:
    agent = house.agent
    with agent.lying(form={"scope": "accounts:read transfers:write", "resource": [RESOURCE, PAY]}):
        pushed = await agent.push()
    done = await agent.authorize(pushed, username="alice", password=PASSWORD)
    house.resource(scopes=SEE | SEND, version=2)
    with agent.lying(form={"resource": RESOURCE}):
        tokens = await agent.redeem(done, pushed)
        assert tokens.scope == "accounts:read"
        assert tokens.refresh_token is not None
        assert (await agent.refresh(tokens.refresh_token)).scope == "accounts:read"
    with agent.lying(form={"resource": RESOURCE, "scope": "transfers:write"}), pytest.raises(Refused) as raised:
        await agent.refresh(tokens.refresh_token)
    assert raised.value.error == "invalid_scope"
    with agent.lying(form={"resource": PAY}):
        assert (await agent.refresh(tokens.refresh_token)).scope == "transfers:write"
