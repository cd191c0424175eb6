"""The login page through the door: forms of ours only, counted before they are hashed, a fresh session afterwards."""

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
from tests.support.browser import Browser, Page
from tests.support.fakes import ISSUER
from tests.support.house import PASSWORD, House, hidden, page, query_of

COOKIE = "__Host-fapi-as"


def cookie_of(browser: Browser, name: str = COOKIE) -> str:
    return browser.cookies[ISSUER][name]


def plant(browser: Browser, value: str) -> None:
    browser.cookies.setdefault(ISSUER, {})[COOKIE] = value


def fields(login: Page, **changes: str | None) -> dict[str, str]:
    form = {
        "interaction": hidden(login, "interaction"),
        "csrf_token": hidden(login, "csrf_token"),
        "username": "alice",
        "password": PASSWORD,
    }
    return {name: value for name, value in {**form, **changes}.items() if value is not None}


async def post(
    house: House, form: dict[str, str], browser: Browser, *, path: str = "/login", **headers: str
) -> httpx2.Response:
    """A form as something other than our page would send it."""
    cookies = browser.cookies.get(ISSUER, {})
    sent = {"content-type": "application/x-www-form-urlencoded", **headers}
    if cookies:
        sent["cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    response = await house.http.post(f"{ISSUER}{path}", content=urlencode(form).encode(), headers=sent)
    house.http.cookies.clear()
    return response


def signed_in_sessions(house: House) -> list[bytes]:
    return [handle.digest for handle in house.store.handles_of(HandleKind.SESSION)]


# --- forms of ours only


@pytest.mark.requirement("LOG-16", proves="holds")
async def test_the_form_of_our_page_signs_in(house: House) -> None:
    login = await house.opened()
    place = page(await house.sign_in(house.agent.browser, login))
    assert place.has("consent-approve")
    (fact,) = house.store.facts_of(AuditEvent.SIGNED_IN)
    assert (fact.subject, fact.client_id) == ("sub-alice", "agent")


@pytest.mark.attack("SES-01")
@pytest.mark.parametrize("case", ["missing", "empty", "query", "other session", "other form", "changed"])
async def test_a_form_without_its_token_is_forbidden_and_nothing_is_counted(house: House, case: str) -> None:
    login = await house.opened()
    stranger = house.client("other")
    elsewhere = await house.opened(client=stranger)
    token = hidden(login, "csrf_token")
    path = f"/login?{urlencode({'csrf_token': token})}" if case == "query" else "/login"
    changed = {
        "missing": None,
        "empty": "",
        "query": None,
        "other session": hidden(elsewhere, "csrf_token"),
        "other form": "fresh.c2VhbA",
        "changed": token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1],
    }[case]
    response = await post(house, fields(login, csrf_token=changed), house.agent.browser, path=path)
    assert response.status_code == 403
    assert house.last_detail == "form token"
    assert house.passwords.asked == []
    assert signed_in_sessions(house) == []
    assert house.store.rows.attempts == {}


@pytest.mark.requirement("LOG-15", proves="refused")
async def test_a_token_of_another_interaction_is_forbidden(house: House) -> None:
    one = await house.opened()
    two = await house.opened()
    response = await post(house, fields(two, csrf_token=hidden(one, "csrf_token")), house.agent.browser)
    assert (response.status_code, house.last_detail) == (403, "form token")


@pytest.mark.requirement("LOG-15", proves="holds")
async def test_a_token_of_this_session_and_interaction_is_accepted(house: House) -> None:
    await house.opened()
    two = await house.opened()
    assert (await post(house, fields(two), house.agent.browser)).status_code == 303


@pytest.mark.requirement("LOG-16", proves="refused")
@pytest.mark.attack("SES-05")
@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "https://evil.example"},
        {"origin": "https://as.example.evil.example"},
        {"origin": "http://as.example"},
        {"origin": "https://as.example:8443"},
        {"sec-fetch-site": "cross-site", "origin": ISSUER},
        {"sec-fetch-site": "same-origin", "origin": "https://evil.example"},
    ],
)
async def test_a_form_from_another_site_is_forbidden(house: House, headers: dict[str, str]) -> None:
    login = await house.opened()
    response = await post(house, fields(login), house.agent.browser, **headers)
    assert response.status_code == 403
    assert house.last_detail in {"origin", "sec-fetch-site"}
    assert signed_in_sessions(house) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "same-origin", "origin": ISSUER},
        {"sec-fetch-site": "same-origin", "origin": "null"},  # what browsers send from a page with no-referrer
        {"origin": "null"},
        {},
    ],
)
async def test_a_browser_that_tells_less_is_judged_by_the_token(house: House, headers: dict[str, str]) -> None:
    login = await house.opened()
    assert (await post(house, fields(login), house.agent.browser, **headers)).status_code == 303


@pytest.mark.attack("SES-06")
async def test_a_planted_cookie_does_not_carry_over_to_the_victims_interaction(house: House) -> None:
    login = await house.opened()
    attacker = house.browser()
    await attacker.open(house.agent.authorization_url(await house.agent.push()))
    plant(house.agent.browser, cookie_of(attacker))
    response = await post(house, fields(login), house.agent.browser)
    assert (response.status_code, house.last_detail) == (400, "interaction of another browser")
    assert signed_in_sessions(house) == []


@pytest.mark.requirement("LOG-26", proves="refused")
@pytest.mark.attack("SES-07")
@pytest.mark.parametrize("name", ["next", "return_to", "continue", "redirect_uri"])
@pytest.mark.parametrize("target", ["//evil", "/\\evil", "https:evil", "/%2f/evil", "/\t/evil", "http:///evil"])
async def test_a_target_in_the_form_or_the_query_is_ignored(house: House, name: str, target: str) -> None:
    login = await house.opened()
    path = f"/login?{urlencode({name: target})}"
    response = await post(house, fields(login, **{name: target}), house.agent.browser, path=path)
    assert response.headers["location"].startswith(f"{ISSUER}/consent?interaction=")


@pytest.mark.requirement("LOG-26", proves="holds")
async def test_where_the_login_leads_is_known_to_the_server(house: House) -> None:
    login = await house.opened()
    response = await post(house, fields(login), house.agent.browser)
    assert query_of(response.headers["location"]) == {"interaction": hidden(login, "interaction")}


@pytest.mark.requirement("FAPI2-AZ-13", proves="holds")
async def test_a_login_is_answered_by_303(house: House) -> None:
    login = await house.opened()
    assert (await post(house, fields(login), house.agent.browser)).status_code == 303


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=x", "text/plain"])
async def test_a_login_in_another_format_is_refused(house: House, content_type: str) -> None:
    login = await house.opened()
    response = await post(house, fields(login), house.agent.browser, **{"content-type": content_type})
    assert (response.status_code, house.last_detail) == (400, "content type")


# --- interactions


@pytest.mark.requirement("LOG-20", proves="refused")
@pytest.mark.attack("AUZ-18")
@pytest.mark.parametrize("handle", [None, "", "A" * 43, "../../x", "interaction", "\u00e4" * 43])
async def test_a_forged_interaction_gets_a_local_page(house: House, handle: str | None) -> None:
    login = await house.opened()
    query = urlencode({} if handle is None else {"interaction": handle})
    shown = page(await house.agent.browser.open(f"{ISSUER}/login?{query}"))
    assert (shown.status, shown.error) == (400, "invalid_request_uri")
    response = await post(house, fields(login, interaction=handle), house.agent.browser)
    assert response.status_code == 400
    assert house.last_detail in {"no interaction", "unknown interaction"}


async def test_an_interaction_ends_after_ten_minutes(house: House) -> None:
    login = await house.opened()
    house.clock.advance(timedelta(minutes=10) - timedelta(seconds=1))
    assert page(await house.agent.browser.open(login.url)).has("login-submit")
    house.clock.advance(1)
    assert page(await house.agent.browser.open(login.url)).error == "invalid_request_uri"
    response = await post(house, fields(login), house.agent.browser)
    assert (response.status_code, house.last_detail) == (400, "interaction expired")


@pytest.mark.requirement("LOG-20", proves="holds")
async def test_two_tabs_complete_side_by_side(house: House) -> None:
    first, second = await house.agent.push(), await house.agent.push()
    tab_one, tab_two = await house.opened(first), await house.opened(second)
    await house.sign_in(house.agent.browser, tab_one)
    place = page(await house.agent.browser.open(tab_two.url))  # the second tab goes on with the first one's session
    assert place.has("consent-approve")
    done = await house.agent.browser.submit(place, "consent-approve")
    assert not isinstance(done, Page)
    assert done.parameters["state"] == second.state


async def test_a_stranger_with_the_url_of_a_login_gets_a_local_page(house: House) -> None:
    login = await house.opened()
    for other in (house.browser(), house.client("other").browser):
        assert page(await other.open(login.url)).error == "invalid_request_uri"


async def test_a_client_that_is_gone_is_noticed_before_the_password(house: House) -> None:
    login = await house.opened()
    house.store.remove_client("agent")
    response = await post(house, fields(login), house.agent.browser)
    assert (response.status_code, house.last_detail, house.passwords.asked) == (400, "the client is gone", [])


# --- the one cookie


@pytest.mark.requirement("LOG-13", proves="holds")
@pytest.mark.attack("SES-04")
async def test_every_cookie_is_ours_alone(house: House) -> None:
    login = await house.opened()
    await house.sign_in(house.agent.browser, login)
    lines = house.agent.browser.set_cookie_lines
    assert len(lines) == 2
    for line in lines:
        pair, *attributes = line.split("; ")
        assert pair.startswith("__Host-fapi-as=")
        assert len(pair.partition("=")[2]) == 43
        assert sorted(attributes) == ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]


async def test_the_cookie_of_another_tenant_has_another_name() -> None:
    acme = House(policy=Policy(tenant="acme", issuer=ISSUER))
    login = await acme.opened()
    assert list(acme.agent.browser.cookies[ISSUER]) == ["__Host-fapi-as-acme"]
    assert page(await acme.sign_in(acme.agent.browser, login)).has("consent-approve")


@pytest.mark.requirement("LOG-12", proves="holds")
async def test_the_session_id_changes_with_the_login(house: House) -> None:
    login = await house.opened()
    before = cookie_of(house.agent.browser)
    await house.sign_in(house.agent.browser, login)
    after = cookie_of(house.agent.browser)
    assert before != after
    assert signed_in_sessions(house) == [digest_of(after)]


@pytest.mark.requirement("LOG-12", proves="refused")
@pytest.mark.attack("SES-02")
async def test_a_cookie_that_was_planted_before_the_login_is_worth_nothing_after_it(house: House) -> None:
    attacker = house.browser()
    await attacker.open(house.agent.authorization_url(await house.agent.push()))
    plant(house.agent.browser, cookie_of(attacker))
    login = await house.opened()
    consent = page(await house.sign_in(house.agent.browser, login))
    assert consent.has("consent-approve")
    assert page(await attacker.open(consent.url)).has("login-submit")


async def test_the_session_that_a_new_login_replaces_is_dead(house: House) -> None:
    consent = await house.asked()
    old = cookie_of(house.agent.browser)
    house.clock.advance(timedelta(minutes=16))
    await house.sign_in(house.agent.browser, await house.opened())
    plant(house.agent.browser, old)
    assert page(await house.agent.browser.open(consent.url)).error == "invalid_request_uri"
    assert house.store.is_spent(HandleKind.SESSION, digest_of(old))
    await house.opened()
    assert cookie_of(house.agent.browser) != old


@pytest.mark.attack("SES-12")
@pytest.mark.parametrize(
    "line",
    [
        "__Host-fapi-as=",
        "__Host-fapi-as=short",
        "__Host-fapi-as=" + "x" * 8192,
        "__Host-fapi-as=" + "\x00" * 43,
        "__Host-fapi-as={0}; __Host-fapi-as={0}",
        "__Host-fapi-as={0}; __Host-fapi-as=" + "A" * 43,
        '__Host-fapi-as="{0}"',
        "__Host-fapi-as",
        ";;;=;",
        "; ".join(f"c{number}=v" for number in range(60)),
        "__Host-FAPI-as={0}",
        "fapi-as={0}",
        "\xff\xfe={0}",
    ],
)
async def test_a_tampered_cookie_is_a_stranger(house: House, line: str) -> None:
    consent = await house.asked()
    good = cookie_of(house.agent.browser)
    header = line.format(good).encode("latin-1")
    response = await house.http.get(consent.url, headers=[(b"cookie", header)])
    assert response.status_code == 400
    opened = await house.http.get(
        house.agent.authorization_url(await house.agent.push()), headers=[(b"cookie", header)]
    )
    assert opened.headers["location"].startswith(f"{ISSUER}/login?")
    assert opened.headers["set-cookie"].startswith("__Host-fapi-as=")
    house.http.cookies.clear()


async def test_a_flipped_bit_makes_another_browser(house: House) -> None:
    consent = await house.asked()
    good = cookie_of(house.agent.browser)
    plant(house.agent.browser, ("A" if good[0] != "A" else "B") + good[1:])
    assert page(await house.agent.browser.open(consent.url)).error == "invalid_request_uri"


async def test_other_cookies_do_no_harm(house: House) -> None:
    login = await house.opened()
    house.agent.browser.cookies[ISSUER] = {"a": "1", **house.agent.browser.cookies[ISSUER], "b": "2=3"}
    assert page(await house.sign_in(house.agent.browser, login)).has("consent-approve")


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
    assert ["set-cookie" in answer.headers for answer in answers].count(True) == 1
    assert len(house.store.facts_of(AuditEvent.SIGNED_IN)) == 1
    assert len(signed_in_sessions(house)) == 1
    assert house.last_detail == "the form came twice"


async def test_whose_first_answer_was_lost_may_sign_in_again(house: House) -> None:
    login = await house.opened()
    await post(house, fields(login), house.agent.browser)  # the answer, and the cookie in it, never arrives
    place = page(await house.sign_in(house.agent.browser, login))
    assert place.has("login-submit")
    assert page(await house.sign_in(house.agent.browser, place)).has("consent-approve")


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
