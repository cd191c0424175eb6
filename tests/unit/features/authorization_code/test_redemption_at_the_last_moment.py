"""A code is redeemed when something changed since, more than once, and by the rule alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fapi_as.features.authorization_code.rules import CodeFacts, decide_redemption
from fapi_as.kernel.seam import TokenRequest, TokensToIssue
from fapi_as.protocol.access_token import Binding
from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.authorization_request import AuthorizationGrant
from fapi_as.protocol.client import AuthenticatedClient
from fapi_as.protocol.decisions import Refuse
from fapi_as.protocol.effects import HandleKind, Require, Required, Revoke, Spend, TakeOnce
from fapi_as.protocol.errors import InvalidGrant, InvalidTarget
from fapi_as.protocol.handles import KeptHandle
from fapi_as.protocol.parameters import Parameters
from fapi_as.protocol.policy import Policy
from tests.support.fapi_client import Refused
from tests.support.house import RESOURCE, House
from tests.support.peer_keys import PeerKey
from tests.support.redemption_scene import a_code, is_spent, refused

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


async def test_the_end_of_an_authorization_is_one_fact_that_names_it_however_often_the_code_comes(house: House) -> None:
    done, pushed = await a_code(house)
    await house.agent.redeem(done, pushed)
    family = house.store.facts[-1].authorization_id
    replays = [house.agent.code_request(done.code or "", pushed) for _ in range(5)]
    answers = await asyncio.gather(*(house.agent.send(message) for message in replays))
    answers.append(await house.agent.send(house.agent.code_request(done.code or "", pushed)))
    assert [answer.json()["error"] for answer in answers] == ["invalid_grant"] * 6
    (ended,) = house.store.facts_of(AuditEvent.AUTHORIZATION_REVOKED)
    assert (ended.authorization_id, ended.client_id, ended.subject) == (family, "agent", "sub-alice")
    assert (ended.error, ended.detail) == (None, "code replayed")
    assert [fact.detail for fact in house.store.facts_of(AuditEvent.REFUSED)][-6:] == ["code replayed"] * 6


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


async def test_a_copy_of_a_whole_request_that_comes_later_revokes_nothing(house: House) -> None:
    done, pushed = await a_code(house)
    await house.agent.push()
    message = house.agent.code_request(done.code or "", pushed)
    first = await house.agent.send(message)
    copy = await house.agent.send(message)
    assert (first.status_code, copy.status_code) == (200, 401)
    assert (await house.agent.refresh(first.json()["refresh_token"])).scope == "accounts:read"


# --- the rule alone

NOW = 1_800_000_000
POLICY = Policy(tenant="default", issuer="https://as.example")
BOUND = Binding(jkt="j" * 43)


async def facts_of(house: House, **request: Any) -> tuple[TokenRequest, CodeFacts]:
    _, pushed = await a_code(house)
    (kept,) = house.store.handles_of(HandleKind.CODE)
    client = AuthenticatedClient(
        registered=house.store.clients["agent"], assertion_once=TakeOnce(namespace="a", digest=b"a", until=NOW)
    )
    values = {"code_verifier": pushed.code_verifier}
    asked = TokenRequest(
        client=client, parameters=Parameters(values=values), binding=BOUND, now=NOW, correlation_id="c"
    )
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
    assert Revoke(authorization_id=family) in decision.lost[spend].effects
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


@pytest.mark.attack("TIM-02")
async def test_a_code_of_a_clock_that_was_ahead_is_not_good_for_longer_than_a_code_is(house: House) -> None:
    done, pushed = await a_code(house)
    house.clock.advance(-11)
    answer = await refused(house, done, pushed)
    assert answer == (400, "invalid_grant", "the clock was set back since the code was issued")
    assert not is_spent(house, done)
    house.clock.advance(1)
    assert (await house.agent.redeem(done, pushed)).access_token
