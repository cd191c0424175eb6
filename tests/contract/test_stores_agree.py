"""Whatever is decided in whatever order, the store in memory and SQLite come to the same end."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fapi_as.adapters.keys import Sealing
from fapi_as.adapters.store import Database, Operators, migrate
from fapi_as.ports import Store
from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from fapi_as.protocol.decisions import Decision, Issue, Refuse
from fapi_as.protocol.effects import (
    Attempt,
    Effect,
    Forget,
    GiveBack,
    HandleKind,
    Keep,
    Open,
    Record,
    Require,
    Required,
    Revoke,
    Spend,
    TakeOnce,
    Touch,
)
from fapi_as.protocol.errors import InvalidGrant
from tests.support.memory_store import MemoryStore
from tests.support.store_harness import NOW, STAMP

KINDS = st.sampled_from([HandleKind.CODE, HandleKind.SESSION])
DIGESTS = st.sampled_from([b"1" * 32, b"2" * 32])
FAMILIES = st.sampled_from(["a", "b"])
TIMES = st.integers(NOW - 5, NOW + 5)
EFFECTS: st.SearchStrategy[Effect] = st.one_of(
    st.builds(TakeOnce, namespace=st.sampled_from(["x", "y"]), digest=DIGESTS, until=TIMES),
    st.builds(Spend, kind=KINDS, digest=DIGESTS),
    st.builds(
        Keep,
        kind=KINDS,
        digest=DIGESTS,
        payload=st.binary(max_size=3),
        usable_until=TIMES,
        delete_after=TIMES,
        authorization_id=st.none() | FAMILIES,
    ),
    st.builds(Touch, kind=KINDS, digest=DIGESTS, usable_until=TIMES, delete_after=TIMES),
    st.builds(
        Open,
        authorization_id=FAMILIES,
        client_id=st.just("agent"),
        subject=st.just("alice"),
        resources=st.just(()),
        scope=st.just(()),
        expires_at=TIMES,
    ),
    st.builds(Revoke, authorization_id=FAMILIES),
    st.builds(Attempt, bucket=st.sampled_from([b"x", b"y"]), limit=st.integers(1, 3), window_seconds=st.integers(1, 5)),
    st.builds(Forget, bucket=st.sampled_from([b"x", b"y"])),
    st.builds(GiveBack, bucket=st.sampled_from([b"x", b"y"])),
    st.builds(Require, required=st.just(Required.AUTHORIZATION), identifier=FAMILIES),
    st.builds(
        Record, fact=st.builds(AuditFact, event=st.just(AuditEvent.TOKEN_ISSUED), detail=st.sampled_from(["1", "2"]))
    ),
)
LAST = Refuse(error=InvalidGrant("lost"))


@dataclass(frozen=True, slots=True)
class Step:
    """One decision at one time; a loss means a refusal with effects, and their loss means the last one."""

    at: int
    effects: tuple[Effect, ...]
    refusal: tuple[Effect, ...]

    def decision(self) -> Decision:
        refusal = Refuse(error=InvalidGrant("first"), effects=self.refusal, lost=dict.fromkeys(self.refusal, LAST))
        return Issue(effects=self.effects, lost=dict.fromkeys(self.effects, refusal))


STEPS = st.lists(
    st.builds(
        Step,
        at=TIMES,
        effects=st.lists(EFFECTS, max_size=5).map(tuple),
        refusal=st.lists(EFFECTS, max_size=2).map(tuple),
    ),
    max_size=12,
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/store.db"
    migrate(url)
    return url


@pytest.fixture
def tenants() -> Iterator[int]:
    return itertools.count()


async def told(store: Store, steps: list[Step]) -> list[str]:
    """What came true, step by step, and then every handle."""
    outcomes = [await store.commit(step.decision(), replace(STAMP, at=step.at)) for step in steps]
    words = [outcome.error.detail if isinstance(outcome, Refuse) else "issued" for outcome in outcomes]
    for kind, digest in itertools.product([HandleKind.CODE, HandleKind.SESSION], [b"1" * 32, b"2" * 32]):
        words.append(repr(await store.reading.handle(kind, digest)))
    return words


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_the_two_stores_agree(url: str, tenants: Iterator[int], steps: list[Step]) -> None:
    tenant = f"tenant {next(tenants)}"  # a fresh one per example: the file stays
    memory = MemoryStore()

    async def judge() -> tuple[list[str], list[str]]:
        database = Database.open(url, sealing=Sealing(b"s" * 32))
        try:
            return await told(memory, steps), await told(database.store(tenant), steps)
        finally:
            await database.close()

    expected, found = asyncio.run(judge())
    assert found == expected
    facts = Operators.open(url, tenant).audit(limit=1000)
    assert [(row.fact, row.stamp) for row in facts] == [(written.fact, written.stamp) for written in memory.written]
