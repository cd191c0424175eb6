"""RP-initiated logout: who may end a session, who is asked first, and where the browser goes afterwards."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.handles import digest_of
from tests.support.browser import Callback, Page
from tests.support.fakes import ISSUER, FakeSigner
from tests.support.fapi_client import FapiClient
from tests.support.house import PASSWORD, House, callback, page
from tests.support.openid_scene import LOGOUT, id_token_of, obtained, opened, relying, told
from tests.support.sign_in_scene import COOKIE, cookie_of
from tests.support.token_scene import claims_of

AFTER = "https://rp.example/after?from=logout"


def leaving(house: House, client_id: str = "rp", **registration: Any) -> FapiClient:
    return relying(house, client_id, post_logout_redirect_uris=[AFTER], **registration)


async def hint_of(client: FapiClient) -> str:
    """An ID token of alice, who is signed in then."""
    return id_token_of(await obtained(client))


async def sent_to(client: FapiClient, **parameters: str) -> Page | Callback:
    """Where an application's link leads."""
    return await client.browser.open(f"{LOGOUT}?{urlencode(parameters)}", stop_at=AFTER)


def is_signed_in(house: House, client: FapiClient) -> bool:
    found = client.browser.cookies.get(ISSUER, {}).get(COOKIE)
    return found is not None and not house.store.is_spent(HandleKind.SESSION, digest_of(found))


@pytest.mark.requirement("LOGO-1", proves="holds")
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_application_sends_a_person_by_a_link_or_by_a_form(house: House, method: str) -> None:
    document = (await house.http.get(f"{ISSUER}/.well-known/openid-configuration")).json()
    client = leaving(house)
    hint = await hint_of(client)
    query = urlencode({"id_token_hint": hint, "post_logout_redirect_uri": AFTER})
    at = document["end_session_endpoint"]
    if method == "POST":
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "sec-fetch-site": "cross-site",
            "origin": "https://rp.example",
        }
        response = await house.http.post(at, content=query.encode(), headers=headers)
        assert response.headers["location"] == f"{at}?{query}"
    assert callback(await client.browser.open(f"{at}?{query}", stop_at=AFTER)).location == AFTER
    assert not is_signed_in(house, client)


@pytest.mark.requirement("LOGO-1", proves="refused")
@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "OPTIONS"])
async def test_no_other_method_ends_a_session(house: House, method: str) -> None:
    client = leaving(house)
    hint = await hint_of(client)
    cookies = {"cookie": f"{COOKIE}={cookie_of(client.browser)}"}
    response = await house.http.request(method, f"{LOGOUT}?{urlencode({'id_token_hint': hint})}", headers=cookies)
    assert (response.status_code, is_signed_in(house, client)) == (405, True)


@pytest.mark.requirement("LOGO-2", proves="holds")
async def test_an_id_token_that_has_expired_is_a_good_hint(house: House) -> None:
    client = leaving(house)
    hint = await hint_of(client)
    house.clock.advance(timedelta(minutes=14))
    assert page(await sent_to(client, id_token_hint=hint)).has("signed-out")
    assert not is_signed_in(house, client)


@pytest.mark.requirement("LOGO-2", proves="refused")
@pytest.mark.parametrize("bent", ["signature", "access token", "garbage", "response"])
async def test_a_forged_hint_gets_a_page_and_ends_nothing(house: House, bent: str) -> None:
    client = leaving(house)
    tokens = await obtained(client)
    hint = id_token_of(tokens)
    about = {"iss": ISSUER, "aud": "rp", "exp": house.clock.now() + 60, "code": "c", "sub": "sub-alice"}
    forged = {
        "signature": hint[:-8] + "AAAAAAAA",
        "access token": tokens.access_token,
        "garbage": "garbage",
        "response": house.signer.sign(about, typ="JWT"),  # a signed authorization response of ours is none
    }[bent]
    shown = page(await sent_to(client, id_token_hint=forged, post_logout_redirect_uri=AFTER))
    assert (shown.status, shown.error, is_signed_in(house, client)) == (400, "invalid_request", True)


async def test_whoever_comes_after_a_rotation_is_asked_and_sent_nowhere(house: House) -> None:
    client = leaving(house)
    gone = FakeSigner(kid="signer-0", secret=4711).sign(claims_of(await hint_of(client)), typ="JWT")
    asked = page(await sent_to(client, id_token_hint=gone, post_logout_redirect_uri=AFTER))
    assert (asked.has("logout-submit"), asked.has("logout-client"), is_signed_in(house, client)) == (True, False, True)
    assert page(await client.browser.submit(asked, "logout-submit")).has("signed-out")
    assert not is_signed_in(house, client)


@pytest.mark.requirement("LOGO-3", proves="holds")
async def test_a_client_id_may_stand_beside_its_hint(house: House) -> None:
    client = leaving(house)
    done = await sent_to(client, id_token_hint=await hint_of(client), client_id="rp", post_logout_redirect_uri=AFTER)
    assert callback(done).location == AFTER


@pytest.mark.requirement("LOGO-3", proves="refused")
async def test_a_client_id_of_somebody_else_does_not(house: House) -> None:
    client = leaving(house)
    leaving(house, "other")
    shown = page(await sent_to(client, id_token_hint=await hint_of(client), client_id="other"))
    assert (shown.status, shown.error, is_signed_in(house, client)) == (400, "invalid_request", True)


@pytest.mark.requirement("LOGO-4", proves="holds")
async def test_whoever_is_asked_and_agrees_is_signed_out_and_sent_on(house: House) -> None:
    house.user("bob")
    client = leaving(house)
    hint = await hint_of(client)
    client.browser = house.browser()
    pushed = await client.push()
    await client.authorize(pushed, username="bob", password=PASSWORD)
    asked = page(await sent_to(client, id_token_hint=hint, post_logout_redirect_uri=AFTER, state="s"))
    assert asked.texts["logout-client"].startswith("The rp")
    assert "form-action 'self' https://rp.example;" in asked.response.headers["content-security-policy"]
    done = callback(await client.browser.submit(asked, "logout-submit", stop_at=AFTER))
    assert done.location == f"{AFTER}&state=s"
    assert not is_signed_in(house, client)


@pytest.mark.requirement("LOGO-4", proves="refused")
@pytest.mark.parametrize("brings", ["nothing", "client_id", "another person's id token", "a gone client's id token"])
async def test_a_link_that_does_not_know_who_is_signed_in_signs_nobody_out(house: House, brings: str) -> None:
    house.user("bob")
    client = leaving(house)
    parameters = {"post_logout_redirect_uri": AFTER, "state": "s"}
    if brings == "another person's id token":
        parameters["id_token_hint"] = await hint_of(client)
        client.browser = house.browser()
        await client.authorize(await client.push(), username="bob", password=PASSWORD)
    else:
        hint = await hint_of(client)
        if brings == "client_id":
            parameters["client_id"] = "rp"
        elif brings == "a gone client's id token":
            parameters["id_token_hint"] = hint
            house.store.remove_client("rp")
    asked = page(await sent_to(client, **parameters))
    assert (asked.has("logout-submit"), is_signed_in(house, client)) == (True, True)
    headers = {"content-type": "application/x-www-form-urlencoded", "cookie": f"{COOKIE}={cookie_of(client.browser)}"}
    forged: list[dict[str, str]] = [{}, {"csrf_token": "x.y"}, {"csrf_token": "x.y", **parameters}]
    for form in forged:
        response = await house.http.post(LOGOUT, content=urlencode(form).encode(), headers=headers)
        assert response.status_code == 403
    assert is_signed_in(house, client)


@pytest.mark.requirement("LOGO-5", proves="holds")
async def test_a_registered_uri_is_where_the_browser_goes(house: House) -> None:
    client = leaving(house)
    done = await sent_to(client, id_token_hint=await hint_of(client), post_logout_redirect_uri=AFTER)
    assert callback(done).location == AFTER
    hint = await hint_of(client)
    stranger = house.browser()
    gone = await stranger.open(f"{LOGOUT}?{urlencode({'id_token_hint': hint, 'post_logout_redirect_uri': AFTER})}")
    assert callback(gone).location == AFTER


@pytest.mark.requirement("LOGO-5", proves="refused")
@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/",
        AFTER + "&x=y",
        AFTER.partition("?")[0],
        "https://RP.example/after?from=logout",
        "https://client.example/callback",  # a redirect URI of sign-ins
        "javascript:alert(1)",
    ],
)
async def test_another_uri_gets_a_page_and_no_redirect(house: House, uri: str) -> None:
    client = leaving(house)
    shown = page(await sent_to(client, id_token_hint=await hint_of(client), post_logout_redirect_uri=uri))
    assert (shown.status, shown.error, is_signed_in(house, client)) == (400, "invalid_request", True)


async def test_without_a_hint_nobody_is_sent_anywhere(house: House) -> None:
    client = leaving(house)
    await hint_of(client)
    asked = page(await sent_to(client, client_id="rp", post_logout_redirect_uri=AFTER, state="s"))
    assert "rp.example" not in asked.response.headers["content-security-policy"]
    assert page(await client.browser.submit(asked, "logout-submit")).has("signed-out")
    assert page(await sent_to(client, client_id="rp", post_logout_redirect_uri=AFTER)).has("signed-out")


async def test_a_uri_that_was_removed_while_the_page_was_open_is_gone(house: House) -> None:
    house.user("bob")
    client = leaving(house)
    hint = await hint_of(client)
    client.browser = house.browser()
    await client.authorize(await client.push(), username="bob", password=PASSWORD)
    asked = page(await sent_to(client, id_token_hint=hint, post_logout_redirect_uri=AFTER))
    house.change_client("rp", post_logout_redirect_uris=())
    assert page(await client.browser.submit(asked, "logout-submit")).error == "invalid_request"
    assert is_signed_in(house, client)


@pytest.mark.requirement("LOGO-6", proves="holds")
@pytest.mark.parametrize("state", ["s", "a b&c=d#e", "-._~", "ü"])
async def test_the_state_comes_back(house: House, state: str) -> None:
    client = leaving(house)
    hint = await hint_of(client)
    done = callback(await sent_to(client, id_token_hint=hint, post_logout_redirect_uri=AFTER, state=state))
    assert done.parameters == {"from": "logout", "state": state}


@pytest.mark.requirement("LOGO-6", proves="refused")
async def test_no_state_comes_back_that_was_not_sent_or_is_too_long(house: House) -> None:
    client = leaving(house)
    hint = await hint_of(client)
    shown = page(await sent_to(client, id_token_hint=hint, post_logout_redirect_uri=AFTER, state="s" * 1025))
    assert (shown.status, is_signed_in(house, client)) == (400, True)
    done = callback(await sent_to(client, id_token_hint=hint, post_logout_redirect_uri=AFTER))
    assert "state" not in done.parameters


@pytest.mark.requirement("LOGO-7", proves="holds")
async def test_the_session_has_ended_before_the_browser_goes(house: House) -> None:
    client = leaving(house)
    hint = await hint_of(client)
    old = cookie_of(client.browser)
    assert callback(await sent_to(client, id_token_hint=hint, post_logout_redirect_uri=AFTER))
    assert house.store.is_spent(HandleKind.SESSION, digest_of(old))
    (fact,) = house.store.facts_of(AuditEvent.SIGNED_OUT)
    assert fact.subject == "sub-alice"
    assert await told(house, client, prompt="none") == "login_required"


@pytest.mark.requirement("LOGO-7", proves="refused")
async def test_no_page_of_the_session_goes_on_after_it(house: House) -> None:
    client = leaving(house)
    hint = await hint_of(client)
    consent = page(await opened(client))
    old = cookie_of(client.browser)
    await sent_to(client, id_token_hint=hint)
    client.browser.cookies[ISSUER][COOKIE] = old
    codes = len(house.store.handles_of(HandleKind.CODE))
    shown = page(await client.browser.submit(consent, "consent-approve"))
    assert (shown.error, len(house.store.handles_of(HandleKind.CODE))) == ("invalid_request_uri", codes)


@pytest.mark.requirement("LOGO-9", proves="holds")
async def test_no_frame_is_offered(house: House) -> None:
    response: httpx2.Response = await house.http.get(LOGOUT)
    document = (await house.http.get(f"{ISSUER}/.well-known/openid-configuration")).json()
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert not {"check_session_iframe", "frontchannel_logout_supported"} & set(document)
