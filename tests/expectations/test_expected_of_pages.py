"""3: pages that a script can drive."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import pytest

from tests.expectations.certification import Certification
from tests.expectations.conforming_client import ConformingClient
from tests.support.browser import Browser, Callback, Page


async def opened(client: ConformingClient, browser: Browser) -> Page:
    """The login page, in a browser that nobody has signed in with."""
    pushed = await client.push()
    place = await browser.open(client.authorization_url(pushed), stop_at=client.redirect_uri)
    assert isinstance(place, Page)
    return place


async def signed_in(suite: Certification, client: ConformingClient, browser: Browser) -> Page:
    """The consent page."""
    login = await opened(client, browser)
    values = dict(zip(("username", "password"), suite.person, strict=True))
    place = await browser.submit(login, "login-submit", values, stop_at=client.redirect_uri)
    assert isinstance(place, Page)
    return place


@pytest.mark.expectation("forms-and-ids")
async def test_forms_are_plain_and_their_ids_stable(suite: Certification, client: ConformingClient) -> None:
    browser = client.new_browser()
    login = await opened(client, browser)
    form = login.form_of("login-submit")
    assert form.method == "POST"
    kinds = {control.id: control.kind for control in form.controls}
    assert {"username": "text", "password": "password", "login-submit": "submit"}.items() <= kinds.items()
    assert login.response.headers["content-type"].startswith("text/html")
    values = dict(zip(("username", "password"), suite.person, strict=True))
    consent = await browser.submit(login, "login-submit", values)
    assert isinstance(consent, Page)
    for name in ("consent-approve", "consent-deny"):
        control = consent.form_of(name).control(name)
        assert control is not None
        assert control.kind == "submit"


@pytest.mark.expectation("distinct-paths")
async def test_login_and_consent_have_paths_of_their_own(suite: Certification, client: ConformingClient) -> None:
    browser = client.new_browser()
    consent = await signed_in(suite, client, browser)
    left = await browser.submit(consent, "consent-approve", stop_at=client.redirect_uri)
    assert isinstance(left, Callback)
    paths = [urlsplit(location).path for _, location in browser.trail]
    assert paths[0] == "/login"
    assert "/consent" in paths
    assert {status for status, _ in browser.trail} <= {302, 303}


@pytest.mark.expectation("visit-starts-at-the-authorization-url")
async def test_an_interaction_belongs_to_the_browser_that_opened_it(
    suite: Certification, client: ConformingClient
) -> None:
    consent = await signed_in(suite, client, client.new_browser())
    stranger = await client.new_browser().open(consent.url)
    assert isinstance(stranger, Page)
    assert stranger.status >= 400
    assert not stranger.has("consent-approve")


@pytest.mark.expectation("deny-after-login")
async def test_no_can_be_said_after_signing_in(suite: Certification, client: ConformingClient) -> None:
    pushed = await client.push()
    place = await client.visit(pushed, person=suite.person, approve=False, browser=client.new_browser())
    assert client.came_back(place, pushed).parameters["error"] == "access_denied"


@pytest.mark.expectation("error-page")
async def test_an_error_page_shows_the_code(client: ConformingClient) -> None:
    url = f"{client.metadata['authorization_endpoint']}?client_id={client.client_id}&request_uri=urn%3Aunknown"
    place = await client.new_browser().open(url)
    assert isinstance(place, Page)
    assert place.status == 400
    assert place.response.headers["content-type"].startswith("text/html")
    assert place.error in {"invalid_request_uri", "invalid_request"}


@pytest.mark.expectation("session")
async def test_with_a_session_nobody_signs_in_again(suite: Certification, client: ConformingClient) -> None:
    browser = client.new_browser()
    await client.authorize(await client.push(), person=suite.person, browser=browser)
    again = await browser.open(client.authorization_url(await client.push()), stop_at=client.redirect_uri)
    assert isinstance(again, Callback) or again.has("consent-approve")


@pytest.mark.expectation("cookies")
async def test_cookies_are_safe_and_a_password_is_enough(suite: Certification, client: ConformingClient) -> None:
    browser = client.new_browser()
    assert (await client.authorize(await client.push(), person=suite.person, browser=browser)).code
    assert browser.set_cookie_lines
    for line in browser.set_cookie_lines:
        attributes = {part.strip().lower() for part in line.split(";")[1:]}
        assert {"secure", "httponly"} <= attributes, line
        assert attributes & {"samesite=lax", "samesite=strict"}, line


@pytest.mark.expectation("parallel-browsers")
async def test_browsers_side_by_side_do_not_disturb_each_other(
    suite: Certification, client: ConformingClient, second: ConformingClient
) -> None:
    async def one(peer: ConformingClient) -> str:
        return (await peer.authorize(await peer.push(), person=suite.person, browser=peer.new_browser())).code

    codes = await asyncio.gather(one(client), one(second))
    assert len(set(codes)) == 2
