"""OpenID Connect's authorization request: openid itself, prompt and max_age, up to the code."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from fapi_as.protocol.effects import HandleKind
from tests.support.fakes import ISSUER
from tests.support.fapi_client import Refused
from tests.support.house import PASSWORD, House, callback, page
from tests.support.openid_scene import (
    as_alice,
    claims,
    id_token,
    id_token_of,
    obtained,
    opened,
    refused,
    relying,
    signed_in,
    told,
    userinfo,
)
from tests.support.token_scene import claims_of

# --- openid itself


@pytest.mark.requirement("OIDC-1", proves="holds")
async def test_openid_brings_an_id_token(house: House) -> None:
    assert (await id_token(relying(house)))["sub"] == "sub-alice"


@pytest.mark.requirement("OIDC-1", proves="refused")
async def test_without_openid_there_is_no_id_token_and_no_scope_of_the_identity(house: House) -> None:
    tokens = await house.agent.obtain(username="alice", password=PASSWORD, prompt="login", max_age="0", nonce="n")
    assert "id_token" not in tokens.response.json()
    for scope in ("profile", "profile accounts:read"):
        assert await refused(house, relying(house), scope=scope, resource=house.agent.resource) == (
            400,
            "invalid_scope",
        )


async def test_a_scope_that_the_client_did_not_register_is_refused(house: House) -> None:
    assert await refused(house, house.agent, scope="openid accounts:read") == (400, "invalid_scope")


async def test_openid_beside_an_mcp_server_gives_both_an_id_token_and_a_token_for_the_server(house: House) -> None:
    client = relying(house, scope="openid accounts:read")
    tokens = await obtained(client, resource=house.agent.resource)
    access = claims_of(tokens.access_token)
    assert (access["aud"], access["scope"]) == (house.agent.resource, "accounts:read")
    assert claims_of(id_token_of(tokens))["aud"] == "rp"
    fresh = await client.refresh(tokens.refresh_token or "", resource=ISSUER)
    assert (claims_of(fresh.access_token)["aud"], fresh.scope) == (ISSUER, "openid")
    assert (await userinfo(client, fresh)).json() == {"sub": "sub-alice"}


@pytest.mark.requirement("OIDC-2", proves="holds")
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_request_is_opened_by_get_and_by_post(house: House, method: str) -> None:
    client = relying(house)
    query = urlsplit(client.authorization_url(await client.push())).query
    at = f"{ISSUER}/authorize"
    if method == "GET":
        response = await house.http.get(f"{at}?{query}")
    else:
        headers = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "cross-site"}
        response = await house.http.post(at, content=query.encode(), headers=headers)
        assert response.headers["location"] == f"{at}?{query}"
        response = await house.http.get(response.headers["location"])
    assert response.headers["location"].startswith(f"{ISSUER}/login?interaction=")


@pytest.mark.requirement("OIDC-2", proves="refused")
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_a_request_is_opened_by_no_other_method(house: House, method: str) -> None:
    client = relying(house)
    url = client.authorization_url(await client.push())
    assert (await house.http.request(method, url)).status_code == 405
    assert house.store.handles_of(HandleKind.INTERACTION) == ()


@pytest.mark.parametrize("body", ["client_id=rp", "client_id=rp&request_uri=https%3A%2F%2Frp.example%2Fr", "state=x"])
async def test_a_form_that_names_no_pushed_request_gets_a_local_page(house: House, body: str) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    response = await house.http.post(f"{ISSUER}/authorize", content=body.encode(), headers=headers)
    assert (response.status_code, "location" in response.headers) == (400, False)


@pytest.mark.requirement("OIDC-3", proves="holds")
@pytest.mark.parametrize("nonce", [..., "n", "n" * 64, "-._~ä \" 'ü€"])
async def test_a_nonce_comes_back_to_the_letter_and_only_when_it_was_sent(house: House, nonce: Any) -> None:
    told_nonce = (await id_token(relying(house), nonce=nonce)).get("nonce", ...)
    assert told_nonce == nonce


@pytest.mark.requirement("OIDC-3", proves="refused")
async def test_a_nonce_that_nobody_would_keep_is_refused_and_never_cut(house: House) -> None:
    assert await refused(house, relying(house), nonce="n" * 384) == (400, "invalid_request")


# --- prompt and max_age


@pytest.mark.requirement("OIDC-4", proves="holds")
@pytest.mark.parametrize("prompt", ["none", "login", "consent", "select_account", "login consent", "consent login"])
async def test_every_prompt_may_be_asked(house: House, prompt: str) -> None:
    assert (await relying(house).push(prompt=prompt)).request_uri


@pytest.mark.requirement("OIDC-4", proves="refused")
@pytest.mark.parametrize("prompt", ["none login", "consent none", "create", "Login", "login  x", "login\tconsent"])
async def test_none_stands_alone_and_unknown_prompts_are_refused(house: House, prompt: str) -> None:
    assert await refused(house, relying(house), prompt=prompt) == (400, "invalid_request")


@pytest.mark.requirement("OIDC-5", proves="holds")
async def test_who_said_yes_to_the_same_before_is_shown_no_page(house: House) -> None:
    client = relying(house)
    await signed_in(client)
    visited = len(client.browser.trail)
    pushed = await client.push(prompt="none", nonce="again")
    done = await client.authorize(pushed, username="nobody", password="is asked")
    assert {status for status, _ in client.browser.trail[visited:]} == {303}
    claims_again = claims_of(id_token_of(await client.redeem(done, pushed)))
    assert (claims_again["sub"], claims_again["nonce"]) == ("sub-alice", "again")


@pytest.mark.requirement("OIDC-5", proves="refused")
@pytest.mark.parametrize(
    ("who", "push", "error"),
    [
        ("nobody", {}, "login_required"),
        ("alice", {"max_age": "0"}, "login_required"),
        ("alice", {"scope": "openid"}, "consent_required"),
        ("alice", {"login_hint": "bob"}, "login_required"),
        ("alice", {"claims": claims(id_token={"sub": {"value": "sub-bob"}})}, "login_required"),
        ("alice", {"claims": claims(id_token={"name": None}), "scope": "openid"}, "consent_required"),
    ],
)
async def test_what_would_need_a_page_is_an_error_without_one(
    house: House, who: str, push: dict[str, str], error: str
) -> None:
    client = relying(house)
    if who == "alice":
        await signed_in(client)
    assert await told(house, client, prompt="none", **push) == error


async def test_a_remembered_yes_ends_with_what_it_gave(house: House) -> None:
    client = relying(house)
    pushed = await client.push()
    done = await client.authorize(pushed, username="alice", password=PASSWORD)
    await client.redeem(done, pushed)
    with pytest.raises(Refused):  # a replay: the whole family ends
        await client.redeem(done, pushed)
    assert await told(house, client, prompt="none") == "consent_required"


@pytest.mark.parametrize("change", ["password", "client", "time", "no"])
async def test_a_remembered_yes_is_of_this_person_to_these_words_and_not_for_ever(house: House, change: str) -> None:
    client = relying(house)
    await signed_in(client)
    if change == "password":
        house.change_user("alice")
    elif change == "client":
        house.change_client("rp", client_name="Somebody else")
    elif change == "time":
        house.clock.advance(timedelta(minutes=7))
    else:
        await client.visit(await client.push(), username="alice", password=PASSWORD, approve=False)
    error = "login_required" if change == "password" else "consent_required"
    assert await told(house, client, prompt="none") == error


async def test_the_same_yes_in_two_tabs_is_two_codes(house: House) -> None:
    client = relying(house)
    one = page(await opened(client))
    first = await as_alice(client, one)
    second = page(await opened(client))
    for tab in (first, second):
        assert callback(await client.browser.submit(tab, "consent-approve")).code is not None


@pytest.mark.requirement("OIDC-6", proves="holds")
@pytest.mark.parametrize("prompt", ["login", "select_account", "login consent"])
async def test_a_sign_in_that_is_asked_for_is_a_new_one(house: House, prompt: str) -> None:
    client = relying(house)
    before = await id_token(client)
    house.clock.advance(timedelta(minutes=2))
    after = await id_token(client, prompt=prompt)
    assert after["auth_time"] - before["auth_time"] == 120


@pytest.mark.requirement("OIDC-6", proves="refused")
async def test_no_way_round_the_sign_in_that_was_asked_for(house: House) -> None:
    client = relying(house)
    await signed_in(client)
    login = page(await opened(client, prompt="login"))
    assert login.has("login-submit")
    skipped = page(await client.browser.open(login.url.replace("/login?", "/consent?"), site="same-origin"))
    assert skipped.has("login-submit")
    assert len(house.store.handles_of(HandleKind.CODE)) == 1
    assert (await as_alice(client, login)).has("consent-approve")


@pytest.mark.requirement("OIDC-7", proves="holds")
async def test_the_person_is_asked_again_although_they_said_yes_before(house: House) -> None:
    client = relying(house)
    await signed_in(client)
    assert page(await opened(client, prompt="consent")).has("consent-approve")


@pytest.mark.requirement("OIDC-7", proves="refused")
async def test_what_nobody_ever_allowed_is_not_given_without_asking(house: House) -> None:
    client = relying(house)
    await signed_in(client, scope="openid")
    assert await told(house, client, prompt="none", scope="openid email") == "consent_required"


@pytest.mark.requirement("OIDC-8", proves="holds")
@pytest.mark.parametrize(
    ("registered", "asked", "asks_again"),
    [(None, "1", True), (None, "0", True), (1, ..., True), (0, ..., True), (None, "60", False), (1, "60", False)],
)
async def test_who_signed_in_too_long_ago_signs_in_again(
    house: House, registered: int | None, asked: Any, asks_again: bool
) -> None:
    client = relying(house, default_max_age=registered)
    await signed_in(client, max_age="600")
    house.clock.advance(2)
    assert page(await opened(client, max_age=asked)).has("login-submit") is asks_again
    auth_time = (await id_token(client, max_age=asked))["auth_time"]
    assert auth_time == house.clock.now() - (0 if asks_again else 2)


@pytest.mark.requirement("OIDC-8", proves="refused")
@pytest.mark.parametrize("max_age", ["-1", "abc", "1e9999", "1.5", " 1", "٣", "9" * 40])
async def test_an_age_is_a_number_of_seconds(house: House, max_age: str) -> None:
    assert await refused(house, relying(house), max_age=max_age) == (400, "invalid_request")


async def test_a_session_that_gets_too_old_before_the_answer_is_not_good_enough(house: House) -> None:
    client = relying(house)
    await signed_in(client)
    consent = page(await opened(client, max_age="30"))
    house.clock.advance(31)
    assert page(await client.browser.submit(consent, "consent-approve")).has("login-submit")
