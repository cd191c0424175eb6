"""The rows of the pages: which cookie is ours, what every page carries, what stays off a page, who may read it how."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlencode

import httpx2
import pytest

from tests.support.fakes import ISSUER
from tests.support.house import RESOURCE, House, callback, page
from tests.support.sign_in_scene import COOKIE, cookie_of, fields, plant, post

REORDERS = "Bank \u202e\u200b\u2066\u00ad\ufeff\x1b[31m tools"


@pytest.mark.requirement("LOG-13", proves="refused")
@pytest.mark.parametrize("name", ["fapi-as", "__Secure-fapi-as", "__host-fapi-as", "__Host-fapi-as-acme"])
async def test_a_session_under_a_name_that_another_host_could_set_is_nobodys(house: House, name: str) -> None:
    consent = await house.asked()
    session = cookie_of(house.agent.browser)
    house.agent.browser.cookies[ISSUER] = {name: session}
    assert page(await house.agent.browser.open(consent.url)).error == "invalid_request_uri"
    house.agent.browser.cookies[ISSUER] = {COOKIE: session}
    assert page(await house.agent.browser.open(consent.url)).has("consent-approve")


async def _bad_form(house: House) -> httpx2.Response:
    login = await house.opened()
    return await post(house, fields(login, csrf_token=""), house.agent.browser)


async def _wrong_password(house: House) -> httpx2.Response:
    login = await house.opened()
    return await post(house, fields(login, password="wrong"), house.agent.browser)


async def _throttled(house: House) -> httpx2.Response:
    login = await house.opened()
    for _ in range(5):
        await post(house, fields(login, password="wrong"), house.agent.browser)
    return await post(house, fields(login), house.agent.browser)


async def _no_store(house: House) -> httpx2.Response:
    login = await house.opened()
    house.store.unavailable = True
    return await post(house, fields(login), house.agent.browser)


async def _nowhere(house: House) -> httpx2.Response:
    return await house.http.get(f"{ISSUER}/login/")


async def _no_interaction(house: House) -> httpx2.Response:
    return await house.http.get(f"{ISSUER}/consent")


async def _method(house: House) -> httpx2.Response:
    return await house.http.put(f"{ISSUER}/consent", content=b"")


REFUSALS: dict[int, Callable[[House], Awaitable[httpx2.Response]]] = {
    400: _no_interaction,
    401: _wrong_password,
    403: _bad_form,
    404: _nowhere,
    405: _method,
    429: _throttled,
    503: _no_store,
}


@pytest.mark.requirement("LOG-17", proves="refused")
@pytest.mark.parametrize("status", REFUSALS)
async def test_no_refusal_may_be_framed_either(house: House, status: int) -> None:
    response = await REFUSALS[status](house)
    assert response.status_code == status
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert response.headers["x-frame-options"] == "DENY"


@pytest.mark.requirement("LOG-19", proves="refused")
@pytest.mark.parametrize("status", REFUSALS)
async def test_no_refusal_is_kept_or_told_elsewhere_either(house: House, status: int) -> None:
    response = await REFUSALS[status](house)
    assert response.status_code == status
    found = {name: response.headers.get(name) for name in ("cache-control", "permissions-policy")}
    assert found == {"cache-control": "no-store", "permissions-policy": "publickey-credentials-get=(self)"}
    assert response.headers["cross-origin-opener-policy"] == "same-origin"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.requirement("LOG-25", proves="refused")
async def test_what_would_reorder_or_hide_its_neighbours_is_not_shown(house: House) -> None:
    # what registration refuses today may stand in a row from yesterday
    house.change_client(client_name=REORDERS)
    house.store.put_resource(replace(house.store.resources[RESOURCE], version=2, resource_name=REORDERS))
    for shown in (await house.opened(), await house.asked()):
        assert "<bdi>Bank [31m tools</bdi>" in shown.text
        assert not [character for character in REORDERS if character in shown.text and not character.isprintable()]


@pytest.mark.requirement("LOG-30", proves="holds")
async def test_whoever_needs_more_time_and_has_no_scripts_gets_through(house: House) -> None:
    consent = await house.asked()
    for _ in range(9):
        house.clock.advance(timedelta(minutes=14))
        consent = page(await house.agent.browser.open(house.agent.authorization_url(await house.agent.push())))
        assert consent.has("consent-approve")
    assert callback(await house.agent.browser.submit(consent, "consent-approve")).code is not None
    assert "<script" not in consent.text


async def test_an_interaction_in_the_query_of_the_sign_out_is_judged_like_everywhere(house: House) -> None:
    await house.asked()
    for handle in ("", "x" * 43, "\x00"):
        url = f"{ISSUER}/logout?{urlencode({'interaction': handle})}"
        assert page(await house.agent.browser.open(url)).status in {200, 400}
    plant(house.agent.browser, "A" * 43)
    assert page(await house.agent.browser.open(f"{ISSUER}/logout")).has("signed-out")
