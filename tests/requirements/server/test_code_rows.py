"""Codes, PKCE and the token endpoint's answers, row by row."""

from __future__ import annotations

import re
from typing import Any, Final

import httpx2
import pytest

from fapi_as.adapters.entropy import SystemEntropy
from fapi_as.adapters.web.application import build_application
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.profile import REQUEST_BODY_LIMIT, SIGN_IN_ATTEMPTS_PER_ACCOUNT
from rs_kit.protocol.access_token import verify_access_token
from rs_kit.protocol.errors import InvalidToken
from tests.support.asgi_peer import call
from tests.support.fakes import ISSUER, FrozenClock
from tests.support.fapi_client import Message, Refused
from tests.support.house import PASSWORD, RESOURCE, House
from tests.support.peer_keys import PeerKey, b64
from tests.support.standing_still import (
    a_code,
    ready,
    refused_message,
    refused_push,
    refused_redemption,
    refused_tokens,
    unchanged,
)

GRANT: Final = (400, "invalid_grant")
SHOP: Final = "https://shop.example/mcp"


@pytest.fixture
async def house() -> House:
    return await ready(House())


@pytest.mark.requirement("FAPI2-AS-3", proves="holds")
@pytest.mark.requirement("FAPI2-AS-21", proves="holds")
@pytest.mark.requirement("FAPI2-AZ-11", proves="holds")
@pytest.mark.requirement("FAPI2-CR-3", proves="holds")
@pytest.mark.requirement("FAPI2-DISC-6", proves="holds")
@pytest.mark.requirement("OA-AC-1", proves="holds")
@pytest.mark.requirement("OA-AC-4", proves="holds")
@pytest.mark.requirement("OA-AC-5", proves="holds")
@pytest.mark.requirement("OA-AC-11", proves="holds")
@pytest.mark.requirement("OA-EP-6", proves="holds")
@pytest.mark.requirement("OA-RT-3", proves="holds")
@pytest.mark.requirement("OA-RT-4", proves="holds")
@pytest.mark.requirement("OA-EXT-1", proves="holds")
@pytest.mark.requirement("BCP-2", proves="holds")
@pytest.mark.requirement("BCP-12", proves="holds")
@pytest.mark.requirement("BCP-14", proves="holds")
@pytest.mark.requirement("BCP-19", proves="holds")
async def test_the_ordinary_work_succeeds_with_every_control_on(house: House) -> None:
    tokens = await house.agent.obtain(username="alice", password=PASSWORD)
    assert tokens.refresh_token is not None
    again = await house.agent.refresh(tokens.refresh_token)
    assert (again.scope, again.refresh_token) == ("accounts:read", None)
    assert (await house.agent.client_credentials()).scope == "accounts:read"


# --- the code


@pytest.mark.requirement("FAPI2-AZ-11", proves="refused")
async def test_the_second_use_of_a_code_is_refused_and_ends_what_the_first_brought(house: House) -> None:
    done, pushed = await a_code(house)
    tokens = await house.agent.redeem(done, pushed)
    with pytest.raises(Refused) as raised:
        await house.agent.redeem(done, pushed)
    assert (raised.value.status, raised.value.error) == GRANT
    assert house.store.rows.revoked
    refresh_token = tokens.refresh_token or ""
    assert await refused_tokens(house, lambda: house.agent.refresh_request(refresh_token)) == GRANT


@pytest.mark.requirement("OA-AC-6", proves="holds")
async def test_a_code_lives_for_59_seconds_with_its_client_verifier_and_redirect_uri(house: House) -> None:
    done, pushed = await a_code(house)
    house.clock.advance(59)
    assert (await house.agent.redeem(done, pushed)).scope == "accounts:read"


@pytest.mark.requirement("OA-AC-6", proves="refused")
@pytest.mark.parametrize("wrong", ["late", "client", "challenge", "redirect_uri"])
async def test_a_code_is_bound_to_its_minute_client_challenge_and_redirect_uri(house: House, wrong: str) -> None:
    other = house.client("other")
    await other.push()
    done, pushed = await a_code(house)
    form: dict[str, Any] = {}
    if wrong == "late":
        house.clock.advance(60)
    elif wrong == "challenge":
        form["code_verifier"] = "v" * 43
    elif wrong == "redirect_uri":
        form["redirect_uri"] = "https://client.example/other"
    client = other if wrong == "client" else house.agent
    assert await refused_redemption(house, done, pushed, client=client, **form) == GRANT


# --- PKCE


@pytest.mark.requirement("OA-AC-1", proves="refused")
@pytest.mark.parametrize(
    "form", [{"code_challenge": ...}, {"code_challenge_method": "plain"}, {"code_challenge_method": ...}]
)
async def test_a_challenge_is_s256_or_the_request_is_refused(house: House, form: Any) -> None:
    assert await refused_push(house, form=form) == (400, "invalid_request")


@pytest.mark.requirement("OA-AC-3", proves="holds")
async def test_a_challenge_and_its_verifier_go_together(house: House) -> None:
    done, pushed = await a_code(house)
    assert (await house.agent.redeem(done, pushed, code_verifier=pushed.code_verifier)).scope == "accounts:read"


@pytest.mark.requirement("OA-AC-3", proves="refused")
@pytest.mark.attack("PKC-01")
@pytest.mark.parametrize("verifier", [..., "", " "])
async def test_a_challenge_without_its_verifier_is_refused(house: House, verifier: Any) -> None:
    done, pushed = await a_code(house)
    assert await refused_redemption(house, done, pushed, code_verifier=verifier) == GRANT
    assert (await house.agent.redeem(done, pushed)).scope == "accounts:read"


@pytest.mark.requirement("BCP-2", proves="refused")
async def test_a_code_that_is_injected_into_another_session_is_refused(house: House) -> None:
    stolen, of_the_victim = await a_code(house)
    _, own = await a_code(house)
    assert await refused_redemption(house, stolen, own) == GRANT
    assert (await house.agent.redeem(stolen, of_the_victim)).scope == "accounts:read"


@pytest.mark.attack("PKC-09")
async def test_two_requests_with_one_challenge_give_each_code_its_own_request(house: House) -> None:
    verifier = "v" * 43
    form = {"code_challenge": b64(digest_of(verifier))}
    one, pushed = await a_code(house, **form, scope="accounts:read")
    two, also = await a_code(house, **form, scope="transfers:write")
    assert (await house.agent.redeem(two, pushed, code_verifier=verifier)).scope == "transfers:write"
    assert (await house.agent.redeem(one, also, code_verifier=verifier)).scope == "accounts:read"


# --- grants and response types that are not there


@pytest.mark.requirement("OA-AC-11", proves="refused")
@pytest.mark.parametrize("response_type", ["token", "code token", "code id_token", "id_token"])
async def test_nothing_but_a_code_ever_leaves_through_the_browser(house: House, response_type: str) -> None:
    form = {"response_type": response_type}
    assert await refused_push(house, form=form) == (400, "unsupported_response_type")


@pytest.mark.requirement("OA-AC-11", proves="refused")
async def test_a_password_is_no_grant(house: House) -> None:
    build = lambda: house.agent.token_request("password", username="alice", password=PASSWORD)  # noqa: E731 - built twice
    assert await refused_tokens(house, build) == (400, "unsupported_grant_type")


# --- answers


@pytest.mark.requirement("OA-EP-7", proves="holds")
async def test_a_token_response_has_its_members_and_is_not_stored(house: House) -> None:
    done, pushed = await a_code(house)
    response = (await house.agent.redeem(done, pushed)).response
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-cache, no-store"
    assert set(response.json()) == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
    assert (response.json()["token_type"], response.json()["expires_in"]) == ("DPoP", 300)


@pytest.mark.requirement("OA-EP-7", proves="refused")
@pytest.mark.parametrize("form", [{"code": ""}, {"code": "x"}, {"grant_type": ""}])
async def test_a_refusal_holds_no_member_of_a_success(house: House, form: Any) -> None:
    done, pushed = await a_code(house)
    with house.agent.lying(form=form):
        response = await refused_message(house, house.agent.code_request(done.code or "", pushed))
    assert response.status_code == 400
    assert set(response.json()) == {"error", "error_description"}


@pytest.mark.requirement("OA-EP-8", proves="refused")
@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"grant_type": ...}, (400, "invalid_request")),
        ({"client_assertion": ...}, (401, "invalid_client")),
        ({"code": "unknown"}, (400, "invalid_grant")),
        ({"grant_type": "client_credentials"}, (400, "unauthorized_client")),
        ({"grant_type": "implicit"}, (400, "unsupported_grant_type")),
        ({"grant_type": "refresh_token", "refresh_token": "unknown"}, (400, "invalid_grant")),
        ({"resource": "https://unknown.example/"}, (400, "invalid_target")),
    ],
)
async def test_each_error_has_its_status_and_a_printable_sentence(house: House, form: Any, reason: Any) -> None:
    house.change_client(grant_types=frozenset({"authorization_code", "refresh_token"}))
    done, pushed = await a_code(house)
    with house.agent.lying(form=form):
        response = await refused_message(house, house.agent.code_request(done.code or "", pushed))
    assert (response.status_code, response.json()["error"]) == reason
    assert re.fullmatch(r"[ !#-\[\]-~]+", response.json()["error_description"])


@pytest.mark.requirement("OA-EP-8", proves="refused")
async def test_whoever_tried_the_authorization_header_hears_a_challenge(house: House) -> None:
    message = house.agent.token_request("client_credentials", client_assertion=..., client_assertion_type=...)
    basic = Message(message.url, (*message.headers, ("authorization", "Basic YWdlbnQ6eA==")), message.body)
    response = await refused_message(house, basic)
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert response.headers["www-authenticate"].startswith("Basic ")


def served(house: House) -> httpx2.AsyncClient:
    application = build_application({"": house.context}, clock=house.clock)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app=application))


@pytest.mark.requirement("OA-EP-9", proves="holds")
async def test_the_private_reason_is_found_under_the_correlation_id(house: House) -> None:
    house.agent.http = served(house)
    response = await house.agent.send(house.agent.token_request("authorization_code", code="unknown"))
    written = house.store.written[-1]
    assert written.stamp.correlation_id == response.headers["x-correlation-id"]
    assert (written.fact.detail, "unknown" in response.text) == ("unknown code", False)


@pytest.mark.requirement("OA-EP-9", proves="refused")
@pytest.mark.parametrize("name", ["scope", "resource", "redirect_uri", "response_type", "code_challenge", "dpop_jkt"])
async def test_no_error_repeats_what_it_was_told(house: House, name: str) -> None:
    with house.agent.lying(form={name: "tell-tale-7f3a@alice.example"}):
        response = await refused_message(house, house.agent.push_request(code_verifier="v" * 43, state="s"))
    assert response.status_code == 400
    assert "tell-tale" not in response.text
    assert "Traceback" not in response.text


@pytest.mark.requirement("OA-EP-10", proves="holds")
async def test_a_body_of_ordinary_size_is_read_at_any_rate_below_the_limit(house: House) -> None:
    for _ in range(20):
        await house.agent.client_credentials()
        await house.agent.push(nonce="n" * 256)


@pytest.mark.requirement("OA-EP-10", proves="refused")
@pytest.mark.parametrize("path", ["/token", "/par"])
async def test_a_body_beyond_the_limit_gets_413_and_changes_nothing(house: House, path: str) -> None:
    application = build_application({"": house.context}, clock=FrozenClock(house.clock.now()))
    headers = {"content-type": "application/x-www-form-urlencoded"}
    with unchanged(house, "invalid_request"):
        answer = await call(application, "POST", path, headers, b"a=" + b"a" * REQUEST_BODY_LIMIT)
    assert answer.status == 413


# --- tokens


@pytest.mark.requirement("RES-4", proves="holds")
async def test_a_token_is_for_the_resource_named_and_holds_what_means_something_there(house: House) -> None:
    house.resource(SHOP, scopes={"orders:read": "See your orders"})
    house.change_client(scope=frozenset({"accounts:read", "orders:read"}))
    done, pushed = await a_code(house, resource=[RESOURCE, SHOP], scope="accounts:read orders:read")
    tokens = await house.agent.redeem(done, pushed, resource=SHOP)
    _, claims = house.signer.signed[-1]
    assert (claims["aud"], claims["scope"], tokens.scope) == (SHOP, "orders:read", "orders:read")


@pytest.mark.requirement("OA-RT-6", proves="holds")
async def test_a_refresh_token_comes_where_client_and_resource_are_registered_for_it(house: House) -> None:
    done, pushed = await a_code(house)
    assert (await house.agent.redeem(done, pushed)).refresh_token is not None


@pytest.mark.requirement("OA-RT-3", proves="refused")
async def test_a_refresh_token_without_its_confidential_client_is_refused(house: House) -> None:
    done, pushed = await a_code(house)
    refresh_token = (await house.agent.redeem(done, pushed)).refresh_token or ""
    with house.agent.lying(form={"client_assertion": ..., "client_assertion_type": ...}):
        reason = await refused_tokens(house, lambda: house.agent.refresh_request(refresh_token))
    assert reason == (401, "invalid_client")
    assert (await house.agent.refresh(refresh_token)).refresh_token is None


@pytest.mark.requirement("OA-RT-5", proves="refused")
async def test_what_the_store_holds_is_not_what_can_be_used(house: House) -> None:
    done, pushed = await a_code(house)
    refresh_token = (await house.agent.redeem(done, pushed)).refresh_token or ""
    (kept,) = house.store.handles_of(HandleKind.REFRESH_TOKEN)
    assert refresh_token.encode() not in kept.payload + kept.digest
    for stolen in (b64(kept.digest), kept.digest.hex(), refresh_token[:-1], refresh_token.lower()):
        assert await refused_tokens(house, lambda stolen=stolen: house.agent.refresh_request(stolen)) == GRANT


@pytest.mark.requirement("BCP-14", proves="refused")
async def test_a_replayed_code_ends_the_refresh_token(house: House) -> None:
    done, pushed = await a_code(house)
    refresh_token = (await house.agent.redeem(done, pushed)).refresh_token or ""
    with pytest.raises(Refused):
        await house.agent.redeem(done, pushed)
    assert await refused_tokens(house, lambda: house.agent.refresh_request(refresh_token)) == GRANT


@pytest.mark.requirement("BCP-5", proves="holds")
async def test_a_token_is_bound_to_a_key_an_audience_and_a_scope(house: House) -> None:
    done, pushed = await a_code(house)
    await house.agent.redeem(done, pushed)
    _, claims = house.signer.signed[-1]
    assert claims["cnf"] == {"jkt": house.agent.dpop_key.thumbprint}
    assert (claims["aud"], claims["scope"]) == (RESOURCE, "accounts:read")


@pytest.mark.requirement("BCP-5", proves="refused")
async def test_without_a_proof_there_is_no_token_at_all(house: House) -> None:
    done, pushed = await a_code(house)
    with house.agent.lying(proof=...):
        assert await refused_redemption(house, done, pushed) == (400, "invalid_dpop_proof")


@pytest.mark.requirement("BCP-6", proves="holds")
@pytest.mark.parametrize("alg", ["PS256", "ES256", "Ed25519"])
async def test_a_client_authenticates_with_a_key_of_its_own(house: House, alg: str) -> None:
    house.agent.client_key = PeerKey.of(alg)
    house.client("agent", jwks=house.agent.jwks())
    assert (await house.agent.client_credentials()).scope == "accounts:read"


@pytest.mark.requirement("BCP-6", proves="refused")
@pytest.mark.parametrize("secret", ["in the form", "in the header"])
async def test_a_shared_secret_authenticates_nobody(house: House, secret: str) -> None:
    form: dict[str, Any] = {"client_assertion": ..., "client_assertion_type": ...}
    headers = []
    if secret == "in the form":
        form["client_secret"] = "secret"
    else:
        headers = [("authorization", "Basic YWdlbnQ6c2VjcmV0")]
    with house.agent.lying(form=form, headers=headers):
        assert await refused_tokens(house, house.agent.credentials_request) == (401, "invalid_client")


@pytest.mark.requirement("BCP-15", proves="holds")
async def test_a_resource_accepts_the_token_that_was_made_for_it(house: House) -> None:
    done, pushed = await a_code(house)
    token = (await house.agent.redeem(done, pushed)).access_token
    assert verified(house, token, RESOURCE).confirmation.jkt == house.agent.dpop_key.thumbprint


@pytest.mark.requirement("BCP-15", proves="refused")
async def test_a_phishing_resource_cannot_use_the_token_elsewhere(house: House) -> None:
    done, pushed = await a_code(house)
    token = (await house.agent.redeem(done, pushed)).access_token
    with pytest.raises(InvalidToken):
        verified(house, token, SHOP)


def verified(house: House, token: str, audience: str) -> Any:
    return verify_access_token(
        token,
        keys=[house.signer.key.public],
        issuer=ISSUER,
        audience=audience,
        now=house.clock.now(),
        leeway_seconds=10,
    )


# --- guessing


@pytest.mark.requirement("BCP-20", proves="holds")
async def test_whatever_we_draw_has_256_bits_or_at_least_128() -> None:
    entropy = SystemEntropy()
    assert len({entropy.handle() for _ in range(100)}) == 100
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", entropy.handle())
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", entropy.identifier())


@pytest.mark.requirement("BCP-20", proves="refused")
async def test_guessing_a_password_online_ends_with_429(house: House) -> None:
    place: Any = await house.opened()
    for _ in range(SIGN_IN_ATTEMPTS_PER_ACCOUNT):
        place = await house.sign_in(house.agent.browser, place, password="not this one, surely")
    asked = len(house.passwords.asked)
    place = await house.sign_in(house.agent.browser, place, password=PASSWORD)
    assert (place.status, len(house.passwords.asked)) == (429, asked)


@pytest.mark.requirement("FAPI2-CR-6", proves="refused")
@pytest.mark.parametrize("guess", ["A" * 43, "0", "code", "a" * 10_000])
async def test_a_guessed_code_is_refused(house: House, guess: str) -> None:
    done, pushed = await a_code(house)
    assert await refused_redemption(house, done, pushed, code=guess) == GRANT
    assert (await house.agent.redeem(done, pushed)).scope == "accounts:read"
