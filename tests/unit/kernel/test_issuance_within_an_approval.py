"""Whatever grant a client uses, it is issued no more than the policy of whoever approved it leaves."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fapi_as.protocol.client import ClientLimits
from fapi_as.protocol.effects import HandleKind
from tests.support.fapi_client import Refused
from tests.support.house import PASSWORD, RESOURCE, House

GRANTS = frozenset({"authorization_code", "refresh_token", "client_credentials"})


def limited(house: House, limits: ClientLimits) -> None:
    house.change_client(limits=limits, grant_types=GRANTS)


async def test_an_access_token_of_every_grant_lives_as_long_as_the_approval_lets_it(house: House) -> None:
    limited(house, ClientLimits(access_token_seconds=60))
    tokens = await house.agent.obtain(username="alice", password=PASSWORD)
    for issued in (
        tokens,
        await house.agent.refresh(str(tokens.refresh_token)),
        await house.agent.client_credentials(),
    ):
        assert issued.expires_in == 60
    limited(house, ClientLimits(access_token_seconds=6000))
    assert (await house.agent.client_credentials()).expires_in == 300


async def test_a_refresh_token_lives_as_long_as_the_approval_lets_it(house: House) -> None:
    limited(house, ClientLimits(refresh_token_seconds=600))
    tokens = await house.agent.obtain(username="alice", password=PASSWORD)
    limited(house, ClientLimits())
    house.clock.advance(timedelta(seconds=599))
    assert (await house.agent.refresh(str(tokens.refresh_token))).access_token
    house.clock.advance(1)
    with pytest.raises(Refused, match="invalid_grant"):
        await house.agent.refresh(str(tokens.refresh_token))


async def test_no_refresh_token_is_issued_where_the_approval_allows_none(house: House) -> None:
    limited(house, ClientLimits(refresh_tokens=False))
    assert (await house.agent.obtain(username="alice", password=PASSWORD)).refresh_token is None
    assert not house.store.handles_of(HandleKind.REFRESH_TOKEN)


async def test_a_resource_outside_the_approval_is_nobodys_target_in_any_grant(house: House) -> None:
    tokens = await house.agent.obtain(username="alice", password=PASSWORD)
    pushed = await house.agent.push()
    done = await house.agent.authorize(pushed, username="alice", password=PASSWORD)
    limited(house, ClientLimits(resources=frozenset({"https://other.example/mcp"})))
    for attempt in (
        house.agent.push(),
        house.agent.redeem(done, pushed),
        house.agent.refresh(str(tokens.refresh_token)),
        house.agent.client_credentials(),
    ):
        with pytest.raises(Refused) as raised:
            await attempt
        assert (raised.value.status, raised.value.error) == (400, "invalid_target")
    limited(house, ClientLimits(resources=frozenset({RESOURCE})))
    assert (await house.agent.redeem(done, pushed)).access_token  # the code was not spent by the refusal
