"""What every store promises the rules about registrations, attempts and evidence."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from fapi_as.protocol.decisions import Issue, Refuse
from fapi_as.protocol.effects import Attempt, Forget, GiveBack, Record, Require, Required, Revoke
from fapi_as.protocol.errors import TooManyRequests
from tests.support.store_harness import NOW, OPEN, STAMP, Harness, issue, won

# --- what load saw must still be true


async def test_an_authorization_is_required_live_until_it_expires_or_ends(harness: Harness) -> None:
    live = Require(required=Required.AUTHORIZATION, identifier="family")
    assert not await won(harness, live)
    assert await won(harness, OPEN, live)
    assert await won(harness, live, at=NOW + 3599)
    assert not await won(harness, live, at=NOW + 3600)
    assert not await won(harness, replace(live, version=1))
    assert await won(harness, Revoke(authorization_id="family"))
    assert not await won(harness, live)


async def test_an_authorization_is_found_by_its_name_until_it_expires_or_ends(harness: Harness) -> None:
    reading = harness.store().reading
    assert await reading.authorization("family", NOW) is None
    assert await won(harness, OPEN)
    found = await reading.authorization("family", NOW + 3599)
    assert found is not None
    assert (found.client_id, found.subject) == (OPEN.client_id, OPEN.subject)
    assert await harness.store("other").reading.authorization("family", NOW) is None
    assert await reading.authorization("family", NOW + 3600) is None
    assert await won(harness, Revoke(authorization_id="family"))
    assert await reading.authorization("family", NOW) is None


async def test_a_client_is_allowed_something_until_the_last_of_it_ends(harness: Harness) -> None:
    reading = harness.store().reading
    client_id = OPEN.client_id
    assert not await reading.is_allowed_something(client_id, NOW)
    assert await won(harness, OPEN, replace(OPEN, authorization_id="longer", expires_at=NOW + 7200))
    assert await reading.is_allowed_something(client_id, NOW + 7199)
    assert not await reading.is_allowed_something(client_id, NOW + 7200)
    assert not await reading.is_allowed_something("another", NOW)
    assert not await harness.store("other").reading.is_allowed_something(client_id, NOW)
    assert await won(harness, Revoke(authorization_id="longer"))
    assert await reading.is_allowed_something(client_id, NOW + 3599)
    assert await won(harness, Revoke(authorization_id="family"))
    assert not await reading.is_allowed_something(client_id, NOW)


async def test_a_client_is_required_live_and_at_its_version(harness: Harness) -> None:
    live = Require(required=Required.CLIENT, identifier="agent")
    assert not await won(harness, live)
    version = harness.add_client("agent")
    assert await won(harness, live)
    assert await won(harness, replace(live, version=version))
    assert not await won(harness, replace(live, version=version + 1))
    harness.disable_client("agent")
    assert not await won(harness, live)
    assert await harness.store().reading.client("agent") is None


async def test_a_user_is_required_live_and_with_the_password_that_load_saw(harness: Harness) -> None:
    version = harness.add_user("alice", "subject-1")
    live = Require(required=Required.USER, identifier="subject-1", version=version)
    assert await won(harness, live)
    harness.change_password("alice")
    assert not await won(harness, live)
    changed = await harness.store().reading.user("subject-1")
    assert changed is not None
    assert await won(harness, replace(live, version=changed.version))
    harness.disable_user("alice")
    assert not await won(harness, replace(live, version=None))


async def test_a_resource_is_required_live_and_at_its_version(harness: Harness) -> None:
    version = harness.add_resource("https://bank.example/mcp")
    live = Require(required=Required.RESOURCE, identifier="https://bank.example/mcp", version=version)
    assert await won(harness, live)
    assert not await won(harness, replace(live, version=version + 1))
    harness.remove_resource("https://bank.example/mcp")
    assert not await won(harness, replace(live, version=None))


# --- registrations


async def test_clients_are_read_with_their_version_and_changes_are_seen_at_once(harness: Harness) -> None:
    reading = harness.store().reading
    assert await reading.client("agent") is None
    version = harness.add_client("agent")
    client = await reading.client("agent")
    assert client is not None
    assert (client.client_id, client.version, client.client_name) == ("agent", version, "Agent")
    assert await reading.client("agent") == client
    harness.disable_client("agent")
    await asyncio.sleep(0)  # whoever asks in the next turn of the loop sees it
    assert await reading.client("agent") is None


async def test_resources_are_read_alone_and_all_together(harness: Harness) -> None:
    reading = harness.store().reading
    assert await reading.resources() == ()
    version = harness.add_resource("https://b.example/mcp")
    harness.add_resource("https://a.example/mcp")
    await asyncio.sleep(0)  # whoever asks in the next turn of the loop sees it
    found = await reading.resource("https://b.example/mcp")
    assert found is not None
    assert (found.version, found.scopes) == (version, {"accounts:read": "See your balances"})
    assert [resource.resource for resource in await reading.resources()] == [
        "https://a.example/mcp",
        "https://b.example/mcp",
    ]
    harness.remove_resource("https://b.example/mcp")
    await asyncio.sleep(0)  # whoever asks in the next turn of the loop sees it
    assert await reading.resource("https://b.example/mcp") is None


async def test_a_disabled_user_is_found_by_name_and_not_by_subject(harness: Harness) -> None:
    reading = harness.store().reading
    assert await reading.user_named("alice") is None
    harness.add_user("alice", "subject-1")
    found = await reading.user_named("alice")
    assert found is not None
    assert (found.subject, found.disabled, found.password_hash) == ("subject-1", False, "hash")
    assert await reading.user("subject-1") == found
    harness.disable_user("alice")
    disabled = await reading.user_named("alice")
    assert disabled is not None
    assert disabled.disabled
    assert disabled.version != found.version
    assert await reading.user("subject-1") is None


async def test_names_that_no_database_can_hold_are_unknown(harness: Harness) -> None:
    reading = harness.store().reading
    for name in ("\ud800", "nul\0", ""):
        assert await reading.client(name) is None
        assert await reading.resource(name) is None
        assert await reading.user_named(name) is None
        assert await reading.user(name) is None


# --- attempts


async def test_as_many_attempts_are_counted_as_the_limit_allows_within_the_window(harness: Harness) -> None:
    attempt = Attempt(bucket=b"alice", limit=5, window_seconds=900)
    too_many = issue(attempt, lost=Refuse(error=TooManyRequests("alice")))
    store = harness.store()
    for second in range(5):
        assert isinstance(await store.commit(too_many, replace(STAMP, at=NOW + second)), Issue)
    assert isinstance(await store.commit(too_many, replace(STAMP, at=NOW + 899)), Refuse)
    # the window slides: when the first attempt leaves it there is room for one, not for five
    assert await won(harness, attempt, at=NOW + 900)
    assert not await won(harness, attempt, at=NOW + 900)
    assert await won(harness, replace(attempt, bucket=b"bob"))


@pytest.mark.attack("RAC-13")
async def test_a_hundred_attempts_at_once_are_not_more_than_the_limit(harness: Harness) -> None:
    attempt = issue(Attempt(bucket=b"alice", limit=5, window_seconds=900))
    store = harness.store()
    outcomes = await asyncio.gather(*(store.commit(attempt, STAMP) for _ in range(100)))
    assert sum(isinstance(outcome, Issue) for outcome in outcomes) == 5


async def test_room_follows_the_order_of_attempts_whatever_the_clock_says(harness: Harness) -> None:
    attempt = Attempt(bucket=b"alice", limit=2, window_seconds=900)
    assert await won(harness, attempt, at=NOW)
    assert await won(harness, attempt, at=NOW - 120)  # the clock was set back
    assert not await won(harness, attempt, at=NOW - 120)
    assert not await won(harness, attempt, at=NOW + 899)
    assert await won(harness, attempt, at=NOW + 900)
    assert await won(harness, attempt, at=NOW + 900)
    assert not await won(harness, attempt, at=NOW + 900)


@pytest.mark.attack("TIM-02")
@pytest.mark.parametrize("ahead", [1, 3])
async def test_what_was_counted_by_a_clock_that_ran_ahead_takes_no_room_until_then(
    harness: Harness, ahead: int
) -> None:
    attempt = Attempt(bucket=b"alice", limit=3, window_seconds=900)
    for _ in range(ahead):
        assert await won(harness, attempt, at=NOW + 365 * 24 * 3600)
    for minutes in (0, 20, 40):  # the clock is right again: as many as the limit in each window, and no more
        at = NOW + 60 * minutes
        assert [await won(harness, attempt, at=at) for _ in range(4)] == [True, True, True, False]


async def test_attempts_in_one_bucket_make_and_take_no_room_in_another(harness: Harness) -> None:
    alice, bob = (Attempt(bucket=bucket, limit=2, window_seconds=900) for bucket in (b"alice", b"bob"))
    for _ in range(2):
        assert await won(harness, bob, at=NOW - 2000)
        assert await won(harness, alice)
    assert await won(harness, bob)
    assert await won(harness, bob)
    assert not await won(harness, bob)
    assert not await won(harness, alice)


async def test_what_is_given_back_is_one_attempt_of_its_bucket_and_the_rest_counts_on(harness: Harness) -> None:
    alice, bob = (Attempt(bucket=bucket, limit=3, window_seconds=900) for bucket in (b"alice", b"bob"))
    for at in (NOW, NOW + 1, NOW + 2):
        assert await won(harness, alice, at=at)
        assert await won(harness, bob, at=at)
    assert await won(harness, GiveBack(bucket=b"alice"), at=NOW + 3)
    assert not await won(harness, bob, at=NOW + 3)
    assert await won(harness, alice, at=NOW + 4)
    assert not await won(harness, alice, at=NOW + 5)
    assert await won(harness, alice, at=NOW + 900)  # the first is out of the window, and no gap makes more room
    assert not await won(harness, alice, at=NOW + 900)
    assert await won(harness, GiveBack(bucket=b"nobody"))


async def test_a_success_forgets_the_attempts_of_its_bucket(harness: Harness) -> None:
    attempt = Attempt(bucket=b"alice", limit=1, window_seconds=900)
    assert await won(harness, attempt)
    assert not await won(harness, attempt)
    assert await won(harness, Forget(bucket=b"alice"), attempt)
    assert await won(harness, Forget(bucket=b"nobody"))


# --- evidence


async def test_a_fact_is_written_with_its_stamp(harness: Harness) -> None:
    fact = AuditFact(
        event=AuditEvent.REFUSED,
        error="invalid_grant",
        detail="verifier",
        client_id="agent",
        subject="alice",
        authorization_id="family",
        resource="https://bank.example/mcp",
        scope="accounts:read",
        jkt="thumbprint",
        x5t="of a certificate",
    )
    assert await won(harness, Record(fact=fact))
    assert harness.facts() == ((fact, STAMP),)


async def test_a_fact_with_text_that_no_database_can_hold_is_written_all_the_same(harness: Harness) -> None:
    fact = AuditFact(event=AuditEvent.REFUSED, error="invalid_client", detail="kid \ud800 and nul \0")
    assert await won(harness, Record(fact=fact))
    ((written, _),) = harness.facts()
    assert written.error == "invalid_client"
    assert written.detail is not None
    assert written.detail.startswith("kid ")
