"""Clients that register themselves end when nobody uses them, and not while something lives that they were allowed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from fapi_as.adapters.keys import Sealing
from fapi_as.adapters.store import Approvals, Database, Operators, client_expiry, janitor, migrate
from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.decisions import Issue, Refuse
from fapi_as.protocol.effects import Effect, MarkUsed, Open, Register, Revoke
from fapi_as.protocol.errors import InvalidClient
from tests.support.store_harness import METADATA, NOW, OPEN, REGISTER, STAMP, authority_file

GRACE = 120
DAY = 86_400


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/store.db"
    migrate(url)
    for tenant in ("default", "other"):
        Approvals.open(url, tenant).add_authority(authority_file(), STAMP)
    return url


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = Database.open(url, sealing=Sealing(b"s" * 32))
    yield database
    await database.close()


def registered(client_id: str, expires_at: int = NOW + DAY) -> Register:
    return replace(REGISTER, client_id=client_id, expires_at=expires_at, software_limit=10_000)


def allowed(client_id: str, expires_at: int, name: str = "") -> Open:
    return replace(OPEN, authorization_id=f"of {client_id}{name}", client_id=client_id, expires_at=expires_at)


async def commit(database: Database, *effects: Effect, at: int = NOW, tenant: str = "default") -> None:
    await database.store(tenant).commit(Issue(effects=effects), replace(STAMP, at=at))


async def swept(database: Database, now: int) -> None:
    """As often as the horizon needs to come there from a few minutes before."""
    for _ in range(10):
        await database.janitor.sweep("worker", now)


def client_ids(url: str, tenant: str = "default") -> list[str]:
    return [client.client_id for client in Operators.open(url, tenant).clients()]


def told(url: str, tenant: str = "default") -> list[tuple[str | None, str | None]]:
    facts = Operators.open(url, tenant).audit(limit=10_000)
    return [(row.fact.client_id, row.fact.detail) for row in facts if row.fact.event is AuditEvent.CLIENT_EXPIRED]


@pytest.mark.requirement("DCR-16", proves="holds")
async def test_a_client_that_nobody_uses_ends_and_one_that_is_used_lives_on(url: str, database: Database) -> None:
    Operators.open(url, "default").add_client(METADATA, "pinned", STAMP)
    used = MarkUsed(client_id="used", expires_at=NOW + 90 * DAY)
    await commit(database, registered("never used"), registered("used"), used)
    await commit(database, registered("never used"), tenant="other")
    await database.janitor.sweep("worker", NOW + DAY + GRACE)
    assert client_ids(url) == ["never used", "pinned", "used"]
    assert await database.janitor.sweep("worker", NOW + DAY + GRACE + 1) == 2
    assert (client_ids(url), client_ids(url, "other")) == (["pinned", "used"], [])
    assert told(url) == told(url, "other") == [("never used", "never used")]
    assert await database.store("default").reading.client("never used") is None
    assert await database.store("default").reading.client("used") is not None


async def test_a_client_that_is_not_used_any_more_ends_and_a_fact_says_so(url: str, database: Database) -> None:
    await commit(database, registered("used"), MarkUsed(client_id="used", expires_at=NOW + 90 * DAY))
    await database.janitor.sweep("worker", NOW + 90 * DAY + GRACE + 1)
    assert (client_ids(url), told(url)) == ([], [("used", "not used any more")])
    (stamp,) = [
        row.stamp for row in Operators.open(url, "default").audit() if row.fact.event is AuditEvent.CLIENT_EXPIRED
    ]
    assert (stamp.at, stamp.correlation_id) == (NOW + 90 * DAY + GRACE + 1, "worker")


async def test_a_client_ends_with_the_last_of_what_it_was_allowed(url: str, database: Database) -> None:
    await commit(
        database,
        registered("used"),
        MarkUsed(client_id="used", expires_at=NOW + 100),
        allowed("used", NOW + 300),
        allowed("used", NOW + 500, "longer"),
        allowed("used", NOW + 900, "revoked"),
        Revoke(authorization_id="of usedrevoked"),
        allowed("another", NOW + 5000),
    )
    await commit(database, allowed("used", NOW + 5000), tenant="other")
    assert await database.janitor.sweep("worker", NOW + 221) == 1
    stored = Operators.open(url, "default").client("used")
    assert stored is not None
    assert (stored.expires_at, told(url)) == (NOW + 500, [])
    await swept(database, NOW + 500 + GRACE)
    assert client_ids(url) == ["used"]
    await swept(database, NOW + 500 + GRACE + 1)
    assert (client_ids(url), told(url)) == ([], [("used", "not used any more")])


async def test_what_was_revoked_or_is_over_keeps_nobody(url: str, database: Database) -> None:
    await commit(
        database,
        registered("used", NOW + 100),
        MarkUsed(client_id="used", expires_at=NOW + 100),
        allowed("used", NOW + 90),
        allowed("used", NOW + 5000, "revoked"),
        Revoke(authorization_id="of usedrevoked"),
    )
    await database.janitor.sweep("worker", NOW + 221)
    assert client_ids(url) == []


async def test_more_than_a_batch_go_and_those_that_nobody_ever_used_first(url: str, database: Database) -> None:
    pending = tuple(registered(f"pending {number:04}") for number in range(2 * client_expiry.BATCH + 1))
    others = tuple(registered(f"used {number:04}") for number in range(client_expiry.BATCH + 1))
    marks = tuple(MarkUsed(client_id=other.client_id, expires_at=NOW) for other in others)  # over before the pending
    await commit(database, *others, *marks, *pending)
    assert await database.janitor.sweep("worker", NOW + DAY + GRACE + 1) == len(pending) + len(others)
    expected = [(one.client_id, "never used") for one in pending]
    assert told(url) == [*expected, *((one.client_id, "not used any more") for one in others)]
    assert client_ids(url) == []


async def test_a_sweep_ends_before_its_lease_and_the_next_one_goes_on(
    url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(janitor, "_CLIENT_BATCHES", 2)
    some = tuple(registered(f"pending {number:04}") for number in range(3 * client_expiry.BATCH))
    await commit(database, *some)
    assert await database.janitor.sweep("worker", NOW + DAY + GRACE + 1) == 2 * client_expiry.BATCH
    assert client_ids(url) == [one.client_id for one in some[2 * client_expiry.BATCH :]]
    await database.janitor.sweep("worker", NOW + DAY + GRACE + 1)
    assert client_ids(url) == []


async def test_one_batch_after_another_keeps_those_that_still_have_something(url: str, database: Database) -> None:
    some = tuple(registered(f"used {number:04}") for number in range(client_expiry.BATCH + 5))
    marks = tuple(MarkUsed(client_id=one.client_id, expires_at=NOW) for one in some)
    kept = tuple(allowed(one.client_id, NOW + 5000) for one in some[::2])
    await commit(database, *some, *marks, *kept)
    await database.janitor.sweep("worker", NOW + GRACE + 1)
    assert client_ids(url) == [one.client_id for one in some[::2]]
    assert await database.janitor.sweep("worker", NOW + GRACE + 1) == 0  # they have another end now


async def test_a_decision_about_a_client_that_has_ended_meanwhile_loses(url: str, database: Database) -> None:
    await commit(database, registered("agent"))
    store = database.store("default")
    client = await store.reading.client("agent")
    assert client is not None
    await database.janitor.sweep("worker", NOW + DAY + GRACE + 1)
    gone = Refuse(error=InvalidClient("the client changed"))
    decision = Issue(
        effects=(*client.requirements, MarkUsed(client_id="agent", expires_at=NOW + 90 * DAY)),
        lost=dict.fromkeys(client.requirements, gone),
    )
    assert await store.commit(decision, replace(STAMP, at=NOW + DAY)) is gone
    assert client_ids(url) == []


@pytest.mark.parametrize("ahead", [3600, 100 * DAY])
async def test_a_clock_that_runs_ahead_for_a_while_ends_nobody(url: str, database: Database, ahead: int) -> None:
    await database.janitor.sweep("worker", NOW)
    await commit(database, registered("agent"))
    for minute in range(10):
        await database.janitor.sweep("worker", NOW + ahead + 60 * minute)
    assert client_ids(url) == ["agent"]
