"""Refresh tokens that are somebody else's, over, or not quite themselves (REF)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.policy import Policy
from rs_kit.protocol.jwk import parse_public
from tests.support.fakes import ISSUER
from tests.support.house import RESOURCE, House
from tests.support.peer_keys import PeerKey
from tests.support.token_scene import claims_of, obtained, refresh_token_of, refused, warm

DAY = timedelta(days=1)


@pytest.fixture
def house() -> House:
    return House()


@pytest.mark.attack("REF-02")
async def test_the_refresh_token_of_another_client_stays_good_for_its_own(house: House) -> None:
    value = refresh_token_of(await obtained(house))
    other = house.client("other")
    await warm(other)
    await refused(house, lambda: other.refresh(value), 400, "invalid_grant", reason="refresh token of another client")
    assert (await house.agent.refresh(value)).access_token


@pytest.mark.attack("REF-03")
async def test_one_refresh_token_is_good_a_hundred_times(house: House) -> None:
    value = refresh_token_of(await obtained(house))
    given = [await house.agent.refresh(value) for _ in range(100)]
    assert {tokens.refresh_token for tokens in given} == {None}
    assert len({claims_of(tokens.access_token)["jti"] for tokens in given}) == 100
    assert len(house.store.handles_of(HandleKind.REFRESH_TOKEN)) == 1


@pytest.mark.attack("REF-05")
async def test_a_narrow_refresh_narrows_no_later_one(house: House) -> None:
    value = refresh_token_of(await obtained(house, scope="accounts:read transfers:write"))
    assert (await house.agent.refresh(value, scope="accounts:read")).scope == "accounts:read"
    await refused(house, lambda: house.agent.refresh(value, scope="accounts:read admin"), 400, "invalid_scope")
    await refused(house, lambda: house.agent.refresh(value, resource=RESOURCE + "/x"), 400, "invalid_target")
    assert (await house.agent.refresh(value)).scope == "accounts:read transfers:write"


@pytest.mark.attack("REF-06")
async def test_a_refresh_with_another_key_moves_no_token_that_was_given_before(house: House) -> None:
    first = await obtained(house)
    key = PeerKey.ed25519()
    second = await house.agent.refresh(refresh_token_of(first), key=key)
    assert claims_of(first.access_token)["cnf"] == {"jkt": house.agent.dpop_key.thumbprint}
    assert claims_of(second.access_token)["cnf"] == {"jkt": key.thumbprint}


@pytest.mark.attack("REF-07")
async def test_a_client_whose_key_was_replaced_refreshes_with_the_new_one_only(house: House) -> None:
    value = refresh_token_of(await obtained(house))
    new = PeerKey.es256(seed=99)
    house.change_client(keys=(parse_public(new.jwk(kid="client-key")),))
    await refused(house, lambda: house.agent.refresh(value), 401, "invalid_client")
    house.agent.client_key = new
    assert (await house.agent.refresh(value)).access_token


@pytest.mark.attack("REF-08")
async def test_two_weeks_without_a_use_are_the_end(house: House) -> None:
    value = refresh_token_of(await obtained(house))
    house.clock.advance(14 * DAY - timedelta(seconds=1))
    assert (await house.agent.refresh(value)).access_token
    house.clock.advance(14 * DAY)
    await warm(house.agent)
    await refused(house, lambda: house.agent.refresh(value), 400, "invalid_grant", reason="refresh token expired")


@pytest.mark.attack("REF-08")
async def test_no_use_moves_the_absolute_end(house: House) -> None:
    value = refresh_token_of(await obtained(house))
    for _ in range(29):
        house.clock.advance(DAY)
        await house.agent.refresh(value)
    house.clock.advance(DAY)
    await warm(house.agent)
    await refused(house, lambda: house.agent.refresh(value), 400, "invalid_grant", reason="refresh token expired")


async def test_a_use_that_would_move_the_end_by_less_than_an_hour_writes_nothing(house: House) -> None:
    value = refresh_token_of(await obtained(house))
    before = house.store.handles_of(HandleKind.REFRESH_TOKEN)
    house.clock.advance(3599)
    await house.agent.refresh(value)
    assert house.store.handles_of(HandleKind.REFRESH_TOKEN) == before
    house.clock.advance(1)
    await house.agent.refresh(value)
    (kept,) = house.store.handles_of(HandleKind.REFRESH_TOKEN)
    assert kept.usable_until == house.clock.now() + 14 * 86_400
    assert kept.delete_after == before[0].delete_after


async def test_a_clock_that_is_set_back_shortens_nothing(house: House) -> None:
    value = refresh_token_of(await obtained(house))
    house.clock.advance(DAY)
    await house.agent.refresh(value)
    before = house.store.handles_of(HandleKind.REFRESH_TOKEN)
    house.clock.advance(-DAY)
    await house.agent.refresh(value)
    assert house.store.handles_of(HandleKind.REFRESH_TOKEN) == before


@pytest.mark.parametrize(("lifetime", "idle", "end"), [(10, 20, 10), (20, 10, 10), (10, 10, 10)])
async def test_whichever_end_is_first_is_the_end(lifetime: int, idle: int, end: int) -> None:
    policy = Policy(
        tenant="default",
        issuer=ISSUER,
        refresh_token_lifetime=lifetime * DAY,
        refresh_token_idle=idle * DAY,
    )
    house = House(policy=policy)
    value = refresh_token_of(await obtained(house))
    house.clock.advance(end * DAY - timedelta(seconds=1))
    assert (await house.agent.refresh(value)).access_token
    (kept,) = house.store.handles_of(HandleKind.REFRESH_TOKEN)
    assert kept.usable_until <= kept.delete_after


@pytest.mark.attack("REF-11")
@pytest.mark.parametrize(
    "change",
    [
        lambda value: chr(ord(value[0]) ^ 1) + value[1:],
        str.swapcase,
        lambda value: value + "\n",
        lambda value: value + " ",
        lambda value: value + "=",
        lambda value: value[:-1],
        lambda value: "x" * 60_000,
    ],
    ids=["flipped", "other case", "newline", "space", "padding", "shorter", "60,000 characters"],
)
async def test_a_refresh_token_that_is_not_exactly_itself_is_unknown(
    house: House, change: Callable[[str], str]
) -> None:
    value = refresh_token_of(await obtained(house))
    bent: Any = change(value)
    assert bent != value
    await refused(house, lambda: house.agent.refresh(bent), 400, "invalid_grant", reason="unknown refresh token")
    (kept,) = house.store.handles_of(HandleKind.REFRESH_TOKEN)
    assert kept.digest == digest_of(value)
    assert value.encode() not in kept.payload
