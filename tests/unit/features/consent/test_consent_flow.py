"""The consent page through the door: one decision per request, by the person who was asked, about what was shown."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.authorization_request import AuthorizationGrant
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.policy import Policy
from tests.support.browser import Browser, Callback, Page
from tests.support.fakes import ISSUER
from tests.support.fapi_client import Refused
from tests.support.house import PASSWORD, RESOURCE, House, callback, hidden, page

COOKIE = "__Host-fapi-as"


def fields(consent: Page, *, decision: str = "approve", **changes: str | None) -> dict[str, str]:
    form = {name: hidden(consent, name) for name in ("interaction", "csrf_token", "shown")}
    return {name: value for name, value in {**form, "decision": decision, **changes}.items() if value is not None}


async def post(house: House, form: dict[str, str] | list[tuple[str, str]], browser: Browser) -> httpx2.Response:
    cookies = browser.cookies.get(ISSUER, {})
    headers = {"content-type": "application/x-www-form-urlencoded"}
    if cookies:
        headers["cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
    response = await house.http.post(f"{ISSUER}/consent", content=urlencode(form).encode(), headers=headers)
    house.http.cookies.clear()
    return response


def codes(house: House) -> int:
    return len(house.store.handles_of(HandleKind.CODE))


async def approve(house: House, consent: Page) -> Page | Callback:
    return await house.agent.browser.submit(consent, "consent-approve")


# --- the whole path


async def test_the_whole_path_ends_with_a_bound_token_for_what_was_allowed(house: House) -> None:
    tokens = await house.agent.obtain(username="alice", password=PASSWORD)
    ((_, claims),) = house.signer.signed
    assert (claims["sub"], claims["aud"], claims["scope"]) == ("sub-alice", RESOURCE, "accounts:read")
    assert claims["cnf"] == {"jkt": house.agent.dpop_key.thumbprint}
    assert (claims["auth_time"], claims["acr"]) == (house.clock.now(), "urn:fapi-as:acr:password")
    assert tokens.refresh_token is not None
    assert [event.value for event, _, _ in house.facts() if event is not AuditEvent.REFUSED] == [
        "request.pushed",
        "authorization.opened",
        "user.sign_in_attempted",
        "user.signed_in",
        "consent.given",
        "token.issued",
    ]
    given, issued = house.store.facts_of(AuditEvent.CONSENT_GIVEN)[0], house.store.facts_of(AuditEvent.TOKEN_ISSUED)[0]
    assert given.authorization_id == issued.authorization_id == claims["authorization_id"]


@pytest.mark.requirement("FAPI2-AZ-16", proves="holds")
async def test_the_page_names_the_client_the_resource_every_scope_and_the_redirect_host(house: House) -> None:
    consent = await house.asked()
    assert consent.texts["consent-client"] == "The agent (agent)"
    assert consent.texts["consent-redirect"] == "client.example"
    for words in ("See your balances", "accounts:read", "Bank", RESOURCE, "30 days", "alice"):
        assert words in consent.text
    assert "Send money" not in consent.text


@pytest.mark.requirement("FAPI2-AZ-13", proves="refused")
@pytest.mark.parametrize("button", ["consent-approve", "consent-deny"])
async def test_no_answer_to_a_form_repeats_the_form_elsewhere(house: House, button: str) -> None:
    consent = await house.asked()
    done = callback(await house.agent.browser.submit(consent, button))
    assert done.status == 303
    assert {status for status, _ in house.agent.browser.trail} == {303}


@pytest.mark.requirement("FAPI2-AZ-10", proves="holds")
@pytest.mark.attack("AUZ-13")
async def test_a_success_has_code_state_and_iss_and_nothing_else(house: House) -> None:
    pushed = await house.agent.push()
    done = callback(await approve(house, await house.asked(pushed)))
    assert done.status == 303
    assert done.response.headers["cache-control"] == "no-store"
    assert set(done.parameters) == {"code", "state", "iss"}
    assert (done.parameters["iss"], done.parameters["state"]) == (ISSUER, pushed.state)
    assert len(done.code or "") == 43
    assert done.response.content == b""


@pytest.mark.requirement("FAPI2-AZ-24", proves="holds")
@pytest.mark.attack("AUZ-14")
async def test_a_denial_tells_the_client_with_state_and_iss(house: House) -> None:
    pushed = await house.agent.push()
    done = callback(await house.agent.browser.submit(await house.asked(pushed), "consent-deny"))
    assert done.location.startswith(f"{house.agent.redirect_uri}?")
    assert done.parameters == {
        "error": "access_denied",
        "error_description": "the request was denied",
        "state": pushed.state,
        "iss": ISSUER,
    }
    assert [fact.subject for fact in house.store.facts_of(AuditEvent.CONSENT_DENIED)] == ["sub-alice"]


@pytest.mark.requirement("FAPI2-AZ-24", proves="refused")
async def test_a_denial_gives_no_code(house: House) -> None:
    await house.agent.browser.submit(await house.asked(), "consent-deny")
    assert codes(house) == 0
    assert house.store.rows.authorizations == {}


@pytest.mark.requirement("OA-AC-10", proves="holds")
@pytest.mark.parametrize("state", ["s", "a b+c&d=e%20?#", "ünïcödé ☃", "-._~" * 32, "x" * 4096])
async def test_state_comes_back_as_it_was_sent(house: House, state: str) -> None:
    with house.agent.lying(form={"state": state}):
        pushed = await house.agent.push()
    assert callback(await approve(house, await house.asked(pushed))).parameters["state"] == state


@pytest.mark.requirement("OA-AC-10", proves="refused")
@pytest.mark.parametrize("state", [..., ""])
async def test_a_state_that_was_not_sent_does_not_come_back(house: House, state: Any) -> None:
    with house.agent.lying(form={"state": state}):
        pushed = await house.agent.push()
    assert "state" not in callback(await approve(house, await house.asked(pushed))).parameters


@pytest.mark.requirement("OA-REG-4", proves="holds")
async def test_the_query_of_a_registered_redirect_uri_is_kept(house: House) -> None:
    other = house.client("other", redirect_uris=["https://client.example/cb?dummy1=lorem&dummy2=ipsum"])
    done = callback(await other.browser.submit(await house.asked(client=other), "consent-approve"))
    assert done.location.startswith("https://client.example/cb?dummy1=lorem&dummy2=ipsum&code=")
    assert done.location.count("?") == 1


@pytest.mark.requirement("NAT-2", proves="holds")
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_a_native_client_is_answered_at_the_port_it_asked_for(house: House, host: str) -> None:
    native = house.client("native", application_type="native", redirect_uris=[f"http://{host}/cb"])
    native.redirect_uri = f"http://{host}:50123/cb"
    consent = await house.asked(await native.push(), client=native)
    assert consent.texts["consent-redirect"] == f"{host}:50123, a program on this device"
    done = callback(await native.browser.submit(consent, "consent-approve"))
    assert done.location.startswith(f"http://{host}:50123/cb?code=")


@pytest.mark.requirement("LOG-18", proves="holds")
@pytest.mark.parametrize(
    ("redirect_uri", "source"),
    [("https://client.example:8443/cb", "https://client.example:8443"), ("http://[::1]:50123/cb", "http:")],
)
async def test_the_page_lets_its_form_be_answered_at_the_redirect_origin(
    house: House, redirect_uri: str, source: str
) -> None:
    native = house.client("native", application_type="native", redirect_uris=[redirect_uri])
    for shown in (await house.opened(client=native), await house.asked(client=native)):
        policy = shown.response.headers["content-security-policy"]
        assert f"form-action 'self' {source};" in policy


# --- one decision


@pytest.mark.attack("RAC-02")
async def test_sixteen_tabs_that_complete_one_request_get_one_code(house: House) -> None:
    pushed = await house.agent.push()
    tabs = [await house.asked(pushed) for _ in range(16)]
    answers = await asyncio.gather(*(post(house, fields(tab), house.agent.browser) for tab in tabs))
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [303] + [400] * 15
    losers = [answer.text for answer in answers if answer.status_code == 400]
    assert all('id="oauth-error">invalid_request_uri<' in text for text in losers)
    assert (codes(house), len(house.store.rows.authorizations)) == (1, 1)
    assert len(house.store.facts_of(AuditEvent.CONSENT_GIVEN)) == 1
    lost = [detail for _, error, detail in house.facts() if error == "invalid_request_uri"]
    assert lost == ["the request was completed at the same time"] * 15


@pytest.mark.attack("RAC-08")
async def test_a_double_click_gets_one_code(house: House) -> None:
    form = fields(await house.asked())
    answers = await asyncio.gather(*(post(house, form, house.agent.browser) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [303] + [400] * 19
    assert codes(house) == 1


async def test_yes_and_no_at_once_is_one_of_them(house: House) -> None:
    consent = await house.asked()
    forms = [fields(consent, decision=decision) for decision in ("approve", "deny")]
    answers = await asyncio.gather(*(post(house, form, house.agent.browser) for form in forms))
    assert sorted(answer.status_code for answer in answers) == [303, 400]
    given, denied = (len(house.store.facts_of(e)) for e in (AuditEvent.CONSENT_GIVEN, AuditEvent.CONSENT_DENIED))
    assert given + denied == 1
    assert codes(house) == given


@pytest.mark.attack("SES-16")
async def test_the_consent_form_cannot_be_sent_again(house: House) -> None:
    consent = await house.asked()
    await approve(house, consent)
    again = page(await approve(house, consent))
    assert (again.status, again.error, house.last_detail) == (400, "invalid_request_uri", "interaction is finished")
    assert codes(house) == 1


@pytest.mark.attack("CON-07")
async def test_a_no_cannot_become_a_yes(house: House) -> None:
    consent = await house.asked()
    await house.agent.browser.submit(consent, "consent-deny")
    again = page(await approve(house, consent))
    assert (again.status, again.error) == (400, "invalid_request_uri")
    assert codes(house) == 0


async def test_another_interaction_of_a_completed_request_is_over(house: House) -> None:
    pushed = await house.agent.push()
    one, two = await house.asked(pushed), await house.asked(pushed)
    await approve(house, one)
    again = page(await approve(house, two))
    assert (again.error, house.last_detail) == ("invalid_request_uri", "request_uri is used up")


async def test_an_expired_interaction_gives_no_code(house: House) -> None:
    consent = await house.asked()
    house.clock.advance(timedelta(minutes=10))
    again = page(await approve(house, consent))
    assert (again.error, house.last_detail, codes(house)) == ("invalid_request_uri", "interaction expired", 0)


async def test_an_interaction_outlives_the_request_uri_that_it_opened(house: House) -> None:
    pushed = await house.agent.push()
    consent = await house.asked(pushed)
    house.clock.advance(timedelta(minutes=9))
    assert callback(await approve(house, consent)).code is not None


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
