"""The consent page through the door: one decision per request, by the person who was asked, about what was shown."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from fapi_as.protocol.audit_events import AuditEvent
from tests.support.consent_scene import approve, codes, fields, post
from tests.support.fakes import ISSUER
from tests.support.house import PASSWORD, RESOURCE, House, callback, page

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
