"""OpenID Connect's authorization request: acr, claims and hints, at PAR or on the way to a code."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fapi_as.protocol.profile import ACR_PASSWORD
from tests.support.house import PASSWORD, House, callback, page
from tests.support.openid_scene import (
    claims,
    id_token,
    id_token_of,
    known,
    obtained,
    opened,
    refused,
    relying,
    signed_in,
    told,
    userinfo,
)
from tests.support.token_scene import claims_of

MFA = "urn:fapi-as:acr:mfa"

# --- acr and claims


@pytest.mark.requirement("OIDC-9", proves="holds")
@pytest.mark.parametrize("acr_values", [MFA, f"{MFA} {ACR_PASSWORD}"])
async def test_acr_values_are_a_wish(house: House, acr_values: str) -> None:
    assert (await id_token(relying(house), acr_values=acr_values))["acr"] == ACR_PASSWORD


@pytest.mark.requirement("OIDC-9", proves="refused")
async def test_a_wish_does_not_soften_what_is_necessary(house: House) -> None:
    necessary = claims(id_token={"acr": {"essential": True, "value": MFA}})
    error = await told(house, relying(house), acr_values=ACR_PASSWORD, claims=necessary)
    assert error == "unmet_authentication_requirements"


@pytest.mark.requirement("OIDC-10", proves="holds")
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (
            claims(id_token={"name": None, "email": {"essential": True}}),
            {"name": "Alice Liddell", "email": "alice@example.com"},
        ),
        (claims(id_token={"unknown": {"essential": True, "other": 1}}, more={"x": 1}), {}),
        (claims(userinfo=None, id_token={}), {}),
        (claims(), {}),
    ],
)
async def test_claims_are_asked_one_by_one(house: House, asked: str, expected: dict[str, str]) -> None:
    known(house)
    found = await id_token(relying(house, scope="openid"), claims=asked)
    assert {name: found[name] for name in ("name", "email", "preferred_username") if name in found} == expected


@pytest.mark.requirement("OIDC-10", proves="refused")
@pytest.mark.parametrize(
    "asked",
    [
        '"string"',
        "[]",
        "{",
        '{"id_token":[]}',
        '{"id_token":{"name":true}}',
        '{"id_token":{"name":{"essential":"yes"}}}',
        '{"id_token":{"name":null,"name":null}}',
        '{"id_token":{"acr":{"values":"one"}}}',
        '{"id_token":{"sub":{"values":["a","b"]}}}',
        claims(id_token={"name": {"value": "x" * 20_000}}),
        '{"id_token":{"a":{"b":{"c":{"d":{"e":{}}}}}}}',
    ],
)
async def test_what_is_no_object_of_claims_is_refused(house: House, asked: str) -> None:
    assert await refused(house, relying(house), claims=asked) == (400, "invalid_request")


@pytest.mark.requirement("OIDC-11", proves="holds")
@pytest.mark.parametrize("asked", [{"value": ACR_PASSWORD}, {"values": [MFA, ACR_PASSWORD]}, {}])
async def test_an_essential_acr_that_is_met_gives_a_code(house: House, asked: dict[str, object]) -> None:
    essential = claims(id_token={"acr": {"essential": True, **asked}})
    assert (await id_token(relying(house), claims=essential))["acr"] == ACR_PASSWORD


@pytest.mark.requirement("OIDC-11", proves="refused")
@pytest.mark.parametrize("who", ["nobody", "alice"])
async def test_an_essential_acr_that_nobody_can_reach_is_told_at_once(house: House, who: str) -> None:
    client = relying(house)
    if who == "alice":
        await signed_in(client)
    essential = claims(id_token={"acr": {"essential": True, "values": [MFA, "phr"]}})
    assert await told(house, client, claims=essential) == "unmet_authentication_requirements"


@pytest.mark.requirement("OIDC-12", proves="holds")
async def test_an_essential_claim_that_is_not_known_is_left_out(house: House) -> None:
    asked = claims(id_token={"name": {"essential": True}}, userinfo={"email": {"essential": True}})
    client = relying(house, scope="openid")
    tokens = await obtained(client, claims=asked)
    assert "name" not in claims_of(id_token_of(tokens))
    assert (await userinfo(client, tokens)).json() == {"sub": "sub-alice"}


@pytest.mark.requirement("OIDC-13", proves="holds")
async def test_who_is_asked_for_by_name_may_come(house: House) -> None:
    found = await id_token(relying(house), claims=claims(id_token={"sub": {"value": "sub-alice"}}))
    assert found["sub"] == "sub-alice"


@pytest.mark.requirement("OIDC-13", proves="refused")
@pytest.mark.parametrize("place", ["id_token", "userinfo"])
async def test_nobody_else_comes_in_the_place_of_who_was_asked_for(house: House, place: str) -> None:
    house.user("bob")
    client = relying(house)
    asked = claims(**{place: {"sub": {"value": "sub-bob"}}})
    login = page(await opened(client, claims=asked))
    values = {"username": "alice", "password": PASSWORD}
    done = callback(await client.browser.submit(login, "login-submit", values))
    assert (done.code, done.error) == (None, "login_required")
    assert await told(house, client, claims=asked) == "login_required"


# --- hints


@pytest.mark.requirement("OIDC-14", proves="holds")
async def test_an_expired_id_token_still_says_who_is_meant(house: House) -> None:
    client = relying(house)
    hint = id_token_of(await obtained(client))
    house.clock.advance(timedelta(days=3))
    assert (await id_token(client, id_token_hint=hint))["sub"] == "sub-alice"


@pytest.mark.requirement("OIDC-14", proves="refused")
@pytest.mark.parametrize(
    "bent", ["other user", "other client", "signature", "no signature", "access token", "garbage", "other subject"]
)
async def test_a_hint_that_is_forged_or_of_somebody_else_opens_nothing(house: House, bent: str) -> None:
    house.user("bob")
    client = relying(house)
    tokens = await obtained(client)
    hint = id_token_of(tokens)
    if bent == "other user":
        pushed = await client.push()
        done = await client.authorize(pushed, username="bob", password=PASSWORD, browser=house.browser())
        hint = id_token_of(await client.redeem(done, pushed))
        assert await told(house, client, id_token_hint=hint) == "login_required"
        return
    head, body, signature = hint.split(".")
    push = {
        "other client": {"id_token_hint": id_token_of(await obtained(relying(house, "other")))},
        "signature": {"id_token_hint": f"{head}.{body}.{signature[:-8]}AAAAAAAA"},
        "no signature": {"id_token_hint": f"eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}."},
        "access token": {"id_token_hint": tokens.access_token},
        "garbage": {"id_token_hint": "x" * 5000},
        "other subject": {"id_token_hint": hint, "claims": claims(id_token={"sub": {"value": "sub-bob"}})},
    }[bent]
    assert await refused(house, client, **push) == (400, "invalid_request")


@pytest.mark.requirement("OIDC-15", proves="holds")
async def test_a_login_hint_stands_in_the_form_and_signs_nobody_in(house: House) -> None:
    client = relying(house)
    login = page(await opened(client, login_hint="alice"))
    control = login.form_of("login-submit").control("username")
    assert control is not None
    assert control.value == "alice"
    assert page(await client.browser.submit(login, "login-submit", {"password": PASSWORD})).has("consent-approve")


@pytest.mark.requirement("OIDC-15", proves="refused")
async def test_a_login_hint_is_text_and_tells_nothing_about_who_exists(house: House) -> None:
    pages = {}
    hints = ("alice", "nobody", '"><script>alert(1)</script>', "' onfocus='x")
    for number, hint in enumerate(hints):
        login = page(await opened(relying(house, f"rp-{number}"), login_hint=hint))
        control = login.form_of("login-submit").control("username")
        assert control is not None
        assert control.value == hint
        assert "<script" not in login.text
        assert [len(form.controls) for form in login.forms] == [5]
        pages[hint] = login.status
    assert set(pages.values()) == {200}
    assert await refused(house, relying(house, "long"), login_hint="x" * 257) == (400, "invalid_request")


@pytest.mark.requirement("OIDC-16", proves="holds")
@pytest.mark.parametrize(
    "wish", [{"display": "wap"}, {"display": "hologram"}, {"ui_locales": "xx-YY tlh"}, {"claims_locales": "?"}]
)
async def test_wishes_about_the_page_are_never_an_error(house: House, wish: dict[str, str]) -> None:
    assert (await id_token(relying(house), **wish))["sub"] == "sub-alice"


@pytest.mark.requirement("OIDC-16", proves="refused")
@pytest.mark.parametrize("name", ["display", "ui_locales", "claims_locales"])
async def test_a_wish_that_is_made_twice_is_ambiguous_like_every_parameter(house: House, name: str) -> None:
    assert await refused(house, relying(house), **{name: ["page", "popup"]}) == (400, "invalid_request")
