"""OpenID Connect when something changed in between: the account, the answer, the registration, the clock."""

from __future__ import annotations

from typing import Any

import pytest

from fapi_as.protocol.effects import HandleKind
from tests.support.estate import Estate
from tests.support.fapi_client import Refused, error_of
from tests.support.house import PASSWORD, RESOURCE, SCOPES, House, callback, page
from tests.support.openid_scene import (
    as_alice,
    claims,
    id_token,
    id_token_of,
    known,
    obtained,
    opened,
    relying,
    signed_in,
    told,
    userinfo,
)
from tests.support.token_scene import claims_of


@pytest.fixture
def house() -> House:
    return House()


@pytest.mark.requirement("OIDC-50", proves="refused")
@pytest.mark.parametrize("change", ["password", "out and in", "removed and back"])
async def test_what_an_account_allowed_before_it_changed_tells_nothing_any_more(estate: Estate, change: str) -> None:
    client = estate.client(estate.worker())
    client.scope, client.resource = "openid profile", None
    tokens = await client.obtain(username="alice", password=PASSWORD)
    assert (await userinfo(client, tokens)).status_code == 200
    operators = estate.operators()
    if change == "password":
        operators.set_password("alice", "plain:another", estate.stamp())
    elif change == "out and in":
        operators.set_user_enabled("alice", estate.stamp(), enabled=False)
        operators.set_user_enabled("alice", estate.stamp(), enabled=True)
    else:
        operators.remove_user("alice", estate.stamp())
        operators.add_user("alice", "subject-default", "plain:another", estate.stamp())
    answer = await userinfo(client, tokens)
    assert (answer.status_code, error_of(answer)) == (401, "invalid_token")


@pytest.mark.attack("AUZ-16")
@pytest.mark.parametrize("hint", ["alice", "bob", "nobody"])
@pytest.mark.parametrize("here", [True, False])
async def test_who_never_allowed_anything_is_not_found_out_by_guessing(house: House, hint: str, here: bool) -> None:
    house.user("bob")
    known, stranger = relying(house), relying(house, "stranger")
    if here:
        await signed_in(known)
    stranger.browser = known.browser
    assert await told(house, stranger, prompt="none", login_hint=hint) == "login_required"


@pytest.mark.attack("AUZ-16")
@pytest.mark.parametrize("subject", ["sub-alice", "sub-bob", "nobody"])
async def test_who_never_allowed_anything_is_not_found_out_by_a_subject(house: House, subject: str) -> None:
    known, stranger = relying(house), relying(house, "stranger")
    await signed_in(known)
    stranger.browser = known.browser
    asked = claims(id_token={"sub": {"value": subject}})
    assert await told(house, stranger, prompt="none", claims=asked) == "login_required"


async def test_programs_on_somebodys_machine_are_no_sector(house: House) -> None:
    names = set()
    for client_id in ("one", "other"):
        client = relying(
            house,
            client_id,
            subject_type="pairwise",
            application_type="native",
            redirect_uris=["http://127.0.0.1/callback"],
        )
        client.redirect_uri = "http://127.0.0.1:4711/callback"
        names.add((await id_token(client))["sub"])
    assert len(names) == 2


@pytest.mark.parametrize("change", ["resource", "scope"])
async def test_what_may_not_be_refreshed_any_more_is_not_by_way_of_userinfo(house: House, change: str) -> None:
    client = relying(house, scope="openid accounts:read")
    client.resource = RESOURCE
    push: dict[str, Any] = {}
    if change == "scope":
        house.resource(refresh_tokens=False)
        push = {"scope": "openid accounts:read offline_access", "prompt": "consent"}
    tokens = await obtained(client, **push)
    again = await client.refresh(tokens.refresh_token or "", resource=client.issuer)
    assert again.response.status_code == 200
    if change == "resource":
        house.resource(refresh_tokens=False, version=2)
    else:
        house.change_client("rp", scope=frozenset({*SCOPES, "openid", "profile", "email"}))
    with pytest.raises(Refused, match="invalid_grant"):
        await client.refresh(tokens.refresh_token or "", resource=client.issuer)


@pytest.mark.parametrize("place", ["id_token", "userinfo"])
async def test_no_claim_is_told_that_the_client_is_not_registered_for(house: House, place: str) -> None:
    known(house)
    client = relying(house, scope="openid", registered=f"{' '.join(SCOPES)} openid profile")
    client.resource = client.issuer
    asked = claims(**{place: {"email": {"essential": True}, "name": None}})
    consent = await as_alice(client, page(await opened(client, claims=asked)))
    assert "See your name" in consent.text
    assert "e-mail" not in consent.text
    tokens = await obtained(client, claims=asked)
    said = claims_of(id_token_of(tokens)) | (await userinfo(client, tokens)).json()
    assert (said["name"], "email" in said) == ("Alice Liddell", False)


@pytest.mark.parametrize("place", ["id_token", "userinfo"])
async def test_a_claim_that_an_operator_took_away_is_not_told_any_more(house: House, place: str) -> None:
    known(house)
    scope = f"{' '.join(SCOPES)} openid profile"
    client = relying(house, scope="openid accounts:read", registered=f"{scope} email")
    client.resource = RESOURCE
    asked = claims(**{place: {"email": None, "name": None}})
    tokens = await obtained(client, claims=asked)
    for registered, told_today in ((f"{scope} email", True), (scope, False)):
        house.change_client("rp", scope=frozenset(registered.split()))
        again = await client.refresh(tokens.refresh_token or "", resource=client.issuer)
        said = claims_of(id_token_of(again)) | (await userinfo(client, again)).json()
        assert (said["name"], "email" in said) == ("Alice Liddell", told_today)


@pytest.mark.parametrize("scope", ["openid profile email", "openid profile", "profile email"])
async def test_a_token_from_before_tells_no_more_than_the_client_may_know_today(house: House, scope: str) -> None:
    known(house)
    client = relying(house)
    tokens = await obtained(client)
    house.change_client("rp", scope=frozenset({*SCOPES, *scope.split()}))
    answer = await userinfo(client, tokens)
    if "openid" not in scope:
        assert (answer.status_code, error_of(answer)) == (403, "insufficient_scope")
    else:
        assert ("email" in answer.json(), "name" in answer.json()) == ("email" in scope, True)


async def test_offline_access_that_was_taken_away_in_the_meantime_brings_no_refresh_token(house: House) -> None:
    client = relying(house, scope="openid offline_access")
    pushed = await client.push(prompt="consent")
    done = await client.authorize(pushed, username="alice", password=PASSWORD)
    house.change_client("rp", scope=frozenset({*SCOPES, "openid", "profile"}))
    assert (await client.redeem(done, pushed)).refresh_token is None


@pytest.mark.attack("CON-10")
@pytest.mark.parametrize("mode", ["query", "jwt"])
async def test_a_no_at_the_same_time_wins_over_an_earlier_yes(house: House, mode: str) -> None:
    client = relying(house)
    await signed_in(client)
    pushed = await client.push(prompt="none", response_mode=mode)
    codes = len(house.store.handles_of(HandleKind.CODE))
    commit = house.store.commit

    async def forgets_first(decision: Any, stamp: Any) -> Any:
        if any(getattr(effect, "kind", None) is HandleKind.CODE for effect in decision.effects):
            for kept in house.store.handles_of(HandleKind.CONSENT):
                house.store.rows.spent.add((kept.kind, kept.digest))
        return await commit(decision, stamp)

    house.store.commit = forgets_first  # type: ignore[method-assign]
    place = await client.browser.open(client.authorization_url(pushed), stop_at=pushed.redirect_uri)
    assert len(house.store.handles_of(HandleKind.CODE)) == codes
    said = callback(place).parameters
    assert (claims_of(said["response"]) if mode == "jwt" else said)["error"] == "consent_required"
    assert set(said) == ({"response"} if mode == "jwt" else {"error", "error_description", "state", "iss"})
    errors = [fact.error for fact in house.store.facts if fact.error not in {None, "use_dpop_nonce"}]
    assert errors == ["consent_required"]


@pytest.mark.requirement("OIDC-5", proves="refused")
@pytest.mark.parametrize("change", ["session", "user", "resource", "client"])
async def test_no_page_is_shown_of_what_changed_at_the_last_moment(house: House, change: str) -> None:
    client = relying(house, scope="openid accounts:read")
    client.resource = RESOURCE
    await signed_in(client)
    pushed = await client.push(prompt="none")
    commit = house.store.commit

    async def changes_first(decision: Any, stamp: Any) -> Any:
        if any(getattr(effect, "kind", None) is HandleKind.CODE for effect in decision.effects):
            if change == "session":
                house.store.rows.spent |= {
                    (kept.kind, kept.digest) for kept in house.store.handles_of(HandleKind.SESSION)
                }
            elif change == "user":
                house.change_user()
            elif change == "resource":
                house.resource(version=2)
            else:
                house.change_client("rp")
        return await commit(decision, stamp)

    house.store.commit = changes_first  # type: ignore[method-assign]
    place = await client.browser.open(client.authorization_url(pushed), stop_at=pushed.redirect_uri)
    if change == "client":  # perhaps the address is not its own any more
        assert page(place).error == "invalid_request"
    else:
        assert callback(place).error == "consent_required"
    assert len(house.store.handles_of(HandleKind.CODE)) == 1


@pytest.mark.attack("TIM-02")
async def test_a_session_that_comes_back_with_the_clock_is_no_new_sign_in(house: House) -> None:
    client = relying(house)
    await signed_in(client)
    house.clock.advance(-200)
    login = page(await opened(client, prompt="login"))
    assert login.has("login-submit")
    house.clock.advance(200)
    skipped = page(await client.browser.open(login.url.replace("/login?", "/consent?"), site="same-origin"))
    assert not skipped.has("consent-approve")
