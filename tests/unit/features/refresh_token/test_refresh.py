"""POST /token with a refresh token: the client's, not the key's; never rotated; judged anew every time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from fapi_as.protocol.client import ClientLimits
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.policy import Policy
from tests.support.fakes import ISSUER
from tests.support.fapi_client import Refused, Tokens
from tests.support.house import PASSWORD, RESOURCE, House
from tests.support.peer_keys import PeerKey

SHOP = "https://shop.example/mcp"


@pytest.fixture
async def tokens(house: House) -> Tokens:
    with house.agent.lying(form={"scope": "accounts:read transfers:write"}):
        pushed = await house.agent.push()
    done = await house.agent.authorize(pushed, username="alice", password=PASSWORD)
    return await house.agent.redeem(done, pushed)


def value_of(tokens: Tokens) -> str:
    assert tokens.refresh_token is not None
    return tokens.refresh_token


async def refused(house: House, refresh_token: str, **changes: Any) -> tuple[int, str | None, str | None]:
    signed = len(house.signer.signed)
    with pytest.raises(Refused) as raised:
        await house.agent.refresh(refresh_token, **changes)
    assert len(house.signer.signed) == signed
    return raised.value.status, raised.value.error, house.last_detail


@pytest.mark.requirement("FAPI2-AS-10", proves="holds")
@pytest.mark.attack("REF-03")
async def test_one_refresh_token_is_good_again_and_again(house: House, tokens: Tokens) -> None:
    for _ in range(5):
        house.clock.advance(301)
        assert (await house.agent.refresh(value_of(tokens))).scope == "accounts:read transfers:write"


@pytest.mark.requirement("FAPI2-AS-10", proves="refused")
async def test_a_refresh_brings_no_other_refresh_token(house: House, tokens: Tokens) -> None:
    assert (await house.agent.refresh(value_of(tokens))).refresh_token is None
    assert len(house.store.handles_of(HandleKind.REFRESH_TOKEN)) == 1


@pytest.mark.attack("RAC-05")
async def test_twenty_refreshes_at_once_all_succeed(house: House, tokens: Tokens) -> None:
    messages = [house.agent.refresh_request(value_of(tokens)) for _ in range(20)]
    answers = await asyncio.gather(*(house.agent.send(message) for message in messages))
    assert [answer.status_code for answer in answers] == [200] * 20
    assert len({claims["authorization_id"] for _, claims in house.signer.signed}) == 1


@pytest.mark.attack("REF-06")
async def test_the_key_may_change_and_the_token_names_the_new_one(house: House, tokens: Tokens) -> None:
    key = PeerKey.ed25519()
    await house.agent.refresh(value_of(tokens), key=key)
    assert house.signer.signed[-1][1]["cnf"] == {"jkt": key.thumbprint}


async def test_when_and_how_the_person_signed_in_is_told_as_it_was(house: House, tokens: Tokens) -> None:
    signed_in_at = house.clock.now()
    house.clock.advance(timedelta(days=3))
    await house.agent.refresh(value_of(tokens))
    claims = house.signer.signed[-1][1]
    assert (claims["auth_time"], claims["acr"]) == (signed_in_at, "urn:fapi-as:acr:password")
    assert claims["iat"] == house.clock.now()


@pytest.mark.requirement("OA-RT-1", proves="refused")
@pytest.mark.attack("REF-02")
async def test_another_clients_refresh_token_is_refused_and_stays_its_owners(house: House, tokens: Tokens) -> None:
    other = house.client("other")
    with pytest.raises(Refused) as raised:
        await other.refresh(value_of(tokens))
    assert (raised.value.status, raised.value.error) == (400, "invalid_grant")
    assert house.last_detail == "refresh token of another client"
    assert (await house.agent.refresh(value_of(tokens))).access_token


@pytest.mark.requirement("OA-RT-1", proves="holds")
async def test_its_own_client_refreshes(house: House, tokens: Tokens) -> None:
    assert (await house.agent.refresh(value_of(tokens))).access_token != tokens.access_token


@pytest.mark.attack("REF-01")
async def test_without_client_authentication_there_is_no_refresh(house: House, tokens: Tokens) -> None:
    with house.agent.lying(form={"client_assertion": ..., "client_assertion_type": ...}):
        assert await refused(house, value_of(tokens)) == (401, "invalid_client", "no assertion and no certificate")


async def test_without_a_proof_there_is_no_refresh(house: House, tokens: Tokens) -> None:
    house.agent.lies.proof = ...
    assert await refused(house, value_of(tokens)) == (400, "invalid_dpop_proof", "no proof")


@pytest.mark.requirement("OA-RT-2", proves="holds")
async def test_a_narrower_scope_narrows_this_token_only(house: House, tokens: Tokens) -> None:
    assert (await house.agent.refresh(value_of(tokens), scope="accounts:read")).scope == "accounts:read"
    assert (await house.agent.refresh(value_of(tokens))).scope == "accounts:read transfers:write"


@pytest.mark.requirement("OA-RT-2", proves="refused")
@pytest.mark.attack("REF-05")
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"scope": "accounts:read admin"}, "invalid_scope"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"scope": "accounts:read  transfers:write"}, "invalid_scope"),
        ({"resource": SHOP}, "invalid_target"),
        ({"resource": [RESOURCE, RESOURCE]}, "invalid_target"),
    ],
)
async def test_nothing_wider_than_what_was_granted(
    house: House, tokens: Tokens, changes: dict[str, Any], error: str
) -> None:
    assert (await refused(house, value_of(tokens), **changes))[:2] == (400, error)


async def test_a_scope_that_the_client_lost_is_lost(house: House, tokens: Tokens) -> None:
    house.change_client(scope=frozenset({"accounts:read"}))
    assert (await house.agent.refresh(value_of(tokens))).scope == "accounts:read"


@pytest.mark.requirement("OA-RT-4", proves="refused")
@pytest.mark.attack("REF-07")
@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("password", (400, "invalid_grant", "the user changed")),
        ("user disabled", (400, "invalid_grant", "the user changed")),
        ("user removed", (400, "invalid_grant", "the user changed")),
        ("authorization", (400, "invalid_grant", "the authorization has ended")),
        ("spent", (400, "invalid_grant", "the authorization has ended")),
        ("client disabled", (401, "invalid_client", "unknown client")),
        ("grant type", (400, "unauthorized_client", "grant_type is not registered for the client")),
        ("resource", (400, "invalid_target", "the resource is gone")),
        ("policy", (400, "invalid_grant", "the resource allows no refresh tokens any more")),
        ("scopes", (400, "invalid_scope", "no granted scope is left for this resource")),
    ],
)
async def test_what_ended_a_grant_ends_its_refresh_token(
    house: House, tokens: Tokens, what: str, answer: tuple[int, str, str]
) -> None:
    (kept,) = house.store.handles_of(HandleKind.REFRESH_TOKEN)
    {
        "password": lambda: house.change_user(password_hash="another"),
        "user disabled": lambda: house.change_user(disabled=True),
        "user removed": house.store.users.clear,
        "authorization": lambda: house.store.rows.revoked.add(str(kept.authorization_id)),
        "spent": lambda: house.store.rows.spent.add((kept.kind, kept.digest)),
        "client disabled": lambda: house.store.remove_client("agent"),
        "grant type": lambda: house.change_client(grant_types=frozenset({"authorization_code"})),
        "resource": lambda: house.store.remove_resource(RESOURCE),
        "policy": lambda: house.resource(version=2, refresh_tokens=False),
        "scopes": lambda: house.resource(version=2, scopes={"other": "Something else"}),
    }[what]()
    assert await refused(house, value_of(tokens)) == answer


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("user", (400, "invalid_grant", "the user changed")),
        ("resource", (400, "invalid_target", "the resource changed")),
        ("authorization", (400, "invalid_grant", "the authorization has ended")),
    ],
)
async def test_what_changes_in_the_last_moment_loses(
    house: House, tokens: Tokens, what: str, answer: tuple[int, str, str]
) -> None:
    (kept,) = house.store.handles_of(HandleKind.REFRESH_TOKEN)
    commit = house.store.commit

    async def after_a_change(decision: Any, stamp: Any) -> Any:
        if what == "user":
            house.change_user()
        elif what == "resource":
            house.resource(version=2)
        else:
            house.store.rows.revoked.add(str(kept.authorization_id))
        return await commit(decision, stamp)

    house.store.commit = after_a_change  # type: ignore[method-assign]  # an operator between the read and the write
    with pytest.raises(Refused) as raised:
        await house.agent.refresh(value_of(tokens))
    assert (raised.value.status, raised.value.error, house.last_detail) == answer


@pytest.mark.attack("REF-08")
async def test_the_end_is_absolute_however_often_it_was_used(house: House, tokens: Tokens) -> None:
    for _ in range(29):
        house.clock.advance(timedelta(days=1))
        await house.agent.refresh(value_of(tokens))
    house.clock.advance(timedelta(days=1) - timedelta(seconds=1))
    assert (await house.agent.refresh(value_of(tokens))).access_token
    house.clock.advance(1)
    assert await refused(house, value_of(tokens)) == (400, "invalid_grant", "refresh token expired")


async def test_a_shorter_life_in_the_policy_of_the_approver_counts_for_what_was_issued_before(
    house: House, tokens: Tokens
) -> None:
    house.clock.advance(3599)
    house.change_client(limits=ClientLimits(refresh_token_seconds=3600))
    assert (await house.agent.refresh(value_of(tokens))).access_token
    house.clock.advance(1)
    over = "the client's approval lets no refresh token live for so long"
    assert await refused(house, value_of(tokens)) == (400, "invalid_grant", over)
    house.change_client(limits=ClientLimits(refresh_token_seconds=7200))  # what is given back is given back
    assert (await house.agent.refresh(value_of(tokens))).access_token


async def test_the_family_outlives_a_token_that_was_redeemed_in_the_last_second() -> None:
    house = House(policy=Policy(tenant="default", issuer=ISSUER, refresh_token_lifetime=timedelta(minutes=10)))
    pushed = await house.agent.push()
    done = await house.agent.authorize(pushed, username="alice", password=PASSWORD)
    house.clock.advance(59)
    tokens = await house.agent.redeem(done, pushed)
    house.clock.advance(599)
    assert (await house.agent.refresh(value_of(tokens))).access_token


@pytest.mark.attack("REF-11")
@pytest.mark.parametrize(
    "change",
    [
        str.swapcase,
        lambda value: value[:-1] + ("A" if value[-1] != "A" else "B"),
        lambda value: value + "\n",
        lambda value: value * 1000,
    ],
)
async def test_a_refresh_token_that_is_not_exactly_it_is_unknown(house: House, tokens: Tokens, change: Any) -> None:
    answer = await refused(house, change(value_of(tokens)))
    assert answer == (400, "invalid_grant", "unknown refresh token")


@pytest.mark.attack("REF-10")
async def test_no_other_string_of_ours_is_a_refresh_token(house: House, tokens: Tokens) -> None:
    pushed = await house.agent.push()
    done = await house.agent.authorize(pushed, username="alice", password=PASSWORD)
    for other in (tokens.access_token, done.code or "", pushed.request_uri):
        assert await refused(house, other) == (400, "invalid_grant", "unknown refresh token")
    (session,) = (found for found in house.store.handles_of(HandleKind.SESSION))
    assert digest_of(next(iter(house.agent.browser.cookies[ISSUER].values()))) == session.digest


async def test_a_refresh_without_a_token_says_what_is_missing(house: House) -> None:
    assert await refused(house, "") == (400, "invalid_request", "refresh_token is missing")


@pytest.mark.attack("REF-12")
async def test_what_nobody_knows_is_ignored(house: House, tokens: Tokens) -> None:
    await house.agent.refresh(value_of(tokens), client_session_host="https://evil.example", session_state="x")
    assert not [claim for claim in house.signer.signed[-1][1].values() if "evil" in str(claim)]


async def test_a_token_for_the_other_resource_of_a_grant_has_that_ones_scope(house: House) -> None:
    house.resource(SHOP, scopes={"orders:read": "See your orders"}, refresh_tokens=True)
    house.change_client(scope=frozenset({"accounts:read", "orders:read"}))
    with house.agent.lying(form={"resource": [RESOURCE, SHOP], "scope": "accounts:read orders:read"}):
        pushed = await house.agent.push()
    done = await house.agent.authorize(pushed, username="alice", password=PASSWORD)
    tokens = await house.agent.redeem(done, pushed, resource=RESOURCE)
    assert tokens.scope == "accounts:read"
    assert (await house.agent.refresh(value_of(tokens), resource=SHOP)).scope == "orders:read"
    assert (await refused(house, value_of(tokens)))[:2] == (400, "invalid_target")


async def test_a_refresh_token_is_kept_as_a_digest_and_bound_to_its_family(house: House, tokens: Tokens) -> None:
    (kept,) = house.store.handles_of(HandleKind.REFRESH_TOKEN)
    assert kept.digest == digest_of(value_of(tokens))
    assert value_of(tokens).encode() not in kept.payload
    assert kept.authorization_id in house.store.rows.authorizations
    assert kept.usable_until - house.clock.now() == 14 * 86_400
    assert kept.delete_after - house.clock.now() == 30 * 86_400
