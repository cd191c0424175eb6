"""The login page through the door: forms of ours only, counted before they are hashed, a fresh session afterwards."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode, urlsplit

import pytest

from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.policy import Policy
from tests.support.browser import Page
from tests.support.fakes import ISSUER
from tests.support.house import House, hidden, page, query_of
from tests.support.sign_in_scene import cookie_of, fields, plant, post, signed_in_sessions

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
    counted = dict(house.store.rows.attempts)
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
    assert house.store.rows.attempts == counted


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
    for url in (login.url, consent.url, f"{ISSUER}/logout?{urlsplit(login.url).query}"):
        assert page(await attacker.open(url)).error == "invalid_request_uri"
    planted = cookie_of(attacker)
    await attacker.open(house.agent.authorization_url(await house.agent.push()))
    assert cookie_of(attacker) != planted


async def test_an_id_that_we_never_gave_is_nobodys(house: House) -> None:
    plant(house.agent.browser, "A" * 43)
    await house.opened()
    assert cookie_of(house.agent.browser) != "A" * 43


async def test_a_browser_that_nobody_signed_in_with_is_forgotten_after_a_working_day(house: House) -> None:
    await house.opened()
    first = cookie_of(house.agent.browser)
    house.clock.advance(timedelta(hours=8) - timedelta(seconds=1))
    await house.opened()
    assert cookie_of(house.agent.browser) == first
    house.clock.advance(1)
    await house.opened()
    assert cookie_of(house.agent.browser) != first


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
