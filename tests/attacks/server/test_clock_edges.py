"""Time at the authorization server: exact edges, clocks that are wrong, far years, and zones that do not count."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from fapi_as.adapters.clock import SystemClock
from fapi_as.protocol.effects import HandleKind
from tests.support.browser import Page
from tests.support.fakes import NOW
from tests.support.fapi_client import FapiClient, Refused
from tests.support.house import PASSWORD, House, page

LEAP = 1_483_228_799  # 2016-12-31T23:59:59Z, one second before a leap second
SUMMER = 1_774_746_000  # 2026-03-29T01:00:00Z, when clocks in Europe are put forward
Entry = Callable[[FapiClient], Awaitable[object]]


@pytest.fixture
def house() -> House:
    return House()


async def push(client: FapiClient) -> object:
    return await client.push()


async def token(client: FapiClient) -> object:
    return await client.client_credentials()


ENTRIES = pytest.mark.parametrize("entry", [push, token], ids=["PAR", "token"])


@ENTRIES
@pytest.mark.attack("TIM-03")
@pytest.mark.parametrize("skew", [-61, -10, 0, 10, 30])
async def test_an_assertion_of_a_clock_that_is_a_little_off_is_accepted(house: House, entry: Entry, skew: int) -> None:
    now = house.clock.now()
    with house.agent.lying(assertion_iat=now + skew, assertion_claims={"nbf": now + skew}, exp=now + 60):
        await entry(house.agent)


@ENTRIES
@pytest.mark.attack("TIM-03")
@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize("skew", [31, 61])
async def test_an_assertion_from_the_future_is_refused(house: House, entry: Entry, claim: str, skew: int) -> None:
    now = house.clock.now()
    claims = {claim: now + skew}
    with house.agent.lying(assertion_claims=claims, exp=now + 90), pytest.raises(Refused) as refused:
        await entry(house.agent)
    assert (refused.value.status, refused.value.error) == (401, "invalid_client")


@ENTRIES
@pytest.mark.attack("TIM-03")
@pytest.mark.parametrize(("skew", "accepted"), [(-61, False), (-60, True), (-10, True), (10, True), (61, False)])
async def test_a_proof_has_the_same_edges_at_every_entry(house: House, entry: Entry, skew: int, accepted: bool) -> None:
    await house.agent.client_credentials()  # learns the nonce
    with house.agent.lying(iat=house.clock.now() + skew):
        if accepted:
            await entry(house.agent)
            return
        with pytest.raises(Refused) as refused:
            await entry(house.agent)
    assert (refused.value.status, refused.value.error) == (400, "invalid_dpop_proof")


def _until(house: House, kind: HandleKind, offset: int) -> None:
    """Move to the end of what was kept last, and a little more or less."""
    kept = house.store.handles_of(kind)[-1]
    house.clock.advance(kept.usable_until + offset - house.clock.now())


EDGES = pytest.mark.parametrize(("offset", "good"), [(-1, True), (0, False), (1, False)])


@EDGES
@pytest.mark.attack("TIM-05")
async def test_a_code_ends_with_its_last_second(house: House, offset: int, good: bool) -> None:
    pushed = await house.agent.push()
    done = await house.agent.authorize(pushed, username="alice", password=PASSWORD)
    _until(house, HandleKind.CODE, offset)
    if good:
        assert (await house.agent.redeem(done, pushed)).access_token
        return
    with pytest.raises(Refused) as refused:
        await house.agent.redeem(done, pushed)
    assert (refused.value.status, refused.value.error) == (400, "invalid_grant")


@EDGES
@pytest.mark.attack("TIM-05")
async def test_a_refresh_token_ends_with_its_last_second(house: House, offset: int, good: bool) -> None:
    tokens = await house.agent.obtain(username="alice", password=PASSWORD)
    _until(house, HandleKind.REFRESH_TOKEN, offset)
    if good:
        assert (await house.agent.refresh(tokens.refresh_token or "")).access_token
        return
    with pytest.raises(Refused) as refused:
        await house.agent.refresh(tokens.refresh_token or "")
    assert (refused.value.status, refused.value.error) == (400, "invalid_grant")


@EDGES
@pytest.mark.attack("TIM-05")
async def test_a_request_uri_ends_with_its_last_second(house: House, offset: int, good: bool) -> None:
    pushed = await house.agent.push()
    _until(house, HandleKind.REQUEST_URI, offset)
    place = page(await house.agent.browser.open(house.agent.authorization_url(pushed)))
    assert (place.has("login-submit"), place.error) == ((True, None) if good else (False, "invalid_request_uri"))


@EDGES
@pytest.mark.attack("TIM-05")
async def test_an_interaction_ends_with_its_last_second(house: House, offset: int, good: bool) -> None:
    login = await house.opened()
    _until(house, HandleKind.INTERACTION, offset)
    place = await house.sign_in(house.agent.browser, login)
    assert isinstance(place, Page)
    assert place.has("consent-approve") is good


@pytest.fixture(params=["UTC", "Pacific/Kiritimati", "America/St_Johns", "Europe/Berlin"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.attack("TIM-06")
@pytest.mark.parametrize("moment", [LEAP, SUMMER - 1])
async def test_zones_summer_time_and_leap_seconds_have_no_effect(house: House, zone: str, moment: int) -> None:
    assert abs(SystemClock().now() - time.time()) < 2
    house.clock.advance(moment - house.clock.now())
    pushed = await house.agent.push()
    house.clock.advance(1)
    done = await house.agent.authorize(pushed, username="alice", password=PASSWORD)
    house.clock.advance(59)
    tokens = await house.agent.redeem(done, pushed)
    assert tokens.expires_in == 300


@pytest.mark.attack("TIM-07")
@pytest.mark.parametrize("now", [2**31 - 30, 2**31 + 1, 2**32 - 30, 2**32 + 1], ids=["2038", "after", "2106", "past"])
async def test_the_flow_goes_on_in_2038_and_2106(house: House, now: int) -> None:
    house.clock.advance(now - house.clock.now())
    assert (await house.agent.obtain(username="alice", password=PASSWORD)).expires_in == 300


@ENTRIES
@pytest.mark.attack("TIM-07")
@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("date", [2**31, 2**32, 253_402_300_800, 2**63, 2**64, -1, 1e300])
async def test_dates_that_are_far_are_refused_and_break_nothing(
    house: House, entry: Entry, claim: str, date: float
) -> None:
    with house.agent.lying(assertion_claims={claim: date}), pytest.raises(Refused) as refused:
        await entry(house.agent)
    assert (refused.value.status, refused.value.error) == (401, "invalid_client")


@ENTRIES
@pytest.mark.attack("TIM-08")
@pytest.mark.parametrize("wrong", [0, 4_070_908_800], ids=["1970", "2099"])
async def test_a_server_whose_clock_is_wrong_refuses_everybody(house: House, entry: Entry, wrong: int) -> None:
    house.agent.now = lambda: NOW
    house.clock.advance(wrong - house.clock.now())
    with pytest.raises(Refused) as refused:
        await entry(house.agent)
    assert (refused.value.status, refused.value.error) == (401, "invalid_client")


HOUR = 3600


@pytest.mark.attack("TIM-02")
@pytest.mark.parametrize(("back", "good"), [(10, True), (11, False), (HOUR, False)])
async def test_a_request_pushed_by_a_clock_that_is_set_back_begins_nothing(house: House, back: int, good: bool) -> None:
    house.clock.advance(HOUR)
    pushed = await house.agent.push()
    house.clock.advance(-back)
    place = page(await house.agent.browser.open(house.agent.authorization_url(pushed)))
    assert (place.has("login-submit"), place.error) == ((True, None) if good else (False, "invalid_request_uri"))
    assert good or house.last_detail == "the clock was set back since the request was pushed"


@pytest.mark.attack("TIM-02")
@pytest.mark.parametrize("step", ["sign-in", "consent"])
@pytest.mark.parametrize(("back", "good"), [(10, True), (HOUR, False)])
async def test_an_interaction_of_the_jump_goes_on_nowhere_and_gives_no_code(
    house: House, step: str, back: int, good: bool
) -> None:
    house.clock.advance(HOUR)
    place = await house.opened() if step == "sign-in" else await house.asked()
    house.clock.advance(-back)
    browser = house.agent.browser
    after = await (house.sign_in(browser, place) if step == "sign-in" else browser.submit(place, "consent-approve"))
    if good:
        assert not isinstance(after, Page) or after.has("consent-approve")
        return
    assert page(after).error == "invalid_request_uri"
    assert house.last_detail == "the clock was set back since the request was opened"
    assert house.store.handles_of(HandleKind.CODE) == ()


@pytest.mark.attack("TIM-02")
async def test_a_session_of_the_jump_is_nobodys_and_whoever_signs_in_anew_is_served(house: House) -> None:
    house.clock.advance(HOUR)
    await house.asked()
    house.clock.advance(-HOUR)
    login = await house.opened()
    assert login.has("login-submit")  # the session was opened in a future that is not there any more
    assert page(await house.sign_in(house.agent.browser, login)).has("consent-approve")
    assert (await house.opened()).has("consent-approve")  # and the new one lasts
