"""POST /token with a code: bound to client, redirect URI, verifier and key; once; nothing lost by a wrong try."""

from __future__ import annotations

from typing import Any

import pytest

from fapi_as.protocol.authorization_request import AuthorizationGrant
from fapi_as.protocol.effects import HandleKind
from tests.support.house import PASSWORD, RESOURCE, House
from tests.support.peer_keys import PeerKey
from tests.support.redemption_scene import SHOP, a_code, is_spent, refused

# --- the answer


@pytest.mark.attack("COD-15")
async def test_the_answer_is_a_bound_token_and_says_for_how_long(house: House) -> None:
    tokens = await house.agent.redeem(*await a_code(house))
    payload = tokens.response.json()
    assert set(payload) == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
    assert (payload["token_type"], payload["expires_in"], payload["scope"]) == ("DPoP", 300, "accounts:read")
    assert tokens.response.headers["cache-control"] == "no-cache, no-store"
    assert len(tokens.response.headers["dpop-nonce"]) > 20


@pytest.mark.requirement("FAPI2-AS-4", proves="holds")
async def test_the_token_names_the_key_of_the_proof(house: House) -> None:
    key = PeerKey.ed25519()
    await house.agent.redeem(*await a_code(house), key=key)
    typ, claims = house.signer.signed[-1]
    assert (typ, claims["cnf"]) == ("at+jwt", {"jkt": key.thumbprint})


@pytest.mark.requirement("FAPI2-AS-4", proves="refused")
@pytest.mark.attack("COD-05")
async def test_without_a_proof_there_is_no_token_and_the_code_stays(house: House) -> None:
    done, pushed = await a_code(house)
    house.agent.lies.proof = ...
    assert await refused(house, done, pushed) == (400, "invalid_dpop_proof", "no proof")
    assert not is_spent(house, done)


@pytest.mark.requirement("OA-RT-6", proves="refused")
@pytest.mark.parametrize("because", ["client", "resource"])
async def test_no_refresh_token_unless_client_and_resource_both_have_them(house: House, because: str) -> None:
    if because == "client":
        house.change_client(grant_types=frozenset({"authorization_code"}))
    else:
        house.resource(version=2, refresh_tokens=False)
    assert (await house.agent.redeem(*await a_code(house))).refresh_token is None
    assert house.store.handles_of(HandleKind.REFRESH_TOKEN) == ()


async def test_a_refresh_token_lives_as_long_as_the_strictest_of_its_resources_says(house: House) -> None:
    house.resource(version=2, refresh_token_lifetime=86_400)
    house.resource(SHOP, scopes={"orders:read": "See your orders"})
    house.change_client(scope=frozenset({"accounts:read", "orders:read"}))
    done, pushed = await a_code(house, resource=[RESOURCE, SHOP], scope="accounts:read orders:read")
    await house.agent.redeem(done, pushed, resource=SHOP)
    (kept,) = house.store.handles_of(HandleKind.REFRESH_TOKEN)
    assert kept.usable_until == house.clock.now() + 86_400
    grant = AuthorizationGrant.from_bytes(kept.payload)
    assert (grant.redirect_uri, grant.code_challenge, grant.dpop_jkt) == (None, None, None)
    assert (grant.scope, grant.resources) == (("accounts:read", "orders:read"), (RESOURCE, SHOP))


async def test_a_resource_may_shorten_its_access_tokens(house: House) -> None:
    house.resource(version=2, access_token_lifetime=60)
    tokens = await house.agent.redeem(*await a_code(house))
    assert tokens.expires_in == 60
    claims = house.signer.signed[-1][1]
    assert claims["exp"] == claims["iat"] + 60  # type: ignore[operator]


# --- what a code is bound to


@pytest.mark.requirement("FAPI2-AZ-12", proves="refused")
@pytest.mark.attack("COD-03")
async def test_the_code_of_another_client_is_refused_and_its_owner_can_still_redeem_it(house: House) -> None:
    other = house.client("other")
    done, pushed = await a_code(house)
    answer = await refused(house, done, pushed, client=other)
    assert answer == (400, "invalid_grant", "code of another client")
    assert (await house.agent.redeem(done, pushed)).scope == "accounts:read"


@pytest.mark.requirement("FAPI2-AZ-12", proves="holds")
async def test_client_redirect_uri_verifier_and_key_of_the_request_redeem_it(house: House) -> None:
    done, pushed = await a_code(house, bound=True)
    assert (await house.agent.redeem(done, pushed)).scope == "accounts:read"


@pytest.mark.requirement("OA-AC-9", proves="holds")
@pytest.mark.attack("COD-04")
@pytest.mark.parametrize("redirect_uri", [..., "", "https://client.example/callback"])
async def test_the_redirect_uri_may_be_repeated_or_left_out(house: House, redirect_uri: Any) -> None:
    done, pushed = await a_code(house)
    assert (await house.agent.redeem(done, pushed, redirect_uri=redirect_uri)).scope == "accounts:read"


@pytest.mark.requirement("OA-AC-9", proves="refused")
async def test_another_redirect_uri_is_refused_and_the_code_stays(house: House) -> None:
    done, pushed = await a_code(house)
    answer = await refused(house, done, pushed, redirect_uri="https://client.example/callback/")
    assert answer == (400, "invalid_grant", "redirect_uri differs")
    assert not is_spent(house, done)


@pytest.mark.requirement("FAPI2-AZ-6", proves="holds")
async def test_the_right_verifier_redeems(house: House) -> None:
    done, pushed = await a_code(house)
    assert (await house.agent.redeem(done, pushed, code_verifier=pushed.code_verifier)).scope == "accounts:read"


@pytest.mark.requirement("FAPI2-AZ-6", proves="refused")
@pytest.mark.attack("PKC-02")
@pytest.mark.parametrize("verifier", [..., "", "w" * 43, "w" * 42, "w" * 129, "w" * 43 + " ", "w" * 43 + "%", "ü" * 43])
async def test_any_other_verifier_is_refused_and_the_code_stays(house: House, verifier: Any) -> None:
    done, pushed = await a_code(house)
    assert await refused(house, done, pushed, code_verifier=verifier) == (400, "invalid_grant", "verifier")
    assert not is_spent(house, done)


@pytest.mark.attack("PKC-03")
async def test_the_challenge_is_no_verifier(house: House) -> None:
    done, pushed = await a_code(house)
    (kept,) = house.store.handles_of(HandleKind.CODE)
    challenge = AuthorizationGrant.from_bytes(kept.payload).code_challenge
    assert await refused(house, done, pushed, code_verifier=challenge) == (400, "invalid_grant", "verifier")


@pytest.mark.attack("PKC-07")
async def test_a_stolen_code_is_worth_nothing_with_the_thiefs_own_verifier(house: House) -> None:
    victim, _ = await a_code(house)
    _, own = await a_code(house)
    assert await refused(house, victim, own) == (400, "invalid_grant", "verifier")


@pytest.mark.requirement("FAPI2-AS-14", proves="refused")
@pytest.mark.attack("COD-07")
async def test_a_code_that_was_pushed_with_a_proof_needs_that_key(house: House) -> None:
    done, pushed = await a_code(house, bound=True)
    answer = await refused(house, done, pushed, key=PeerKey.es256())
    assert answer == (400, "invalid_dpop_proof", "not the key of the push")
    assert not is_spent(house, done)


@pytest.mark.attack("COD-06")
async def test_a_code_that_was_pushed_with_a_thumbprint_needs_that_key(house: House) -> None:
    key = PeerKey.es256()
    done, pushed = await a_code(house, dpop_jkt=key.thumbprint)
    assert (await refused(house, done, pushed))[1] == "invalid_dpop_proof"
    assert (await house.agent.redeem(done, pushed, key=key)).scope == "accounts:read"


@pytest.mark.requirement("FAPI2-AS-14", proves="holds")
async def test_the_key_of_the_push_redeems(house: House) -> None:
    key = PeerKey.es256()
    pushed = await house.agent.push(key=key)
    done = await house.agent.authorize(pushed, username="alice", password=PASSWORD)
    assert (await house.agent.redeem(done, pushed, key=key)).scope == "accounts:read"


@pytest.mark.attack("COD-08")
@pytest.mark.parametrize(
    "change", [str.swapcase, lambda code: f"{code} ", lambda code: code[:1], lambda code: f"'{code}"]
)
async def test_a_code_that_is_not_exactly_the_code_is_unknown(house: House, change: Any) -> None:
    done, pushed = await a_code(house)
    answer = await refused(house, done, pushed, code=change(done.code))
    assert answer == (400, "invalid_grant", "unknown code")


@pytest.mark.parametrize(
    ("code", "answer"),
    [
        ("", (400, "invalid_request", "code is missing")),
        (..., (400, "invalid_request", "code is missing")),
        ("x" * 10_240, (400, "invalid_grant", "unknown code")),
        ("a\x00b", (400, "invalid_request", "NUL in a parameter")),
    ],
)
async def test_a_code_of_another_shape(house: House, code: Any, answer: tuple[int, str, str]) -> None:
    assert await refused(house, *await a_code(house), code=code) == answer


@pytest.mark.attack("COD-10")
async def test_a_wider_scope_at_the_token_endpoint_is_not_even_read(house: House) -> None:
    done, pushed = await a_code(house)
    assert (await house.agent.redeem(done, pushed, scope="transfers:write")).scope == "accounts:read"


@pytest.mark.requirement("RES-3", proves="refused")
@pytest.mark.attack("COD-11")
@pytest.mark.parametrize("resource", [SHOP, [RESOURCE, RESOURCE], f"{RESOURCE}/"])
async def test_a_resource_that_was_not_granted_is_refused_and_the_code_stays(house: House, resource: Any) -> None:
    done, pushed = await a_code(house)
    assert (await refused(house, done, pushed, resource=resource))[:2] == (400, "invalid_target")
    assert not is_spent(house, done)


@pytest.mark.requirement("RES-3", proves="holds")
@pytest.mark.parametrize("resource", [..., RESOURCE])
async def test_the_one_resource_that_was_granted_needs_no_name(house: House, resource: Any) -> None:
    done, pushed = await a_code(house)
    await house.agent.redeem(done, pushed, resource=resource)
    assert house.signer.signed[-1][1]["aud"] == RESOURCE
