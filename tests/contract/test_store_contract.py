"""What every store promises the rules, asked of the one in memory and of SQLite alike."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from fapi_as.protocol.decisions import Decision, Issue, Refuse, UndeclaredLoss
from fapi_as.protocol.effects import (
    Attempt,
    Effect,
    HandleKind,
    Keep,
    Record,
    Require,
    Required,
    Revoke,
    Spend,
    TakeOnce,
    Touch,
)
from fapi_as.protocol.errors import InvalidClient, InvalidGrant
from fapi_as.protocol.handles import digest_of
from tests.support.store_harness import NOW, OPEN, STAMP, Harness, issue, won

CODE = digest_of("a code")
KEEP = Keep(
    kind=HandleKind.CODE,
    digest=CODE,
    payload=b'{"scope":"accounts:read"}',
    usable_until=NOW + 60,
    delete_after=NOW + 120,
    client_id="agent",
    subject="alice",
    authorization_id="family",
)
SPEND = Spend(kind=HandleKind.CODE, digest=CODE)
TAKE = TakeOnce(namespace="dpop", digest=b"j" * 32, until=NOW + 60)
ISSUED = Record(fact=AuditFact(event=AuditEvent.TOKEN_ISSUED, client_id="agent", jkt="thumbprint"))
REPLAYED = Record(
    fact=AuditFact(event=AuditEvent.REFUSED, error="invalid_grant", detail="code replayed", client_id="agent")
)


# --- handles


async def test_a_kept_handle_is_read_back_as_it_was_kept(harness: Harness) -> None:
    assert await won(harness, OPEN, KEEP)
    kept = await harness.store().reading.handle(HandleKind.CODE, CODE)
    assert kept is not None
    assert (kept.kind, kept.digest, kept.payload) == (HandleKind.CODE, CODE, KEEP.payload)
    assert (kept.client_id, kept.subject, kept.authorization_id) == ("agent", "alice", "family")
    assert (kept.usable_until, kept.spent, kept.revoked) == (NOW + 60, False, False)


async def test_looking_does_not_spend(harness: Harness) -> None:
    assert await won(harness, OPEN, KEEP)
    for _ in range(3):
        kept = await harness.store().reading.handle(HandleKind.CODE, CODE)
        assert kept is not None
        assert not kept.spent
    assert await won(harness, SPEND)


async def test_a_handle_of_another_kind_or_digest_is_unknown(harness: Harness) -> None:
    assert await won(harness, OPEN, KEEP)
    assert await harness.store().reading.handle(HandleKind.REFRESH_TOKEN, CODE) is None
    assert await harness.store().reading.handle(HandleKind.CODE, digest_of("another")) is None
    assert not await won(harness, Spend(kind=HandleKind.REFRESH_TOKEN, digest=CODE))
    assert not await won(harness, Spend(kind=HandleKind.CODE, digest=digest_of("another")))


async def test_a_spent_handle_is_still_seen_and_never_spent_again(harness: Harness) -> None:
    assert await won(harness, OPEN, KEEP, SPEND)
    kept = await harness.store().reading.handle(HandleKind.CODE, CODE)
    assert kept is not None
    assert kept.spent
    assert not await won(harness, SPEND)


async def test_a_handle_without_a_family_is_never_revoked(harness: Harness) -> None:
    pushed = replace(KEEP, kind=HandleKind.REQUEST_URI, authorization_id=None, subject=None)
    assert await won(harness, pushed)
    kept = await harness.store().reading.handle(HandleKind.REQUEST_URI, CODE)
    assert kept is not None
    assert (kept.subject, kept.authorization_id, kept.revoked) == (None, None, False)


async def test_the_same_handle_is_not_kept_twice(harness: Harness) -> None:
    assert await won(harness, OPEN, KEEP)
    assert not await won(harness, replace(KEEP, payload=b"another"))
    kept = await harness.store().reading.handle(HandleKind.CODE, CODE)
    assert kept is not None
    assert kept.payload == KEEP.payload


async def test_touch_moves_the_end_of_an_unspent_handle_only(harness: Harness) -> None:
    touch = Touch(kind=HandleKind.CODE, digest=CODE, usable_until=NOW + 600, delete_after=NOW + 700)
    assert not await won(harness, touch)
    assert await won(harness, OPEN, KEEP, touch)
    kept = await harness.store().reading.handle(HandleKind.CODE, CODE)
    assert kept is not None
    assert kept.usable_until == NOW + 600
    assert await won(harness, SPEND)
    assert not await won(harness, touch)


# --- single use


async def test_what_is_taken_once_is_free_again_only_after_its_time(harness: Harness) -> None:
    assert await won(harness, TAKE)
    assert not await won(harness, TAKE, at=NOW + 59)
    assert not await won(harness, TAKE, at=NOW + 60)
    assert await won(harness, replace(TAKE, until=NOW + 200), at=NOW + 61)
    assert not await won(harness, TAKE, at=NOW + 200)


async def test_namespaces_do_not_share_what_is_taken(harness: Harness) -> None:
    assert await won(harness, TAKE, replace(TAKE, namespace="client_assertion"))


@pytest.mark.parametrize("effect", [SPEND, TAKE], ids=["spend", "take once"])
async def test_of_twenty_at_once_exactly_one_wins(harness: Harness, effect: Effect) -> None:
    assert await won(harness, OPEN, KEEP)
    store = harness.store()
    outcomes = await asyncio.gather(*(store.commit(issue(effect, ISSUED, at=effect), STAMP) for _ in range(20)))
    assert sum(isinstance(outcome, Issue) for outcome in outcomes) == 1
    assert [fact for fact, _ in harness.facts()] == [ISSUED.fact]


# --- losing


async def test_a_loss_undoes_what_the_decision_did_before_and_commits_the_refusal(harness: Harness) -> None:
    assert await won(harness, OPEN, KEEP, SPEND)
    refresh = replace(KEEP, kind=HandleKind.REFRESH_TOKEN, digest=digest_of("refresh"))
    refusal = Refuse(error=InvalidGrant("replay"), effects=(Revoke(authorization_id="family"), REPLAYED))
    decision = Issue(effects=(TAKE, refresh, SPEND, ISSUED), lost={SPEND: refusal})
    outcome = await harness.store().commit(decision, STAMP)
    assert outcome is refusal
    reading = harness.store().reading
    assert await reading.handle(HandleKind.REFRESH_TOKEN, refresh.digest) is None
    kept = await reading.handle(HandleKind.CODE, CODE)
    assert kept is not None
    assert kept.revoked
    assert [fact for fact, _ in harness.facts()] == [REPLAYED.fact]
    assert await won(harness, TAKE)  # it was given back


async def test_a_refusal_commits_its_effects_and_may_itself_lose(harness: Harness) -> None:
    replayed = Refuse(error=InvalidClient("assertion replayed"), effects=(REPLAYED,))
    revoking = Refuse(
        error=InvalidGrant("code replayed"), effects=(TAKE, Revoke(authorization_id="family")), lost={TAKE: replayed}
    )
    assert await won(harness, OPEN, KEEP, TAKE)
    outcome = await harness.store().commit(issue(Spend(kind=HandleKind.CODE, digest=b"?"), lost=revoking), STAMP)
    assert outcome is replayed
    kept = await harness.store().reading.handle(HandleKind.CODE, CODE)
    assert kept is not None
    assert not kept.revoked  # a copied request changes nothing
    assert [fact for fact, _ in harness.facts()] == [REPLAYED.fact]


async def test_a_loss_that_no_refusal_is_named_for_raises_and_changes_nothing(harness: Harness) -> None:
    with pytest.raises(UndeclaredLoss):
        await harness.store().commit(Issue(effects=(TAKE, ISSUED, SPEND)), STAMP)
    assert harness.facts() == ()
    assert await won(harness, TAKE)


async def test_a_decision_without_effects_comes_true(harness: Harness) -> None:
    refusal = Refuse(error=InvalidGrant("nothing to do"))
    assert await harness.store().commit(refusal, STAMP) is refusal


# --- families


async def test_revoking_an_authorization_ends_every_handle_of_its_family_and_no_other(harness: Harness) -> None:
    refresh = replace(KEEP, kind=HandleKind.REFRESH_TOKEN)
    other = replace(KEEP, digest=digest_of("other"), authorization_id="other family")
    assert await won(harness, OPEN, KEEP, refresh, replace(OPEN, authorization_id="other family"), other)
    assert await won(harness, Revoke(authorization_id="family"))
    reading = harness.store().reading
    assert [
        kept is not None and kept.revoked
        for kept in (
            await reading.handle(HandleKind.CODE, CODE),
            await reading.handle(HandleKind.REFRESH_TOKEN, CODE),
            await reading.handle(HandleKind.CODE, other.digest),
        )
    ] == [True, True, False]
    assert not await won(harness, SPEND)
    assert not await won(
        harness, Touch(kind=HandleKind.CODE, digest=CODE, usable_until=NOW + 99, delete_after=NOW + 99)
    )


async def test_a_handle_kept_after_the_end_of_its_family_is_revoked_from_the_start(harness: Harness) -> None:
    assert await won(harness, OPEN, Revoke(authorization_id="family"), KEEP)
    kept = await harness.store().reading.handle(HandleKind.CODE, CODE)
    assert kept is not None
    assert kept.revoked


async def test_a_handle_of_a_family_that_was_never_opened_counts_as_revoked(harness: Harness) -> None:
    assert await won(harness, KEEP)
    kept = await harness.store().reading.handle(HandleKind.CODE, CODE)
    assert kept is not None
    assert kept.revoked


async def test_revoking_twice_or_what_is_unknown_is_no_loss(harness: Harness) -> None:
    assert await won(harness, Revoke(authorization_id="unknown"))
    assert await won(harness, OPEN, Revoke(authorization_id="family"), Revoke(authorization_id="family"))


async def test_an_authorization_is_opened_once(harness: Harness) -> None:
    assert await won(harness, OPEN)
    assert not await won(harness, replace(OPEN, client_id="thief"))


# --- tenants


async def test_tenants_neither_see_nor_spend_nor_count_each_others_rows(harness: Harness) -> None:
    harness.add_client("agent")
    harness.add_user("alice", "subject-1")
    harness.add_resource("https://bank.example/mcp")
    attempt = Attempt(bucket=b"alice", limit=1, window_seconds=900)
    assert await won(harness, OPEN, KEEP, TAKE, attempt, ISSUED)
    other = harness.store("other")
    assert await other.reading.handle(HandleKind.CODE, CODE) is None
    assert await other.reading.client("agent") is None
    assert await other.reading.user("subject-1") is None
    assert await other.reading.user_named("alice") is None
    assert await other.reading.resources() == ()

    async def outcome(*effects: Effect) -> Decision:
        return await other.commit(issue(*effects), STAMP)

    assert isinstance(await outcome(SPEND), Refuse)
    assert isinstance(await outcome(Require(required=Required.CLIENT, identifier="agent")), Refuse)
    assert isinstance(await outcome(Require(required=Required.AUTHORIZATION, identifier="family")), Refuse)
    assert isinstance(await outcome(Revoke(authorization_id="family")), Issue)
    assert isinstance(await outcome(TAKE, attempt, OPEN, KEEP), Issue)  # the same names, and nobody's way
    kept = await harness.store().reading.handle(HandleKind.CODE, CODE)
    assert kept is not None
    assert not kept.revoked
    assert [fact for fact, _ in harness.facts()] == [ISSUED.fact]


async def test_a_caller_that_goes_away_leaves_no_transaction_open(harness: Harness) -> None:
    store = harness.store()
    for number in range(300):
        take = replace(TAKE, digest=number.to_bytes(32))
        caller = asyncio.ensure_future(store.commit(issue(take, ISSUED, at=take), STAMP))
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
    async with asyncio.timeout(1):
        assert await won(harness, TAKE)
