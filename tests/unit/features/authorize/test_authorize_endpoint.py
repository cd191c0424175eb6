"""GET /authorize through the door: what begins, what gets a local page, what the client hears."""

from __future__ import annotations

from urllib.parse import urlencode

import httpx2
import pytest

from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.handles import REQUEST_URI_PREFIX, digest_of
from tests.support.browser import Page
from tests.support.fakes import ISSUER
from tests.support.house import RESOURCE, House, callback, page, query_of

AUTHORIZE = f"{ISSUER}/authorize"


async def get(house: House, query: str, **headers: str) -> httpx2.Response:
    response = await house.http.get(f"{AUTHORIZE}?{query}", headers=headers)
    house.http.cookies.clear()  # the jar is the browser's
    return response


async def refused(house: House, query: str, *, error: str, detail: str) -> None:
    """A local page with this code, no way out, no interaction."""
    before = house.store.handles_of(HandleKind.INTERACTION)
    response = await get(house, query)
    assert response.status_code == 400
    assert "location" not in response.headers
    assert "set-cookie" not in response.headers
    assert f'id="oauth-error">{error}<' in response.text
    assert house.last_detail == detail
    assert house.store.handles_of(HandleKind.INTERACTION) == before


@pytest.mark.requirement("FAPI2-AZ-3", proves="holds")
async def test_a_pushed_request_leads_to_the_login_page(house: House) -> None:
    pushed = await house.agent.push()
    response = await get(house, urlencode({"client_id": "agent", "request_uri": pushed.request_uri}))
    assert response.status_code == 303
    assert response.headers["location"].startswith(f"{ISSUER}/login?interaction=")
    opened = house.store.facts_of(AuditEvent.AUTHORIZATION_OPENED)
    assert [(fact.client_id, fact.resource, fact.scope) for fact in opened] == [("agent", RESOURCE, "accounts:read")]


@pytest.mark.requirement("FAPI2-AZ-3", proves="refused")
@pytest.mark.attack("AUZ-01")
async def test_a_request_that_was_not_pushed_gets_a_local_page(house: House) -> None:
    query = {
        "client_id": "agent",
        "response_type": "code",
        "redirect_uri": house.agent.redirect_uri,
        "scope": "accounts:read",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
        "state": "s",
    }
    await refused(house, urlencode(query), error="invalid_request", detail="not a pushed request")


@pytest.mark.attack("AUZ-02")
async def test_a_request_object_on_the_url_gets_a_local_page(house: House) -> None:
    pushed = await house.agent.push()
    query = {"client_id": "agent", "request": "e30.e30.", "request_uri": pushed.request_uri}
    await refused(house, urlencode(query), error="invalid_request", detail="not a pushed request")


@pytest.mark.attack("AUZ-03")
@pytest.mark.parametrize(
    "request_uri",
    ["https://attacker.example/object", "http://169.254.169.254/latest", "file:///etc/passwd", "data:,x", "HTTPS://x"],
)
async def test_a_request_uri_to_fetch_gets_a_local_page_and_is_not_fetched(house: House, request_uri: str) -> None:
    query = {"client_id": "agent", "request_uri": request_uri}
    await refused(house, urlencode(query), error="request_uri_not_supported", detail="request_uri of another kind")
    assert len(house.log) == 1  # the house's transport would have seen, and refused, any other address


@pytest.mark.attack("AUZ-04")
async def test_an_unknown_request_uri_gets_one_and_the_same_page(house: House) -> None:
    pushed = await house.agent.push()
    wrong = [
        REQUEST_URI_PREFIX + "A" * 43,
        REQUEST_URI_PREFIX,
        pushed.request_uri.replace("oauth", "OAuth"),
        pushed.request_uri + "%20",
        pushed.request_uri + " ",
        REQUEST_URI_PREFIX + "x" * 10_240,
        "urn:other",
    ]
    texts = set()
    for request_uri in wrong:
        response = await get(house, urlencode({"client_id": "agent", "request_uri": request_uri}))
        assert (response.status_code, "location" in response.headers) == (400, False)
        reference = response.text.partition('id="correlation-id">')[2].partition("<")[0]
        texts.add(response.text.replace(reference, ""))
    assert len(texts) == 1
    assert 'id="oauth-error">invalid_request_uri<' in texts.pop()


@pytest.mark.requirement("FAPI2-AZ-21", proves="refused")
@pytest.mark.attack("AUZ-05")
async def test_a_request_uri_of_another_client_gets_a_local_page_and_stays_usable(house: House) -> None:
    house.client("other")
    pushed = await house.agent.push()
    query = {"client_id": "other", "request_uri": pushed.request_uri}
    await refused(house, urlencode(query), error="invalid_request_uri", detail="request_uri of another client")
    assert (await house.asked(pushed)).status == 200


@pytest.mark.requirement("FAPI2-AZ-21", proves="holds")
async def test_the_client_that_pushed_opens_its_request(house: House) -> None:
    other = house.client("other")
    assert (await house.opened(await other.push(), client=other)).has("login-submit")


@pytest.mark.requirement("FAPI2-AZ-20", proves="holds")
async def test_a_request_uri_is_opened_in_its_last_second(house: House) -> None:
    pushed = await house.agent.push()
    house.clock.advance(pushed.expires_in - 1)
    assert (await house.opened(pushed)).has("login-submit")


@pytest.mark.requirement("FAPI2-AZ-20", proves="refused")
@pytest.mark.attack("AUZ-06")
async def test_an_expired_request_uri_gets_a_local_page(house: House) -> None:
    pushed = await house.agent.push()
    house.clock.advance(pushed.expires_in)
    query = urlencode({"client_id": "agent", "request_uri": pushed.request_uri})
    await refused(house, query, error="invalid_request_uri", detail="request_uri expired")


@pytest.mark.requirement("FAPI2-AZ-19", proves="holds")
@pytest.mark.attack("AUZ-07")
async def test_a_page_that_is_opened_twice_before_the_login_still_completes(house: House) -> None:
    pushed = await house.agent.push()
    await house.opened(pushed)
    done = await house.agent.authorize(pushed, username="alice", password="a long enough passphrase")
    assert done.code is not None


@pytest.mark.requirement("FAPI2-AZ-19", proves="refused")
@pytest.mark.attack("AUZ-08")
@pytest.mark.parametrize("approve", [True, False])
async def test_a_completed_request_uri_cannot_be_opened_again(house: House, approve: bool) -> None:
    pushed = await house.agent.push()
    await house.agent.authorize(pushed, username="alice", password="a long enough passphrase", approve=approve)
    codes = house.store.handles_of(HandleKind.CODE)
    query = urlencode({"client_id": "agent", "request_uri": pushed.request_uri})
    await refused(house, query, error="invalid_request_uri", detail="request_uri is used up")
    assert house.store.handles_of(HandleKind.CODE) == codes


@pytest.mark.requirement("FAPI2-AZ-22", proves="refused")
@pytest.mark.attack("AUZ-09")
async def test_further_parameters_on_the_url_change_nothing(house: House) -> None:
    with house.agent.lying(form={"state": ...}):
        pushed = await house.agent.push()
    house.agent.lies.authorize = {
        "scope": "transfers:write",
        "redirect_uri": "https://evil.example/cb",
        "state": "planted",
        "login_hint": "mallory",
        "prompt": "none",
        "code_challenge": "e" * 43,
        "response_type": "token",
    }
    done = callback(await house.agent.visit(pushed, username="alice", password="a long enough passphrase"))
    assert done.location.startswith(house.agent.redirect_uri)
    assert set(done.parameters) == {"code", "iss"}
    house.agent.lies.authorize = {}
    assert (await house.agent.redeem(done, pushed)).scope == "accounts:read"


@pytest.mark.requirement("FAPI2-AZ-22", proves="holds")
async def test_client_id_and_request_uri_in_any_order_are_enough(house: House) -> None:
    pushed = await house.agent.push()
    response = await get(house, urlencode({"request_uri": pushed.request_uri, "client_id": "agent"}))
    assert response.status_code == 303


@pytest.mark.attack("AUZ-10")
@pytest.mark.parametrize("named", ["", "client_id=agent&client_id=agent", "client_id[]=agent", "client_id="])
async def test_a_client_id_that_is_missing_or_repeated_gets_a_local_page(house: House, named: str) -> None:
    pushed = await house.agent.push()
    response = await get(house, f"{named}&{urlencode({'request_uri': pushed.request_uri})}")
    assert (response.status_code, "location" in response.headers) == (400, False)
    assert 'id="oauth-error">invalid_request<' in response.text


@pytest.mark.attack("AUZ-11")
async def test_two_request_uris_get_a_local_page(house: House) -> None:
    one, two = await house.agent.push(), await house.agent.push()
    query = [("client_id", "agent"), ("request_uri", one.request_uri), ("request_uri", two.request_uri)]
    await refused(house, urlencode(query), error="invalid_request", detail="a parameter is repeated")


@pytest.mark.requirement("FAPI2-NET-10", proves="refused")
@pytest.mark.attack("AUZ-12")
@pytest.mark.parametrize("path", ["/authorize", "/login", "/consent"])
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_no_other_method_and_no_other_origin(house: House, path: str, method: str) -> None:
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    response = await house.http.request(method, f"{ISSUER}{path}", headers=headers)
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"
    assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.requirement("FAPI2-NET-10", proves="holds")
async def test_a_navigation_works_and_no_answer_names_an_origin(house: House) -> None:
    pushed = await house.agent.push()
    query = urlencode({"client_id": "agent", "request_uri": pushed.request_uri})
    response = await get(house, query, origin="https://evil.example")
    assert response.status_code == 303
    assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.requirement("OA-EP-4", proves="refused")
async def test_authorize_is_no_place_for_a_put(house: House) -> None:
    assert (await house.http.put(AUTHORIZE)).status_code == 405


@pytest.mark.attack("AUZ-17")
async def test_a_link_preview_consumes_nothing(house: House) -> None:
    pushed = await house.agent.push()
    query = urlencode({"client_id": "agent", "request_uri": pushed.request_uri})
    response = await get(house, query, purpose="prefetch")
    assert response.status_code == 303
    (interaction,) = house.store.handles_of(HandleKind.INTERACTION)
    assert interaction.delete_after == house.clock.now() + 600
    assert (await house.asked(pushed)).status == 200


# --- what may have changed since the push


@pytest.mark.requirement("PAR-18", proves="refused")
async def test_a_client_that_is_gone_gets_a_local_page(house: House) -> None:
    pushed = await house.agent.push()
    house.store.remove_client("agent")
    query = urlencode({"client_id": "agent", "request_uri": pushed.request_uri})
    await refused(house, query, error="unauthorized_client", detail="the client is gone")


@pytest.mark.requirement("PAR-18", proves="holds")
async def test_a_client_that_changed_in_other_ways_goes_on_with_todays_name(house: House) -> None:
    pushed = await house.agent.push()
    house.change_client(client_name="Agent, renamed")
    assert "Agent, renamed" in (await house.asked(pushed)).text


@pytest.mark.requirement("OA-AC-4", proves="refused")
async def test_a_redirect_uri_that_is_gone_gets_a_local_page(house: House) -> None:
    pushed = await house.agent.push()
    house.change_client(redirect_uris=("https://client.example/new",))
    query = urlencode({"client_id": "agent", "request_uri": pushed.request_uri})
    await refused(house, query, error="invalid_request", detail="redirect_uri is gone")


@pytest.mark.attack("AUZ-19")
@pytest.mark.parametrize("planted", ["javascript:alert(1)//", "JaVaScRiPt:x", "data:text/html,x", "vbscript:x", " x:y"])
async def test_a_planted_redirect_uri_is_judged_again_where_it_is_used(house: House, planted: str) -> None:
    house.change_client(redirect_uris=(planted,))
    pushed = await house.agent.push(redirect_uri=planted)
    query = urlencode({"client_id": "agent", "request_uri": pushed.request_uri})
    await refused(house, query, error="invalid_request", detail="redirect_uri is gone")


async def test_what_the_client_may_hear_is_told_once_by_redirect(house: House) -> None:
    pushed = await house.agent.push()
    house.change_client(scope=frozenset({"transfers:write"}))
    url = house.agent.authorization_url(pushed)
    done = callback(await house.agent.browser.open(url))
    assert (done.status, done.parameters["state"], done.parameters["iss"]) == (303, pushed.state, ISSUER)
    assert (done.error, done.code) == ("invalid_scope", None)
    assert house.facts()[-1] == (AuditEvent.REFUSED, "invalid_scope", "a scope is gone")
    assert page(await house.agent.browser.open(url)).error == "invalid_request_uri"


@pytest.mark.requirement("OA-AC-5", proves="refused")
@pytest.mark.parametrize("error", ["unauthorized_client", "invalid_target", "invalid_scope"])
async def test_each_cause_has_its_error_on_the_redirect(house: House, error: str) -> None:
    pushed = await house.agent.push()
    if error == "unauthorized_client":
        house.change_client(grant_types=frozenset({"client_credentials"}))
    elif error == "invalid_target":
        house.store.remove_resource(RESOURCE)
    else:
        house.resource(version=2, scopes={"other": "Something else"})
    done = callback(await house.agent.browser.open(house.agent.authorization_url(pushed)))
    assert (done.error, done.parameters["iss"], done.code) == (error, ISSUER, None)


async def test_the_redirect_is_told_to_one_of_many_only(house: House) -> None:
    pushed = await house.agent.push()
    house.store.remove_resource(RESOURCE)
    request_digest = digest_of(pushed.request_uri)
    house.store.rows.spent.add((HandleKind.REQUEST_URI, request_digest))
    assert page(await house.agent.browser.open(house.agent.authorization_url(pushed))).error == "invalid_request_uri"


# --- single sign-on


async def test_a_live_session_goes_straight_to_consent_which_is_asked_anew(house: House) -> None:
    first = await house.agent.push()
    assert callback(await house.agent.visit(first, username="alice", password="a long enough passphrase")).code
    place = await house.agent.browser.open(house.agent.authorization_url(await house.agent.push()))
    assert isinstance(place, Page)
    assert place.has("consent-approve")
    assert len(house.store.facts_of(AuditEvent.SIGNED_IN)) == 1


async def test_the_address_of_a_step_says_nothing_but_the_interaction(house: House) -> None:
    place = await house.opened()
    assert set(query_of(place.url)) == {"interaction"}
