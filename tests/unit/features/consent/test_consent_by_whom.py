"""Consent by the person who was asked, about what was shown."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.authorization_request import AuthorizationGrant
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.policy import Policy
from tests.support.consent_scene import approve, codes, fields, post
from tests.support.fakes import ISSUER
from tests.support.fapi_client import Refused
from tests.support.house import RESOURCE, House, callback, hidden, page

# --- by the person who was asked


@pytest.mark.attack("CON-01")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scope", "transfers:write"),
        ("resource", "https://other.example/mcp"),
        ("redirect_uri", "https://evil.example"),
        ("client_id", "other"),
        ("claims", "{}"),
    ],
)
async def test_a_form_can_add_nothing_to_what_was_pushed(house: House, name: str, value: str) -> None:
    consent = await house.asked()
    response = await post(house, [*fields(consent).items(), (name, value)], house.agent.browser)
    assert (response.status_code, house.last_detail) == (400, "a field that the form does not have")
    assert codes(house) == 0
    assert callback(await approve(house, consent)).code is not None


@pytest.mark.attack("CON-02")
async def test_the_interaction_of_another_person_cannot_be_concluded(house: House) -> None:
    house.user("mallory")
    consent = await house.asked()
    other = house.client("other")
    await house.sign_in(other.browser, await house.opened(client=other), username="mallory")
    response = await post(house, fields(consent), other.browser)
    assert (response.status_code, house.last_detail) == (400, "interaction of another browser")
    assert house.facts()[-1][:2] == (AuditEvent.REFUSED, "invalid_request_uri")
    assert codes(house) == 0


@pytest.mark.requirement("LOG-21", proves="refused")
async def test_a_session_that_is_swapped_under_the_page_concludes_nothing(house: House) -> None:
    house.user("mallory")
    consent = await house.asked()
    other = house.client("other")
    await house.sign_in(other.browser, await house.opened(client=other), username="mallory")
    house.agent.browser.cookies = {ISSUER: dict(other.browser.cookies[ISSUER])}
    again = page(await approve(house, consent))
    assert (again.status, again.error, codes(house)) == (400, "invalid_request_uri", 0)


@pytest.mark.requirement("LOG-21", proves="holds")
async def test_who_signs_in_last_is_asked_anew_and_is_who_allows() -> None:
    house = House(policy=Policy(tenant="default", issuer=ISSUER, session_idle=timedelta(minutes=2)))
    house.user("bob")
    asked_alice = await house.asked()
    house.clock.advance(timedelta(minutes=3))
    login = await house.opened()
    asked_bob = page(await house.sign_in(house.agent.browser, login, username="bob"))
    stale = await post(house, fields(asked_alice), house.agent.browser)
    assert (stale.status_code, house.last_detail, codes(house)) == (403, "form token", 0)
    assert callback(await approve(house, asked_bob)).code is not None
    (code,) = house.store.handles_of(HandleKind.CODE)
    assert AuthorizationGrant.from_bytes(code.payload).subject == "sub-bob"


@pytest.mark.attack("CON-03")
async def test_opening_the_page_grants_nothing_whatever_its_url_says(house: House) -> None:
    consent = await house.asked()
    query = urlencode(fields(consent))
    shown = page(await house.agent.browser.open(f"{ISSUER}/consent?{query}"))
    assert shown.has("consent-approve")
    assert codes(house) == 0


@pytest.mark.attack("CON-08")
async def test_a_captured_consent_url_is_worth_nothing_in_another_browser(house: House) -> None:
    consent = await house.asked()
    thief = house.client("other")
    await house.asked(client=thief)
    assert page(await thief.browser.open(consent.url)).error == "invalid_request_uri"
    assert page(await house.browser().open(consent.url)).error == "invalid_request_uri"


@pytest.mark.parametrize("case", ["missing", "login form", "other interaction", "other words"])
async def test_a_form_that_is_not_this_page_is_forbidden(house: House, case: str) -> None:
    login = await house.opened()
    consent = page(await house.sign_in(house.agent.browser, login))
    elsewhere = await house.asked()
    changed: dict[str, str | None] = {
        "missing": {"csrf_token": None},
        "login form": {"csrf_token": hidden(login, "csrf_token")},
        "other interaction": {"csrf_token": hidden(elsewhere, "csrf_token")},
        "other words": {"shown": "0" * 64},
    }[case]
    response = await post(house, fields(consent, **changed), house.agent.browser)
    assert (response.status_code, house.last_detail, codes(house)) == (403, "form token", 0)


async def test_consent_without_a_session_leads_to_the_login(house: House) -> None:
    login = await house.opened()
    place = page(await house.agent.browser.open(login.url.replace("/login", "/consent")))
    assert place.has("login-submit")


async def test_an_answer_after_the_session_ended_leads_to_the_login(house: House) -> None:
    consent = await house.asked()
    (session,) = house.store.handles_of(HandleKind.SESSION)
    house.store.rows.handles[HandleKind.SESSION, session.digest] = type(session)(
        kind=session.kind,
        digest=session.digest,
        payload=session.payload,
        usable_until=house.clock.now(),
        delete_after=session.delete_after,
    )
    assert page(await approve(house, consent)).has("login-submit")
    assert codes(house) == 0


@pytest.mark.parametrize("decision", ["", "maybe"])
async def test_an_answer_that_is_neither_yes_nor_no_is_refused(house: House, decision: str) -> None:
    response = await post(house, fields(await house.asked(), decision=decision), house.agent.browser)
    assert response.status_code == 400
    assert codes(house) == 0


# --- about what was shown


@pytest.mark.parametrize("changed", ["client name", "scope words", "resource name"])
async def test_words_that_changed_since_the_page_are_shown_again(house: House, changed: str) -> None:
    consent = await house.asked()
    if changed == "client name":
        house.change_client(client_name="Agent, renamed")
    elif changed == "scope words":
        house.resource(version=2, scopes={"accounts:read": "See everything"})
    else:
        house.resource(version=2, resource_name="The other bank")
    again = page(await approve(house, consent))
    assert again.has("consent-approve")
    assert any(words in again.text for words in ("Agent, renamed", "See everything", "The other bank"))
    assert codes(house) == 0
    assert callback(await approve(house, again)).code is not None


async def test_a_change_that_shows_nothing_new_is_no_reason_to_ask_again(house: House) -> None:
    consent = await house.asked()
    house.change_client(redirect_uris=("https://client.example/callback", "https://client.example/second"))
    assert callback(await approve(house, consent)).code is not None


async def test_a_client_that_is_gone_hears_nothing(house: House) -> None:
    consent = await house.asked()
    house.store.remove_client("agent")
    for button in ("consent-approve", "consent-deny"):
        again = page(await house.agent.browser.submit(consent, button))
        assert (again.status, again.error) == (400, "unauthorized_client")
    assert codes(house) == 0


@pytest.mark.requirement("OA-REG-3", proves="refused")
async def test_a_redirect_uri_that_is_gone_is_not_redirected_to(house: House) -> None:
    consent = await house.asked()
    house.change_client(redirect_uris=("https://client.example/callback/",))
    again = page(await approve(house, consent))
    assert (again.status, again.error, codes(house)) == (400, "invalid_request", 0)


async def test_a_resource_that_is_gone_is_told_to_the_client_and_completes_the_request(house: House) -> None:
    pushed = await house.agent.push()
    consent = await house.asked(pushed)
    house.store.remove_resource(RESOURCE)
    done = callback(await approve(house, consent))
    assert (done.error, done.parameters["state"], done.parameters["iss"]) == ("invalid_target", pushed.state, ISSUER)
    assert house.store.is_spent(HandleKind.REQUEST_URI, digest_of(pushed.request_uri))
    assert codes(house) == 0


@pytest.mark.parametrize(
    ("what", "detail"),
    [
        ("client", "the client changed"),
        ("user", "the user changed"),
        ("resource", "a resource changed"),
        ("session", "the session has ended"),
    ],
)
async def test_what_changes_in_the_last_moment_loses_the_decision(house: House, what: str, detail: str) -> None:
    consent = await house.asked()
    commit = house.store.commit

    async def after_a_change(decision: Any, stamp: Any) -> Any:
        house.store.commit = commit  # type: ignore[method-assign]
        if what == "client":
            house.change_client()
        elif what == "user":
            house.change_user()
        elif what == "resource":
            house.resource(version=2)
        else:
            (session,) = house.store.handles_of(HandleKind.SESSION)
            house.store.rows.spent.add((HandleKind.SESSION, session.digest))
        return await commit(decision, stamp)

    house.store.commit = after_a_change  # type: ignore[method-assign]  # an operator between the read and the write
    again = page(await approve(house, consent))
    assert (again.status, again.error, house.last_detail) == (400, "invalid_request", detail)
    assert codes(house) == 0
    assert house.store.rows.authorizations == {}


async def test_without_a_store_nothing_is_allowed_and_the_request_stays_open(house: House) -> None:
    consent = await house.asked()
    house.store.unavailable = True
    again = page(await approve(house, consent))
    assert (again.status, again.error) == (503, "temporarily_unavailable")
    house.store.unavailable = False
    assert callback(await approve(house, consent)).code is not None


# --- the code


@pytest.mark.requirement("FAPI2-AS-13", proves="holds")
async def test_a_code_is_good_for_59_seconds(house: House) -> None:
    pushed = await house.agent.push()
    done = callback(await approve(house, await house.asked(pushed)))
    house.clock.advance(59)
    assert (await house.agent.redeem(done, pushed)).scope == "accounts:read"


@pytest.mark.requirement("FAPI2-AS-13", proves="refused")
@pytest.mark.attack("COD-02")
@pytest.mark.parametrize("seconds", [60, 61])
async def test_a_code_is_not_good_for_60_seconds(house: House, seconds: int) -> None:
    pushed = await house.agent.push()
    done = callback(await approve(house, await house.asked(pushed)))
    house.clock.advance(seconds)
    with pytest.raises(Refused) as refused:
        await house.agent.redeem(done, pushed)
    assert (refused.value.status, refused.value.error) == (400, "invalid_grant")


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}])
async def test_an_answer_from_another_site_is_forbidden(house: House, headers: dict[str, str]) -> None:
    consent = await house.asked()
    house.agent.browser.overrides = dict(headers)
    again = page(await house.agent.browser.submit(consent, "consent-approve"))
    assert (again.status, codes(house)) == (403, 0)
    assert house.last_detail in {"sec-fetch-site", "origin"}
