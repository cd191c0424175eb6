"""OpenID Connect at the edges of a request: what is not offered, where answers go, what the person decides."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.effects import HandleKind
from tests.support.fakes import ISSUER
from tests.support.house import PASSWORD, House, callback, page
from tests.support.openid_scene import (
    as_alice,
    claims,
    id_token_of,
    obtained,
    opened,
    refused,
    relying,
    told,
)
from tests.support.sign_in_scene import fields, post
from tests.support.token_scene import claims_of


@pytest.mark.requirement("OIDC-17", proves="holds")
async def test_a_registered_client_with_a_pushed_request_is_served(house: House) -> None:
    assert (await obtained(relying(house))).access_token


@pytest.mark.requirement("OIDC-17", proves="refused")
async def test_nothing_is_registered_or_fetched_on_the_way(house: House) -> None:
    client = relying(house)
    assert await refused(house, client, registration='{"client_name":"x"}') == (400, "registration_not_supported")
    query = urlencode({"client_id": "rp", "request_uri": "https://rp.example/request.jwt"})
    shown = page(await client.browser.open(f"{ISSUER}/authorize?{query}"))
    assert (shown.status, shown.error) == (400, "request_uri_not_supported")


@pytest.mark.requirement("OIDC-18", proves="holds")
@pytest.mark.parametrize("mode", ["query", ...])
async def test_a_response_mode_that_is_offered_may_be_asked(house: House, mode: Any) -> None:
    assert (await obtained(relying(house), response_mode=mode)).access_token


@pytest.mark.requirement("OIDC-18", proves="refused")
@pytest.mark.parametrize("mode", ["fragment", "form_post", "web_message", "x"])
async def test_another_response_mode_is_refused_at_the_push_and_ignored_in_the_front(house: House, mode: str) -> None:
    client = relying(house)
    assert await refused(house, client, response_mode=mode) == (400, "invalid_request")
    query = {"client_id": "rp", "response_type": "code", "response_mode": mode, "redirect_uri": client.redirect_uri}
    response = await house.http.get(f"{ISSUER}/authorize?{urlencode(query)}")
    assert (response.status_code, "location" in response.headers) == (400, False)


@pytest.mark.requirement("OIDC-19", proves="holds")
async def test_a_registered_redirect_uri_gets_the_answer(house: House) -> None:
    client = relying(house)
    pushed = await client.push()
    done = await client.authorize(pushed, username="alice", password=PASSWORD)
    assert done.location.startswith(f"{client.redirect_uri}?code=")


@pytest.mark.requirement("OIDC-19", proves="refused")
async def test_a_redirect_uri_that_is_gone_gets_a_page_and_no_redirect(house: House) -> None:
    client = relying(house)
    assert await refused(house, client, redirect_uri="https://evil.example/cb") == (400, "invalid_request")
    pushed = await client.push()
    house.change_client("rp", redirect_uris=("https://rp.example/other",))
    shown = page(await client.browser.open(client.authorization_url(pushed)))
    assert (shown.status, shown.error) == (400, "invalid_request")


@pytest.mark.requirement("OIDC-20", proves="holds")
async def test_the_form_of_our_page_is_accepted(house: House) -> None:
    client = relying(house)
    login = page(await opened(client))
    assert (await post(house, fields(login), client.browser)).status_code == 303


@pytest.mark.requirement("OIDC-20", proves="refused")
async def test_a_form_without_its_token_is_forbidden_and_no_page_is_framed(house: House) -> None:
    client = relying(house)
    login = page(await opened(client, login_hint="alice"))
    assert "frame-ancestors 'none'" in login.response.headers["content-security-policy"]
    assert login.response.headers["x-frame-options"] == "DENY"
    assert (await post(house, fields(login, csrf_token=None), client.browser)).status_code == 403
    assert house.store.facts_of(AuditEvent.SIGNED_IN) == ()


@pytest.mark.requirement("OIDC-21", proves="holds")
async def test_the_page_says_what_the_application_would_know_and_the_yes_is_recorded(house: House) -> None:
    client = relying(house, scope="openid email")
    login = page(await opened(client, claims=claims(userinfo={"name": None, "email": None})))
    consent = await as_alice(client, login)
    shown = consent.texts["consent-identity"]
    assert [word for word in ("(openid)", "(email)", "(name)", "(profile)") if word in shown] == [
        "(openid)",
        "(email)",
        "(name)",
    ]
    assert callback(await client.browser.submit(consent, "consent-approve")).code is not None
    (given,) = house.store.facts_of(AuditEvent.CONSENT_GIVEN)
    assert (given.subject, given.scope) == ("sub-alice", "openid email")


@pytest.mark.requirement("OIDC-21", proves="refused")
async def test_without_a_yes_nothing_is_told(house: House) -> None:
    client = relying(house)
    done = callback(await client.visit(await client.push(), username="alice", password=PASSWORD, approve=False))
    assert (done.code, done.error) == (None, "access_denied")
    assert house.store.handles_of(HandleKind.CODE) == ()
    assert house.store.facts_of(AuditEvent.CONSENT_GIVEN) == ()
    assert await told(house, client, prompt="none") == "consent_required"


@pytest.mark.requirement("OIDC-22", proves="holds")
async def test_offline_access_that_the_person_is_asked_for_gives_a_refresh_token(house: House) -> None:
    client = relying(house, scope="openid offline_access")
    login = page(await opened(client, prompt="consent"))
    consent = await as_alice(client, login)
    assert "(offline_access)" in consent.texts["consent-identity"]
    assert consent.texts["consent-duration"] == "30 days"
    tokens = await obtained(client, prompt="consent")
    assert tokens.scope == "openid offline_access"
    assert claims_of(id_token_of(await client.refresh(tokens.refresh_token or "")))["sub"] == "sub-alice"


@pytest.mark.requirement("OIDC-22", proves="refused")
@pytest.mark.parametrize(
    ("registration", "prompt"),
    [
        ({}, ...),
        ({}, "login"),
        ({"registered": "openid"}, "consent"),
        ({"grant_types": ["authorization_code"]}, "consent"),
    ],
)
async def test_offline_access_without_its_ground_is_ignored(
    house: House, registration: dict[str, Any], prompt: Any
) -> None:
    client = relying(house, scope="openid offline_access", **registration)
    tokens = await obtained(client, prompt=prompt)
    assert (tokens.scope, tokens.refresh_token) == ("openid", None)


async def test_offline_access_for_an_mcp_server_is_ignored_and_its_own_rule_counts(house: House) -> None:
    tokens = await house.agent.obtain(
        username="alice", password=PASSWORD, scope="accounts:read offline_access", prompt="consent"
    )
    assert (tokens.scope, tokens.refresh_token is not None) == ("accounts:read", True)
