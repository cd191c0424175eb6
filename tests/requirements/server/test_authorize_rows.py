"""GET /authorize and what leaves it, row by row."""

from __future__ import annotations

import html
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx2
import pytest

from fapi_as.adapters.web.application import build_application
from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.handles import REQUEST_URI_PREFIX
from tests.support.browser import Browser
from tests.support.fakes import ISSUER
from tests.support.fapi_client import FapiClient
from tests.support.house import PASSWORD, RESOURCE, House, callback, page
from tests.support.standing_still import a_code, everything, query_for, ready, refused_page, refused_redemption, visited

PAGE_400 = 400


@pytest.fixture
async def house() -> House:
    return await ready(House())


def whole(house: House) -> FapiClient:
    """The agent over the application as it is served, with the headers that every answer gets there."""
    application = build_application({"": house.context}, clock=house.clock)
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=application))
    house.agent.http, house.agent.browser = http, Browser(http)
    return house.agent


# --- PAR-16, PAR-17, PAR-19: which request_uri opens a page


@pytest.mark.requirement("PAR-16", proves="refused")
@pytest.mark.parametrize("wrong", ["unknown", "expired", "consumed", "of another client"])
async def test_a_request_uri_that_is_not_good_gets_a_page_and_nobody_is_redirected(house: House, wrong: str) -> None:
    house.client("other")
    pushed = await house.agent.push()
    query = query_for(pushed, "other" if wrong == "of another client" else "agent")
    if wrong == "unknown":
        query["request_uri"] = REQUEST_URI_PREFIX + "A" * 43
    elif wrong == "expired":
        house.clock.advance(pushed.expires_in)
    elif wrong == "consumed":
        await visited(house, pushed, approve=False)
    assert await refused_page(house, query) == (PAGE_400, "invalid_request_uri")


@pytest.mark.requirement("PAR-17", proves="holds")
async def test_a_page_may_be_loaded_again_until_the_person_decides(house: House) -> None:
    pushed = await house.agent.push()
    for _ in range(3):
        assert (await house.opened(pushed)).has("login-submit")
    assert callback(await visited(house, pushed)).code


@pytest.mark.requirement("PAR-17", proves="refused")
@pytest.mark.parametrize("approve", [True, False])
async def test_a_decision_uses_the_request_up(house: House, approve: bool) -> None:
    pushed = await house.agent.push()
    callback(await visited(house, pushed, approve=approve))
    assert await refused_page(house, query_for(pushed)) == (PAGE_400, "invalid_request_uri")


@pytest.mark.requirement("PAR-19", proves="refused")
@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"response_type": "code", "redirect_uri": "https://client.example/callback"}, "invalid_request"),
        ({"request": "e30.e30."}, "request_not_supported"),
        ({"request_uri": "https://client.example/request.jwt"}, "request_uri_not_supported"),
        ({}, "invalid_request"),
    ],
)
async def test_a_request_that_was_not_pushed_is_none(house: House, query: dict[str, str], error: str) -> None:
    assert await refused_page(house, {"client_id": "agent"} | query) == (PAGE_400, error)


@pytest.mark.requirement("PAR-22", proves="holds")
async def test_what_the_client_pushed_is_what_comes_back(house: House) -> None:
    pushed = await house.agent.push()
    assert len(pushed.request_uri) == len(REQUEST_URI_PREFIX) + 43  # 7.1: nobody guesses 256 bits
    done = callback(await visited(house, pushed))
    assert (done.parameters["state"], done.location.partition("?")[0]) == (pushed.state, house.agent.redirect_uri)


@pytest.mark.requirement("PAR-22", proves="refused")
async def test_a_swapped_request_uri_brings_a_code_that_the_victims_client_cannot_use(house: House) -> None:
    swapped, own = await house.agent.push(), await house.agent.push()
    done = callback(await visited(house, swapped))
    assert done.parameters["state"] != own.state
    assert await refused_redemption(house, done, own) == (400, "invalid_grant")


# --- methods, origins, headers


@pytest.mark.requirement("OA-EP-4", proves="holds")
async def test_no_endpoint_has_a_fragment_and_authorize_is_a_get(house: House) -> None:
    metadata = await house.agent.discover()
    assert not [name for name, value in metadata.items() if name.endswith("_endpoint") and "#" in value]
    assert (await house.opened()).has("login-submit")


@pytest.mark.requirement("OA-AC-13", proves="holds")
async def test_a_code_travels_in_location_only_and_leaves_no_trace(house: House) -> None:
    agent = whole(house)
    done = await agent.authorize(await agent.push(), username="alice", password=PASSWORD)
    assert done.code is not None
    assert (done.status, done.response.content) == (303, b"")
    assert done.response.headers["referrer-policy"] == "no-referrer"
    assert done.response.headers["cache-control"] == "no-store"
    assert not [name for name, value in done.response.headers.items() if done.code in value and name != "location"]


@pytest.mark.requirement("OA-AC-13", proves="refused")
@pytest.mark.parametrize("form", [{"state": "s" * 4097}, {"nonce": "n" * 257}, {"state": "a\x00b"}])
async def test_what_would_not_fit_into_an_answer_is_refused_before(house: House, form: Any) -> None:
    with house.agent.lying(form=form):
        before = everything(house)
        response = await house.agent.send(house.agent.push_request(code_verifier="v" * 43, state="s"))
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert everything(house) == before


# --- where a browser may be sent


@pytest.mark.requirement("FAPI2-AS-8", proves="holds")
async def test_the_browser_goes_to_our_pages_and_to_the_registered_uri(house: House) -> None:
    done = callback(await visited(house, await house.agent.push()))
    ours = [location for _, location in house.agent.browser.trail if location != done.location]
    assert all(location.startswith(f"{ISSUER}/") for location in ours)
    assert done.location.startswith(f"{house.agent.redirect_uri}?")


EVIL = ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "/\\evil.example", "https:evil.example"]
NAMES = [
    "next",
    "redirect_uri",
    "return_to",
    "url",
    "post_logout_redirect_uri",
    "target_link_uri",
    "interaction",
    "state",
]


@pytest.mark.requirement("FAPI2-AS-8", proves="refused")
@pytest.mark.attack("XPA-01")
@pytest.mark.parametrize("evil", EVIL)
async def test_nothing_that_a_url_or_a_form_says_sends_the_browser_elsewhere(house: House, evil: str) -> None:
    allowed = {urlsplit(ISSUER).netloc, urlsplit(house.agent.redirect_uri).netloc}
    pushed = await house.agent.push()
    login = await house.opened(pushed)
    sent = [(name, evil) for name in NAMES]
    for path in house.endpoints:
        for method, body in (("GET", b""), ("POST", urlencode(sent).encode())):
            headers = {"content-type": "application/x-www-form-urlencoded"}
            address = f"{ISSUER}{path}?{urlencode(sent)}"
            response = await house.http.request(method, address, headers=headers, content=body)
            house.http.cookies.clear()
            assert urlsplit(response.headers.get("location", ISSUER)).netloc in allowed
    asked = page(await house.sign_in(house.agent.browser, login))
    done = callback(await house.agent.browser.submit(asked, "consent-approve"))
    assert {urlsplit(location).netloc for _, location in house.agent.browser.trail} <= allowed
    assert done.location.startswith(f"{house.agent.redirect_uri}?")


@pytest.mark.attack("XPA-02")
@pytest.mark.parametrize("bad", ["client", "scope", "redirect_uri"])
async def test_an_error_never_goes_to_an_unregistered_uri(house: House, bad: str) -> None:
    query = {
        "client_id": "nobody" if bad == "client" else "agent",
        "scope": "admin" if bad == "scope" else "accounts:read",
        "redirect_uri": "https://evil.example/cb" if bad == "redirect_uri" else house.agent.redirect_uri,
        "response_type": "code",
    }
    assert await refused_page(house, query) == (PAGE_400, "invalid_request")
    house.change_client(redirect_uris=("https://client.example/other",))
    pushed = await house.agent.push(redirect_uri="https://client.example/other")
    house.change_client(redirect_uris=("https://client.example/third",), scope=frozenset())
    assert await refused_page(house, query_for(pushed)) == (PAGE_400, "invalid_request")


@pytest.mark.requirement("BCP-1", proves="holds")
async def test_an_error_goes_to_the_exact_uri_of_the_push(house: House) -> None:
    house.change_client(redirect_uris=("https://client.example/cb", "https://client.example/cb/more?x=1"))
    pushed = await house.agent.push(redirect_uri="https://client.example/cb/more?x=1")
    done = callback(await visited(house, pushed, approve=False))
    assert done.location.startswith("https://client.example/cb/more?x=1&error=access_denied")


@pytest.mark.requirement("BCP-1", proves="refused")
async def test_a_uri_that_is_registered_no_more_is_not_even_told_an_error(house: House) -> None:
    pushed = await house.agent.push()
    house.change_client(redirect_uris=("https://client.example/callback/",), grant_types=frozenset())
    assert await refused_page(house, query_for(pushed)) == (PAGE_400, "invalid_request")


@pytest.mark.requirement("BCP-8", proves="holds")
async def test_every_redirect_of_a_whole_flow_is_a_303(house: House) -> None:
    callback(await visited(house, await house.agent.push()))
    assert {status for status, _ in house.agent.browser.trail} == {303}


@pytest.mark.requirement("BCP-8", proves="refused")
@pytest.mark.attack("XPA-15")
@pytest.mark.parametrize("ends", ["approve", "deny", "wrong password", "gone"])
async def test_no_credential_is_ever_posted_on_by_a_redirect(house: House, ends: str) -> None:
    browser, pushed = house.agent.browser, await house.agent.push()
    login = await house.opened(pushed)
    if ends == "wrong password":
        await house.sign_in(browser, login, password="not this one, surely")
    else:
        asked = page(await house.sign_in(browser, login))
        if ends == "gone":
            house.store.remove_resource(RESOURCE)
        await browser.submit(asked, "consent-deny" if ends == "deny" else "consent-approve")
    assert {status for status, _ in browser.trail} <= {303}
    assert not [entry for entry in house.log if entry[2] in (301, 302, 307, 308)]


# --- iss


@pytest.mark.requirement("ISS-2", proves="holds")
async def test_the_metadata_promise_iss(house: House) -> None:
    assert (await house.agent.discover())["authorization_response_iss_parameter_supported"] is True


@pytest.mark.requirement("ISS-2", proves="refused")
@pytest.mark.requirement("FAPI2-DISC-7", proves="refused")
@pytest.mark.attack("XPA-03")
@pytest.mark.parametrize("ends", ["approved", "denied", "gone"])
async def test_no_answer_leaves_without_the_promised_iss(house: House, ends: str) -> None:
    pushed = await house.agent.push()
    if ends == "gone":
        house.store.remove_resource(RESOURCE)
    done = callback(await visited(house, pushed, approve=ends == "approved"))
    assert done.parameters["iss"] == (await house.agent.discover())["issuer"] == ISSUER


@pytest.mark.requirement("FAPI2-AZ-10", proves="refused")
@pytest.mark.parametrize("cause", ["access_denied", "invalid_scope", "invalid_target", "unauthorized_client"])
async def test_an_error_names_the_issuer_too_and_carries_no_code(house: House, cause: str) -> None:
    pushed = await house.agent.push()
    if cause == "invalid_scope":
        house.change_client(scope=frozenset({"transfers:write"}))
    elif cause == "invalid_target":
        house.store.remove_resource(RESOURCE)
    elif cause == "unauthorized_client":
        house.change_client(grant_types=frozenset({"client_credentials"}))
    done = callback(await visited(house, pushed, approve=False))
    assert (done.error, done.parameters["iss"], done.code) == (cause, ISSUER, None)
    assert house.store.handles_of(HandleKind.CODE) == ()


# --- what people and pages can be made to do


@pytest.mark.attack("XPA-06")
async def test_whoever_completes_a_leaked_request_first_leaves_a_page_to_the_other(house: House) -> None:
    pushed = await house.agent.push()
    house.user("mallory")
    thief = house.browser()
    place = await house.agent.visit(pushed, username="mallory", password=PASSWORD, browser=thief)
    assert callback(place).code
    assert await refused_page(house, query_for(pushed)) == (PAGE_400, "invalid_request_uri")
    told = [(fact.event, fact.subject) for fact in house.store.facts]
    assert (AuditEvent.CONSENT_GIVEN, "sub-mallory") in told
    assert told[-1] == (AuditEvent.REFUSED, None)


@pytest.mark.attack("XPA-05")
async def test_a_forwarded_request_shows_whose_it_is_and_its_code_serves_nobody_else(house: House) -> None:
    attacker = house.client("attacker", redirect_uris=["https://attacker.example/cb"])
    pushed = await attacker.push()
    victim = house.browser()
    login = page(await victim.open(attacker.authorization_url(pushed)))
    asked = page(await house.sign_in(victim, login))
    assert "The attacker" in asked.text
    assert "attacker.example" in asked.text
    done = callback(await victim.submit(asked, "consent-approve"))
    assert done.location.startswith("https://attacker.example/cb?")
    assert await refused_redemption(house, done, pushed) == (400, "invalid_grant")  # as another client
    house.clock.advance(60)
    assert await refused_redemption(house, done, pushed, client=attacker) == (400, "invalid_grant")
    assert await refused_page(house, query_for(pushed, "attacker")) == (PAGE_400, "invalid_request_uri")


@pytest.mark.attack("XPA-14")
async def test_no_page_loads_from_elsewhere_or_tells_where_its_reader_was(house: House) -> None:
    agent = whole(house)
    login = page(await agent.browser.open(agent.authorization_url(await agent.push())))
    asked = page(await agent.browser.submit(login, "login-submit", {"username": "alice", "password": PASSWORD}))
    for place in (login, asked):
        assert place.response.headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'; style-src 'self'" in place.response.headers["content-security-policy"]
        assert 'src="http' not in place.text
        assert 'src="//' not in place.text


@pytest.mark.requirement("BCP-12", proves="refused")
async def test_a_code_from_the_history_of_a_browser_is_worth_nothing(house: House) -> None:
    done, pushed = await a_code(house)
    await house.agent.redeem(done, pushed)
    for url in (location for _, location in house.agent.browser.trail):
        assert "access_token" not in url
    stranger = house.client("stranger")
    await stranger.push()  # it has its nonce
    assert await refused_redemption(house, done, pushed, client=stranger) == (400, "invalid_grant")


@pytest.mark.requirement("BCP-9", proves="refused")
@pytest.mark.parametrize("page_", ["login", "consent", "error"])
async def test_a_page_refuses_every_frame(house: House, page_: str) -> None:
    agent = whole(house)
    pushed = await agent.push()
    place = page(await agent.browser.open(agent.authorization_url(pushed)))
    if page_ == "consent":
        values = {"username": "alice", "password": PASSWORD}
        place = page(await agent.browser.submit(place, "login-submit", values))
    elif page_ == "error":
        place = page(await agent.browser.open(f"{ISSUER}/authorize"))
    assert place.response.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in place.response.headers["content-security-policy"]


@pytest.mark.requirement("BCP-10", proves="holds")
async def test_an_answer_is_a_redirect_and_needs_no_script(house: House) -> None:
    done = callback(await visited(house, await house.agent.push()))
    assert (done.status, done.response.content) == (303, b"")


@pytest.mark.requirement("BCP-10", proves="refused")
async def test_no_page_may_run_a_script_that_could_post_a_message(house: House) -> None:
    for place in (await house.opened(), await house.asked()):
        policy = place.response.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'")
        assert "script-src" not in policy
        assert "<script" not in place.text.lower()


@pytest.mark.requirement("BCP-19", proves="refused")
@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' OR 1=1 --", "{{7*7}}"]
)
async def test_what_a_peer_says_is_text_and_nothing_else(house: House, text: str) -> None:
    house.change_client(client_name=text)
    with house.agent.lying(form={"state": text}):
        pushed = await house.agent.push()
    asked = await house.asked(pushed)
    assert "<script" not in asked.text
    assert "<img" not in asked.text
    assert html.escape(text, quote=False).partition("'")[0] in asked.text.replace("&#34;", '"')
    done = callback(await house.agent.browser.submit(asked, "consent-approve"))
    assert done.parameters["state"] == text
    error = await refused_page(house, {"client_id": text, "request_uri": REQUEST_URI_PREFIX + text})
    assert error == (PAGE_400, "invalid_request_uri")
