"""How a session ends: by a form of our page, for good, or only to go on as somebody else."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.handles import digest_of
from tests.support.browser import Page
from tests.support.fakes import ISSUER
from tests.support.house import PASSWORD, House, callback, hidden, page
from tests.support.sign_in_scene import COOKIE, cookie_of, plant, post, signed_in_sessions

LOGOUT = f"{ISSUER}/logout"


async def asked_to_leave(house: House) -> Page:
    """The page that asks whether to sign out, after alice has signed in."""
    await house.asked()
    return page(await house.agent.browser.open(LOGOUT))


async def asked_to_change(house: House) -> Page:
    """The page behind "Not you?"."""
    consent = await house.asked()
    return page(await house.agent.browser.open(f"{LOGOUT}?{urlsplit(consent.url).query}", site="same-origin"))


def form(leaving: Page, **changes: str | None) -> dict[str, str]:
    found = {control.name: control.value for control in leaving.form_of("logout-submit").controls if control.name}
    return {name: value for name, value in (found | changes).items() if value is not None}


async def send(house: House, leaving: Page, **headers: str) -> httpx2.Response:
    return await post(house, form(leaving), house.agent.browser, path="/logout", **headers)


async def test_whoever_signs_out_is_out(house: House) -> None:
    leaving = await asked_to_leave(house)
    old = cookie_of(house.agent.browser)
    out = page(await house.agent.browser.submit(leaving, "logout-submit"))
    assert (out.status, out.has("signed-out")) == (200, True)
    assert COOKIE not in house.agent.browser.cookies[ISSUER]
    assert house.store.is_spent(HandleKind.SESSION, digest_of(old))
    (fact,) = house.store.facts_of(AuditEvent.SIGNED_OUT)
    assert (fact.subject, fact.error) == ("sub-alice", None)


async def test_the_id_of_a_session_that_was_signed_out_is_dead(house: House) -> None:
    consent = await house.asked()
    old = cookie_of(house.agent.browser)
    leaving = page(await house.agent.browser.open(LOGOUT))
    await house.agent.browser.submit(leaving, "logout-submit")
    plant(house.agent.browser, old)
    assert page(await house.agent.browser.open(consent.url)).error == "invalid_request_uri"
    assert page(await house.agent.browser.submit(consent, "consent-approve")).error == "invalid_request_uri"
    assert (await house.opened()).has("login-submit")
    assert house.store.handles_of(HandleKind.CODE) == ()


async def test_a_link_signs_nobody_out(house: House) -> None:
    leaving = await asked_to_leave(house)
    assert leaving.has("logout-submit")
    assert (await house.opened()).has("consent-approve")


async def test_who_is_not_signed_in_is_told_so(house: House) -> None:
    shown = page(await house.agent.browser.open(LOGOUT))
    assert (shown.status, shown.has("signed-out")) == (200, True)
    assert house.facts() == []


@pytest.mark.parametrize("token", [None, "", "fresh.c2VhbA"])
async def test_a_sign_out_without_its_token_is_forbidden(house: House, token: str | None) -> None:
    leaving = await asked_to_leave(house)
    response = await post(house, form(leaving, csrf_token=token), house.agent.browser, path="/logout")
    assert response.status_code == 403
    assert (await house.opened()).has("consent-approve")


async def test_the_token_of_another_form_signs_nobody_out(house: House) -> None:
    consent = await house.asked()
    changing = await asked_to_change(house)
    for token in (hidden(consent, "csrf_token"), form(changing)["csrf_token"]):
        response = await post(house, {"csrf_token": token}, house.agent.browser, path="/logout")
        assert response.status_code == 403
    assert (await house.opened()).has("consent-approve")


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}])
async def test_another_site_signs_nobody_out(house: House, headers: dict[str, str]) -> None:
    leaving = await asked_to_leave(house)
    assert (await send(house, leaving, **headers)).status_code == 403
    assert (await house.opened()).has("consent-approve")


async def test_a_sign_out_that_is_sent_twice_is_one(house: House) -> None:
    leaving = await asked_to_leave(house)
    answers = await asyncio.gather(*(send(house, leaving) for _ in range(2)))
    assert [answer.status_code for answer in answers] == [200, 200]
    assert [answer.status_code for answer in [await send(house, leaving)]] == [200]
    assert len(house.store.facts_of(AuditEvent.SIGNED_OUT)) == 1


async def test_a_session_that_ends_at_the_same_time_is_signed_out(house: House) -> None:
    leaving = await asked_to_leave(house)
    digest = digest_of(cookie_of(house.agent.browser))
    commit = house.store.commit

    async def ends_first(decision: Any, stamp: Any) -> Any:
        house.store.rows.spent.add((HandleKind.SESSION, digest))
        return await commit(decision, stamp)

    house.store.commit = ends_first  # type: ignore[method-assign]  # the other tab, between the read and the write
    response = await send(house, leaving)
    assert (response.status_code, 'id="signed-out"' in response.text) == (200, True)
    assert house.store.facts_of(AuditEvent.SIGNED_OUT) == ()


async def test_without_a_store_nobody_is_told_to_be_signed_out(house: House) -> None:
    leaving = await asked_to_leave(house)
    house.store.unavailable = True
    response = await send(house, leaving)
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert "set-cookie" not in response.headers


# --- not you?


async def test_who_is_somebody_else_goes_on_with_the_same_request(house: House) -> None:
    house.user("bob")
    consent = await house.asked()
    assert consent.texts["consent-username"] == "alice"
    (link,) = [line for line in consent.text.splitlines() if 'id="change-account"' in line]
    assert f'href="{LOGOUT}?' in link
    changing = await asked_to_change(house)
    old = cookie_of(house.agent.browser)
    login = page(await house.agent.browser.submit(changing, "logout-submit"))
    between = cookie_of(house.agent.browser)
    consent = page(await house.sign_in(house.agent.browser, login, username="bob"))
    assert consent.texts["consent-username"] == "bob"
    assert len({old, between, cookie_of(house.agent.browser)}) == 3
    done = callback(await house.agent.browser.submit(consent, "consent-approve"))
    assert done.code is not None
    (given,) = house.store.facts_of(AuditEvent.CONSENT_GIVEN)
    assert given.subject == "sub-bob"


async def test_a_page_that_was_shown_to_the_one_is_not_answered_by_the_other(house: House) -> None:
    house.user("bob")
    consent = await house.asked()
    changing = page(await house.agent.browser.open(f"{LOGOUT}?{urlsplit(consent.url).query}", site="same-origin"))
    login = page(await house.agent.browser.submit(changing, "logout-submit"))
    await house.sign_in(house.agent.browser, login, username="bob")
    assert page(await house.agent.browser.submit(consent, "consent-approve")).status == 403
    assert house.store.handles_of(HandleKind.CODE) == ()


async def test_whoever_changes_their_mind_goes_back_and_is_still_signed_in(house: House) -> None:
    changing = await asked_to_change(house)
    assert changing.has("change-account-back")
    back = changing.url.replace("/logout?", "/consent?")
    assert f'href="{back}"' in changing.text
    assert page(await house.agent.browser.open(back)).has("consent-approve")


async def test_a_change_after_the_session_idled_out_leads_to_the_login(house: House) -> None:
    changing = await asked_to_change(house)
    house.clock.advance(timedelta(minutes=9))
    await house.agent.browser.open(f"{ISSUER}/logout")
    session = next(iter(house.store.handles_of(HandleKind.SESSION)))
    house.store.rows.handles[HandleKind.SESSION, session.digest] = type(session)(
        **{name: getattr(session, name) for name in session.__slots__} | {"usable_until": house.clock.now()}
    )
    assert page(await house.agent.browser.open(changing.url)).has("login-submit")
    assert page(await house.agent.browser.submit(changing, "logout-submit")).has("login-submit")
    assert house.store.facts_of(AuditEvent.SIGNED_OUT) == ()


async def test_a_change_in_an_interaction_of_another_browser_is_refused(house: House) -> None:
    changing = await asked_to_change(house)
    other = house.client("other")
    await house.asked(client=other)
    response = await post(house, form(changing), other.browser, path="/logout")
    assert (response.status_code, house.last_detail) == (400, "interaction of another browser")
    assert page(await other.browser.open(changing.url)).error == "invalid_request_uri"
    assert len(signed_in_sessions(house)) == 2
    assert house.store.facts_of(AuditEvent.SIGNED_OUT) == ()
    assert PASSWORD not in response.text
