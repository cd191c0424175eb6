"""POST /token with a code: bound to client, redirect URI, verifier and key; once; nothing lost by a wrong try."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fapi_as.features.authorization_code.rules import CodeFacts, decide_redemption
from fapi_as.kernel.seam import TokenRequest, TokensToIssue
from fapi_as.protocol.authorization_request import AuthorizationGrant
from fapi_as.protocol.client import AuthenticatedClient
from fapi_as.protocol.decisions import Refuse
from fapi_as.protocol.effects import HandleKind, Require, Required, Revoke, Spend, TakeOnce
from fapi_as.protocol.errors import InvalidGrant, InvalidTarget
from fapi_as.protocol.handles import KeptHandle, digest_of
from fapi_as.protocol.parameters import Parameters
from fapi_as.protocol.policy import Policy
from tests.support.browser import Callback
from tests.support.fapi_client import FapiClient, Pushed, Refused
from tests.support.house import PASSWORD, RESOURCE, House
from tests.support.peer_keys import PeerKey

SHOP = "https://shop.example/mcp"


async def a_code(
    house: House, client: FapiClient | None = None, *, bound: bool = False, **form: Any
) -> tuple[Callback, Pushed]:
    """A fresh code; its push carries no proof unless it is `bound`."""
    client = client or house.agent
    with client.lying(proof=client.lies.proof if bound else ..., form=form):
        pushed = await client.push()
    return await client.authorize(pushed, username="alice", password=PASSWORD), pushed


async def refused(
    house: House,
    done: Callback,
    pushed: Pushed,
    *,
    client: FapiClient | None = None,
    key: PeerKey | None = None,
    **form: Any,
) -> tuple[int, str | None, str | None]:
    """Status, wire code and private reason of a redemption that gives nothing."""
    signed = len(house.signer.signed)
    client = client or house.agent
    with client.lying(form=form), pytest.raises(Refused) as raised:
        await client.redeem(done, pushed, key=key)
    assert len(house.signer.signed) == signed
    return raised.value.status, raised.value.error, house.last_detail


def is_spent(house: House, done: Callback) -> bool:
    return house.store.is_spent(HandleKind.CODE, digest_of(done.code or ""))


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


# --- what may have changed since the consent


@pytest.mark.attack("COD-09")
@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("redirect_uri", (400, "invalid_grant", "redirect_uri is gone")),
        ("password", (400, "invalid_grant", "the user changed")),
        ("user disabled", (400, "invalid_grant", "the user changed")),
        ("authorization", (400, "invalid_grant", "the authorization has ended")),
        ("client disabled", (401, "invalid_client", "unknown client")),
        ("client keys", (401, "invalid_client", "assertion: no key for this signature")),
        ("resource", (400, "invalid_target", "the resource is gone")),
        ("scope", (400, "invalid_scope", "no granted scope is left for this resource")),
        ("grant type", (400, "unauthorized_client", "grant_type is not registered for the client")),
    ],
)
async def test_what_changed_since_the_consent_is_judged_today(
    house: House, what: str, answer: tuple[int, str, str]
) -> None:
    done, pushed = await a_code(house)
    other = house.client("other")
    (code,) = house.store.handles_of(HandleKind.CODE)
    {
        "redirect_uri": lambda: house.change_client(redirect_uris=("https://client.example/new",)),
        "password": lambda: house.change_user(password_hash="another"),
        "user disabled": lambda: house.change_user(disabled=True),
        "authorization": lambda: house.store.rows.revoked.add(str(code.authorization_id)),
        "client disabled": lambda: house.store.remove_client("agent"),
        "client keys": lambda: house.change_client(keys=house.store.clients[other.client_id].keys),
        "resource": lambda: house.store.remove_resource(RESOURCE),
        "scope": lambda: house.change_client(scope=frozenset({"transfers:write"})),
        "grant type": lambda: house.change_client(grant_types=frozenset({"client_credentials"})),
    }[what]()
    status, error, detail = await refused(house, done, pushed)
    assert (status, error) == answer[:2]
    assert what == "client keys" or detail == answer[2]
    assert not is_spent(house, done)


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("user", (400, "invalid_grant", "the user changed")),
        ("resource", (400, "invalid_target", "the resource changed")),
        ("client", (401, "invalid_client", "the client changed")),
        ("authorization", (400, "invalid_grant", "the authorization has ended")),
    ],
)
async def test_what_changes_in_the_last_moment_loses(house: House, what: str, answer: tuple[int, str, str]) -> None:
    done, pushed = await a_code(house)
    (code,) = house.store.handles_of(HandleKind.CODE)
    await house.agent.push()  # a fresh nonce, so that the next request is the one that commits
    commit = house.store.commit

    async def after_a_change(decision: Any, stamp: Any) -> Any:
        if what == "user":
            house.change_user()
        elif what == "resource":
            house.resource(version=2)
        elif what == "client":
            house.change_client()
        else:
            house.store.rows.revoked.add(str(code.authorization_id))
        return await commit(decision, stamp)

    house.store.commit = after_a_change  # type: ignore[method-assign]  # an operator between the read and the write
    with pytest.raises(Refused) as raised:
        await house.agent.redeem(done, pushed)
    assert (raised.value.status, raised.value.error, house.last_detail) == answer
    assert not is_spent(house, done)
    assert house.store.handles_of(HandleKind.REFRESH_TOKEN) == ()


# --- once


@pytest.mark.requirement("OA-AC-7", proves="holds")
@pytest.mark.attack("COD-01")
async def test_a_valid_replay_ends_what_the_code_brought(house: House) -> None:
    done, pushed = await a_code(house)
    tokens = await house.agent.redeem(done, pushed)
    house.clock.advance(1)
    assert await refused(house, done, pushed) == (400, "invalid_grant", "code replayed")
    with pytest.raises(Refused) as refresh:
        await house.agent.refresh(tokens.refresh_token or "")
    assert (refresh.value.error, house.last_detail) == ("invalid_grant", "the authorization has ended")


@pytest.mark.requirement("OA-AC-7", proves="refused")
@pytest.mark.parametrize("how", ["verifier", "client", "redirect_uri", "key"])
async def test_a_replay_that_is_not_valid_revokes_nothing(house: House, how: str) -> None:
    other = house.client("other")
    done, pushed = await a_code(house, bound=True)
    tokens = await house.agent.redeem(done, pushed)
    if how == "verifier":
        await refused(house, done, pushed, code_verifier="w" * 43)
    elif how == "client":
        await refused(house, done, pushed, client=other)
    elif how == "redirect_uri":
        await refused(house, done, pushed, redirect_uri="https://client.example/")
    else:
        await refused(house, done, pushed, key=PeerKey.es256())
    assert (await house.agent.refresh(tokens.refresh_token or "")).scope == "accounts:read"


async def test_a_replay_is_recognised_long_after_the_minute_of_the_code(house: House) -> None:
    done, pushed = await a_code(house)
    tokens = await house.agent.redeem(done, pushed)
    house.clock.advance(timedelta(days=29))
    assert await refused(house, done, pushed) == (400, "invalid_grant", "code replayed")
    with pytest.raises(Refused):
        await house.agent.refresh(tokens.refresh_token or "")


@pytest.mark.requirement("OA-AC-8", proves="refused")
@pytest.mark.attack("RAC-01")
async def test_twenty_redemptions_at_once_are_one_and_the_replays_end_it(house: House) -> None:
    done, pushed = await a_code(house)
    await house.agent.push()
    messages = [house.agent.code_request(done.code or "", pushed) for _ in range(20)]
    answers = await asyncio.gather(*(house.agent.send(message) for message in messages))
    winners = [answer for answer in answers if answer.status_code == 200]
    assert len(winners) == 1
    assert {answer.json()["error"] for answer in answers if answer is not winners[0]} == {"invalid_grant"}
    assert len(house.store.handles_of(HandleKind.REFRESH_TOKEN)) == 1
    with pytest.raises(Refused):
        await house.agent.refresh(winners[0].json()["refresh_token"])


@pytest.mark.requirement("OA-AC-8", proves="holds")
async def test_different_codes_at_once_are_all_redeemed(house: House) -> None:
    codes = [await a_code(house) for _ in range(4)]
    await house.agent.push()
    messages = [house.agent.code_request(done.code or "", pushed) for done, pushed in codes]
    answers = await asyncio.gather(*(house.agent.send(message) for message in messages))
    assert [answer.status_code for answer in answers] == [200] * 4


@pytest.mark.attack("RAC-04")
async def test_one_signed_request_sent_sixteen_times_at_once_is_one_and_revokes_nothing(house: House) -> None:
    done, pushed = await a_code(house)
    await house.agent.push()
    message = house.agent.code_request(done.code or "", pushed)
    answers = await asyncio.gather(*(house.agent.send(message) for _ in range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 15
    winner = next(answer for answer in answers if answer.status_code == 200)
    assert (await house.agent.refresh(winner.json()["refresh_token"])).scope == "accounts:read"


# --- the rule alone

NOW = 1_800_000_000
POLICY = Policy(tenant="default", issuer="https://as.example")


async def facts_of(house: House, **request: Any) -> tuple[TokenRequest, CodeFacts]:
    _, pushed = await a_code(house)
    (kept,) = house.store.handles_of(HandleKind.CODE)
    client = AuthenticatedClient(
        registered=house.store.clients["agent"], assertion_once=TakeOnce(namespace="a", digest=b"a", until=NOW)
    )
    values = {"code_verifier": pushed.code_verifier}
    asked = TokenRequest(client=client, parameters=Parameters(values=values), jkt="j" * 43, now=NOW, correlation_id="c")
    handle = KeptHandle(
        kind=kept.kind,
        digest=kept.digest,
        payload=kept.payload,
        client_id=kept.client_id,
        subject=kept.subject,
        authorization_id=kept.authorization_id,
        usable_until=kept.usable_until,
        spent=False,
        revoked=False,
    )
    facts = CodeFacts(
        handle=handle,
        grant=AuthorizationGrant.from_bytes(kept.payload),
        user=house.alice,
        resources=dict(house.store.resources),
    )
    return replace(asked, **request), facts


async def test_a_redemption_requires_everything_as_it_was_loaded_and_spends_the_code_last(house: House) -> None:
    request, facts = await facts_of(house)
    decision = decide_redemption(request, facts, POLICY)
    assert isinstance(decision, TokensToIssue)
    assert facts.grant is not None
    assert facts.handle is not None
    family = facts.grant.authorization_id
    spend = Spend(kind=HandleKind.CODE, digest=facts.handle.digest)
    assert decision.effects == (
        Require(required=Required.USER, identifier="sub-alice", version=1),
        Require(required=Required.AUTHORIZATION, identifier=family),
        Require(required=Required.RESOURCE, identifier=RESOURCE, version=1),
        spend,
    )
    assert set(decision.lost) == set(decision.effects)
    assert decision.lost[spend].effects == (Revoke(authorization_id=family),)
    assert decision.claims == {"auth_time": NOW, "acr": "urn:fapi-as:acr:password"}


@pytest.mark.attack("PKC-06")
async def test_a_planted_code_without_a_challenge_is_refused_whatever_the_verifier(house: House) -> None:
    request, facts = await facts_of(house)
    assert facts.grant is not None
    planted = replace(facts, grant=replace(facts.grant, code_challenge=None))
    decision = decide_redemption(request, planted, POLICY)
    assert isinstance(decision, Refuse)
    assert decision.error.detail == "verifier"


@pytest.mark.parametrize("missing", ["handle", "grant"])
async def test_a_code_without_a_row_is_unknown(house: House, missing: str) -> None:
    request, facts = await facts_of(house)
    decision = decide_redemption(request, replace(facts, **{missing: None}), POLICY)
    assert isinstance(decision, Refuse)
    assert isinstance(decision.error, InvalidGrant)
    assert decision.effects == ()


async def test_a_rule_that_finds_no_live_resource_names_no_token(house: House) -> None:
    request, facts = await facts_of(house)
    with pytest.raises(InvalidTarget):
        decide_redemption(request, replace(facts, resources={}), POLICY)
