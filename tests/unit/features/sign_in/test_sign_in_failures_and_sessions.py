"""Signing in goes wrong: one sentence, counted attempts; and how long a session is good for."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.policy import Policy
from tests.support.fakes import ISSUER
from tests.support.house import PASSWORD, House, hidden, page
from tests.support.sign_in_scene import COOKIE, cookie_of, fields, post, signed_in_sessions

# --- the same sentence for every failure


async def failed(house: House, username: str, password: str) -> httpx2.Response:
    login = await house.opened()
    return await post(house, fields(login, username=username, password=password), house.agent.browser)


@pytest.mark.attack("SES-08")
async def test_wrong_unknown_and_disabled_look_the_same_and_cost_the_same(house: House) -> None:
    house.user("bob")
    house.change_user("bob", disabled=True)
    answers = []
    for username, password in [("alice", "wrong"), ("nobody", "wrong"), ("bob", PASSWORD), ("bob", "wrong")]:
        response = await failed(house, username, password)
        text = response.text
        for one_time in ("interaction", "csrf_token"):
            value = text.partition(f'name="{one_time}" value="')[2].partition('"')[0]
            text = text.replace(value, "")
        answers.append((response.status_code, text, sorted(response.headers.items())))
    assert [answer == answers[0] for answer in answers] == [True] * 4
    assert answers[0][0] == 401
    assert "The user name or the password is not right." in answers[0][1]
    assert len(house.passwords.asked) == 4  # an unknown user costs a hash, too
    details = [fact.detail for fact in house.store.facts_of(AuditEvent.REFUSED) if fact.error == "access_denied"]
    assert details == ["wrong password", "unknown user", "user is disabled", "wrong password"]
    assert signed_in_sessions(house) == []


async def test_the_right_password_after_a_wrong_one_signs_in_on_the_same_page(house: House) -> None:
    login = await house.opened()
    again = page(await house.sign_in(house.agent.browser, login, password="wrong"))
    assert (again.status, again.texts["login-problem"]) == (401, "The user name or the password is not right.")
    assert page(await house.sign_in(house.agent.browser, again)).has("consent-approve")


@pytest.mark.attack("SES-13")
@pytest.mark.parametrize("password", ["p" * 257, "p" * 60_000, "a\x00b"])
async def test_a_password_beyond_every_limit_is_refused_before_it_is_hashed(house: House, password: str) -> None:
    response = await failed(house, "alice", password)
    assert response.status_code == 400
    assert house.passwords.asked == []


async def test_passwords_that_agree_in_72_bytes_are_two_passwords(house: House) -> None:
    house.user("carol", "p" * 72 + "one")
    assert (await failed(house, "carol", "p" * 72 + "two")).status_code == 401
    assert (await failed(house, "carol", "p" * 72 + "one")).status_code == 303


async def test_a_full_password_pool_says_so(house: House) -> None:
    house.passwords.full = True
    response = await failed(house, "alice", PASSWORD)
    assert (response.status_code, response.headers["retry-after"]) == (429, "60")


# --- attempts are counted before they are hashed


@pytest.mark.requirement("LOG-11", proves="refused")
@pytest.mark.attack("SES-09")
async def test_the_sixth_attempt_at_an_account_is_not_hashed_even_when_it_is_right(house: House) -> None:
    for _ in range(5):
        assert (await failed(house, "alice", "wrong")).status_code == 401
        house.clock.advance(15)
    for username in ("alice", "Alice "):
        response = await failed(house, username, PASSWORD)
        assert (response.status_code, response.headers["retry-after"]) == (429, "60")
    assert house.last_detail == "attempts at this account"
    assert len(house.passwords.asked) == 5
    assert signed_in_sessions(house) == []


@pytest.mark.requirement("LOG-11", proves="holds")
async def test_the_throttle_opens_again_after_a_quarter_of_an_hour(house: House) -> None:
    for _ in range(5):
        await failed(house, "alice", "wrong")
    house.clock.advance(899)
    assert (await failed(house, "alice", PASSWORD)).status_code == 429
    house.clock.advance(1)
    assert (await failed(house, "alice", PASSWORD)).status_code == 303


async def test_a_name_that_nobody_has_is_throttled_alike(house: House) -> None:
    answers = [(await failed(house, "nobody", "wrong")).status_code for _ in range(6)]
    assert answers == [401] * 5 + [429]


async def test_a_success_forgets_the_attempts_at_its_account(house: House) -> None:
    for password in ("wrong", "wrong", "wrong", "wrong", PASSWORD):
        await failed(house, "alice", password)
    house.agent.browser.cookies.clear()
    assert [(await failed(house, "alice", "wrong")).status_code for _ in range(5)] == [401] * 5


async def test_one_password_over_many_accounts_is_throttled_by_its_source(house: House) -> None:
    answers = [(await failed(house, f"user{number}", "Winter2026!")).status_code for number in range(22)]
    assert answers == [401] * 20 + [429] * 2
    assert house.last_detail == "attempts of this source"
    house.source = "192.0.2.99"
    assert (await failed(house, "user1", "Winter2026!")).status_code == 401


async def test_hammering_a_throttled_account_uses_up_the_source(house: House) -> None:
    for _ in range(20):
        await failed(house, "alice", "wrong")
    house.user("bob")
    assert (await failed(house, "bob", PASSWORD)).status_code == 429
    house.clock.advance(60)
    assert (await failed(house, "bob", PASSWORD)).status_code == 303


@pytest.mark.attack("RAC-13")
async def test_a_hundred_guesses_at_once_are_five(house: House) -> None:
    logins = [await house.opened() for _ in range(5)]
    forms = [fields(logins[number % 5], password=f"guess {number}") for number in range(15)]
    answers = await asyncio.gather(*(post(house, form, house.agent.browser) for form in forms))
    assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 10
    assert len(house.passwords.asked) == 5


# --- once


@pytest.mark.attack("SES-11")
async def test_a_login_that_is_sent_twice_is_one_login(house: House) -> None:
    login = await house.opened()
    form = fields(login)
    answers = await asyncio.gather(*(post(house, form, house.agent.browser) for _ in range(2)))
    assert [answer.status_code for answer in answers] == [303, 303]
    assert {answer.headers["location"] for answer in answers} == {
        f"{ISSUER}/consent?{urlencode({'interaction': hidden(login, 'interaction')})}"
    }
    # whichever answer the browser takes, it holds the id of the one session
    assert len({answer.headers["set-cookie"] for answer in answers}) == 1
    assert len(house.store.facts_of(AuditEvent.SIGNED_IN)) == 1
    assert len(signed_in_sessions(house)) == 1
    assert house.last_detail == "the form came twice"


@pytest.mark.parametrize("before", ["nobody", "an idle session"])
async def test_whose_first_answer_was_lost_goes_on_with_the_same_form(house: House, before: str) -> None:
    if before == "an idle session":
        await house.asked()
        house.clock.advance(timedelta(minutes=16))
    login = await house.opened()
    await post(house, fields(login), house.agent.browser)  # the answer, and the cookie in it, never arrives
    sessions = signed_in_sessions(house)
    assert page(await house.sign_in(house.agent.browser, login)).has("consent-approve")
    assert signed_in_sessions(house) == sessions


@pytest.mark.parametrize("case", ["wrong password", "somebody else", "ended", "another form"])
async def test_a_retired_id_is_good_for_nothing_but_the_same_form_of_the_same_person(house: House, case: str) -> None:
    login = await house.opened()
    other_tab = await house.opened()
    await post(house, fields(login), house.agent.browser)
    form = fields(other_tab if case == "another form" else login)
    if case == "wrong password":
        form["password"] = "wrong"
    elif case == "somebody else":
        house.user("bob")
        form["username"] = "bob"
    elif case == "ended":
        house.change_user()
    response = await post(house, form, house.agent.browser)
    assert response.status_code == (401 if case == "wrong password" else 303)
    assert "set-cookie" not in response.headers
    assert len(signed_in_sessions(house)) == 1


async def test_two_logins_of_one_session_at_once_leave_one_session(house: House) -> None:
    await house.asked()
    old = cookie_of(house.agent.browser)
    house.clock.advance(timedelta(minutes=16))  # the session idles out and both tabs show the form
    tabs = [await house.opened(), await house.opened()]
    answers = await asyncio.gather(*(post(house, fields(tab), house.agent.browser) for tab in tabs))
    assert [answer.status_code for answer in answers] == [303, 303]
    live = [digest for digest in signed_in_sessions(house) if not house.store.is_spent(HandleKind.SESSION, digest)]
    assert len(live) == 1
    assert digest_of(old) not in live


# --- how long a session is good for


@pytest.mark.requirement("LOG-14", proves="holds")
async def test_activity_keeps_a_session_awake(house: House) -> None:
    await house.asked()
    for _ in range(12):
        house.clock.advance(timedelta(minutes=14))
        assert (await house.opened()).has("consent-approve")


@pytest.mark.requirement("LOG-14", proves="refused")
@pytest.mark.parametrize("how", ["idle", "absolute"])
async def test_a_session_that_is_idle_or_old_asks_to_sign_in(house: House, how: str) -> None:
    await house.asked()
    if how == "idle":
        house.clock.advance(timedelta(minutes=15))
    else:
        for _ in range(48):
            house.clock.advance(timedelta(minutes=10))
            if house.clock.now() - 1_800_000_000 < 8 * 3600:
                assert (await house.opened()).has("consent-approve")
    assert (await house.opened()).has("login-submit")


async def test_a_page_view_that_gains_little_writes_nothing(house: House) -> None:
    consent = await house.asked()
    (before,) = house.store.handles_of(HandleKind.SESSION)
    house.clock.advance(59)
    await house.agent.browser.open(consent.url)
    assert house.store.handles_of(HandleKind.SESSION) == (before,)
    house.clock.advance(1)
    await house.agent.browser.open(consent.url)
    (after,) = house.store.handles_of(HandleKind.SESSION)
    assert after.usable_until == house.clock.now() + 900


async def test_an_interaction_goes_on_after_its_session_idled_out(house: House) -> None:
    policy = Policy(tenant="default", issuer=ISSUER, session_idle=timedelta(minutes=2))
    brief = House(policy=policy)
    consent = await brief.asked()
    brief.clock.advance(timedelta(minutes=3))
    login = page(await brief.agent.browser.open(consent.url))
    assert login.has("login-submit")
    assert page(await brief.sign_in(brief.agent.browser, login)).has("consent-approve")


async def test_a_session_that_ends_while_its_page_is_loaded_asks_to_sign_in(house: House) -> None:
    consent = await house.asked()
    house.clock.advance(120)
    digest = digest_of(cookie_of(house.agent.browser))
    commit = house.store.commit

    async def ends_first(decision: Any, stamp: Any) -> Any:
        house.store.rows.spent.add((HandleKind.SESSION, digest))
        return await commit(decision, stamp)

    house.store.commit = ends_first  # type: ignore[method-assign]  # the other tab, between the read and the write
    response = await house.http.get(consent.url, headers={"cookie": f"{COOKIE}={cookie_of(house.agent.browser)}"})
    assert response.headers["location"].startswith(f"{ISSUER}/login?")


@pytest.mark.attack("SES-14")
@pytest.mark.parametrize("how", ["disabled", "removed", "password"])
async def test_a_session_ends_with_the_account_as_it_was(house: House, how: str) -> None:
    consent = await house.asked()
    if how == "disabled":
        house.change_user(disabled=True)
    elif how == "removed":
        house.store.users.clear()
    else:
        house.change_user(password_hash="plain:another one")
    place = page(await house.agent.browser.submit(consent, "consent-approve"))
    assert place.has("login-submit")
    assert house.store.handles_of(HandleKind.CODE) == ()


async def test_a_user_that_changes_while_the_password_is_hashed_does_not_come_in(house: House) -> None:
    login = await house.opened()
    matches = house.passwords.matches

    async def disabled_meanwhile(password_hash: str | None, password: str) -> bool:
        right = await matches(password_hash, password)
        house.change_user(disabled=True)
        return right

    house.passwords.matches = disabled_meanwhile  # type: ignore[method-assign]  # what an operator does at that moment
    again = page(await house.sign_in(house.agent.browser, login))
    assert (again.status, house.last_detail) == (401, "the user changed")
    assert signed_in_sessions(house) == []


# --- when the store is down


async def test_without_a_store_there_is_no_session_and_no_page(house: House) -> None:
    login = await house.opened()
    house.store.unavailable = True
    response = await post(house, fields(login), house.agent.browser)
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert 'id="oauth-error">temporarily_unavailable<' in response.text
    assert "set-cookie" not in response.headers
    assert house.passwords.asked == []
