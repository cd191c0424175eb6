"""The rows that wait, once without a clock that is moved; last of the folder, so that the wait costs nobody time."""

from __future__ import annotations

import asyncio

import pytest

from tests.expectations.waiting import CODE_SECONDS, REFRESH_SECONDS, Waiting
from tests.support.fapi_client import Page, Refused


@pytest.mark.expectation("refresh-token-after-30-seconds")
async def test_in_real_time_an_old_refresh_token_works_after_30_seconds(begun: Waiting) -> None:
    await asyncio.sleep(begun.seconds_left(REFRESH_SECONDS))
    assert (await begun.client.refresh(begun.tokens.refresh_token or "")).access_token


@pytest.mark.expectation("par-attempt-to-use-expired-request_uri")
async def test_in_real_time_a_request_uri_is_over_after_expires_in(begun: Waiting) -> None:
    await asyncio.sleep(begun.seconds_left(begun.pushed.expires_in + 1.0))
    place = await begun.client.browser.open(begun.client.authorization_url(begun.pushed))
    assert isinstance(place, Page)
    assert (place.status, place.error) == (400, "invalid_request_uri")


@pytest.mark.expectation("ensure-token-endpoint-fails-with-expired-auth-code")
async def test_in_real_time_a_code_is_over_after_62_seconds(begun: Waiting) -> None:
    await asyncio.sleep(begun.seconds_left(CODE_SECONDS))
    with pytest.raises(Refused) as refusal:
        await begun.client.redeem(begun.code, begun.code_of)
    assert (refusal.value.status, refusal.value.error) == (400, "invalid_grant")


@pytest.mark.expectation("attempt-reuse-authorization-code-after-one-second")
async def test_in_real_time_a_code_works_once(begun: Waiting) -> None:
    pushed = await begun.client.push()
    code = await begun.client.authorize(pushed, username="alice", password="correct horse battery staple")
    assert (await begun.client.redeem(code, pushed)).access_token
    await asyncio.sleep(1.0)
    with pytest.raises(Refused) as refusal:
        await begun.client.redeem(code, pushed)
    assert (refusal.value.status, refusal.value.error) == (400, "invalid_grant")
