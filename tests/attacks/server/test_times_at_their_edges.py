"""Clocks that differ, stand at an edge, or are absurd (TIM); time is an argument, so every second can be asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from fapi_as.protocol.effects import HandleKind
from rs_kit.protocol.access_token import verify_access_token
from rs_kit.protocol.errors import InvalidToken
from rs_kit.protocol.jwk import usable_keys
from tests.support.fakes import ISSUER, NOW, FrozenClock
from tests.support.fapi_client import Refused, Stuck
from tests.support.house import PASSWORD, RESOURCE, House
from tests.support.token_scene import changes_nothing, obtained, refresh_token_of, refused, warm

ASSERTION, PROOF = "assertion", "proof"
LIES = {
    ("assertion", "iat"): lambda at: {"assertion_iat": at},
    ("assertion", "nbf"): lambda at: {"assertion_claims": {"nbf": at}},
    ("proof", "iat"): lambda at: {"iat": at},
    ("proof", "nbf"): lambda at: {"proof_claims": {"nbf": at}},
}
CODES = {ASSERTION: (401, "invalid_client"), PROOF: (400, "invalid_dpop_proof")}


@pytest.fixture
def house() -> House:
    return House()


# --- TIM-03: what a peer's clock may be off


@pytest.mark.attack("TIM-03")
@pytest.mark.parametrize("where", LIES, ids="-".join)
@pytest.mark.parametrize("off", [-10, -9, 0, 9, 10, 30])
async def test_ten_seconds_either_way_are_accepted_everywhere(house: House, where: tuple[str, str], off: int) -> None:
    await warm(house.agent)
    with house.agent.lying(**LIES[where](NOW + off)):
        assert (await house.agent.client_credentials()).access_token


@pytest.mark.attack("TIM-03")
@pytest.mark.parametrize("where", LIES, ids="-".join)
@pytest.mark.parametrize("off", [31, 60, 61, 3600])
async def test_more_than_half_a_minute_ahead_is_refused_everywhere(
    house: House, where: tuple[str, str], off: int
) -> None:
    await warm(house.agent)
    with house.agent.lying(**LIES[where](NOW + off)):
        await refused(house, house.agent.client_credentials, *CODES[where[0]])


@pytest.mark.attack("TIM-03")
@pytest.mark.parametrize(("off", "good"), [(-60, True), (-61, False)])
async def test_an_old_iat_is_refused_for_proofs(house: House, off: int, good: bool) -> None:
    await warm(house.agent)
    with house.agent.lying(iat=NOW + off):
        if good:
            assert (await house.agent.client_credentials()).access_token
        else:
            await refused(house, house.agent.client_credentials, *CODES[PROOF])


@pytest.mark.attack("TIM-03")
@pytest.mark.parametrize("off", [-61, -290])
async def test_an_old_iat_is_accepted_for_assertions(house: House, off: int) -> None:
    with house.agent.lying(assertion_iat=NOW + off, exp=NOW + 5):
        assert (await house.agent.client_credentials()).access_token


# --- TIM-05: what ends at a second is over in that second


async def ending(house: House, what: str) -> tuple[int, Callable[[], Awaitable[Any]], tuple[int, str]]:
    """How long something of ours lives, a use of it, and the answer when it is over."""
    agent = house.agent
    await warm(agent)
    if what == "refresh token":
        value = refresh_token_of(await obtained(house))
        return 14 * 86_400, lambda: agent.refresh(value), (400, "invalid_grant")
    pushed = await agent.push()
    if what == "request_uri":
        return 90, lambda: agent.authorize(pushed, username="alice", password=PASSWORD), (400, "invalid_request_uri")
    if what == "code":
        done = await agent.authorize(pushed, username="alice", password=PASSWORD)
        return 60, lambda: agent.redeem(done, pushed), (400, "invalid_grant")
    (given,) = agent.nonces.values()

    async def with_that_nonce() -> Any:
        with agent.lying(nonce=given):
            return await agent.client_credentials()

    return 240 - house.clock.now() % 120, with_that_nonce, (400, "use_dpop_nonce")


@pytest.mark.attack("TIM-05")
@pytest.mark.parametrize("what", ["request_uri", "code", "refresh token", "nonce"])
@pytest.mark.parametrize("after", [-1, 0, 1])
async def test_what_we_gave_is_good_before_its_end_and_never_at_it(house: House, what: str, after: int) -> None:
    lifetime, use, (status, error) = await ending(house, what)
    house.clock.advance(lifetime + after)
    if what == "refresh token":
        await warm(house.agent)
    if after < 0:
        assert await use()
        return
    with pytest.raises((Refused, Stuck)) as raised:
        await use()
    told = raised.value
    assert isinstance(told, Refused | Stuck)
    assert (told.page.status if isinstance(told, Stuck) else told.status, told.error) == (status, error)
    assert (await house.client("control").client_credentials()).access_token


@pytest.mark.attack("TIM-05")
@pytest.mark.parametrize(("at", "good"), [(299, True), (309, True), (310, False), (311, False)])
async def test_an_access_token_ends_with_the_leeway_that_jwts_of_others_get(house: House, at: int, good: bool) -> None:
    token = (await house.agent.client_credentials()).access_token
    ask = {"keys": usable_keys(house.signer.public_jwks()), "issuer": ISSUER, "audience": RESOURCE, "now": NOW + at}
    if good:
        assert verify_access_token(token, **ask, leeway_seconds=10).expires_at == NOW + 300
    else:
        with pytest.raises(InvalidToken):
            verify_access_token(token, **ask, leeway_seconds=10)


# --- TIM-06, TIM-07, TIM-08: zones, far years, absurd clocks


@pytest.fixture
def zone() -> Iterator[Callable[[str], None]]:
    before = os.environ.get("TZ")

    def change(name: str) -> None:
        os.environ["TZ"] = name
        time.tzset()

    yield change
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


@pytest.mark.attack("TIM-06")
@pytest.mark.parametrize("name", ["Pacific/Kiritimati", "America/St_Johns", "Europe/Berlin", "right/UTC", "Etc/GMT+12"])
@pytest.mark.parametrize("now", [1_483_228_799, 1_483_228_800, 1_743_296_399, 1_743_296_400])
async def test_the_zone_a_leap_second_and_summer_time_change_nothing(
    house: House, zone: Callable[[str], None], name: str, now: int
) -> None:
    zone(name)
    house.clock.advance(now - NOW)
    tokens = await obtained(house)
    claims = house.signer.signed[-1][1]
    assert (claims["iat"], claims["exp"], tokens.expires_in) == (now, now + 300, 300)
    house.clock.advance(1)
    assert (await house.agent.refresh(refresh_token_of(tokens))).access_token


@pytest.mark.attack("TIM-07")
@pytest.mark.parametrize("at", [2**31 - 1, 2**31, 2**32, 2**33, 253_402_300_799, 253_402_300_800, 10**15, 10**18])
@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
async def test_a_far_year_in_an_assertion_is_refused(house: House, at: int, name: str) -> None:
    await warm(house.agent)
    with house.agent.lying(assertion_claims={name: at}):
        await refused(house, house.agent.client_credentials, 401, "invalid_client")


@pytest.mark.attack("TIM-07")
@pytest.mark.parametrize("at", [2**31 - 2, 2**31, 2**32, 2**33 - 3600])
async def test_the_years_2038_and_2106_are_years_like_others(house: House, at: int) -> None:
    house.clock.advance(at - NOW)
    tokens = await obtained(house)
    assert (await house.agent.refresh(refresh_token_of(tokens))).access_token


@pytest.mark.attack("TIM-08")
@pytest.mark.parametrize("now", [0, 1, 4_070_908_800])
async def test_a_server_whose_clock_is_absurd_gives_nothing_to_peers_whose_clock_is_right(
    house: House, now: int
) -> None:
    house.clock.advance(now - NOW)
    house.agent.now = FrozenClock().now
    for endpoint in (house.agent.push, house.agent.client_credentials):
        with changes_nothing(house, "invalid_client"), pytest.raises(Refused) as raised:
            await endpoint()
        assert (raised.value.status, raised.value.error) == (401, "invalid_client")
    assert house.store.handles_of(HandleKind.REQUEST_URI) == ()
