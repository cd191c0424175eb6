"""Whatever is registered, replaced, used and removed in whatever order, the two stores come to the same end."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fapi_as.adapters.keys import Sealing
from fapi_as.adapters.store import Approvals, Database, Operators, migrate
from fapi_as.ports import Store
from fapi_as.protocol.authority_registration import parse_authority
from fapi_as.protocol.effects import (
    Effect,
    MarkUsed,
    Open,
    Register,
    ReplaceRegistration,
    Require,
    Required,
    SpendInitialToken,
    Unregister,
    UseRegistrationToken,
)
from fapi_as.protocol.registration import InitialAccessToken
from fapi_as.protocol.registration_policy import parse_policy
from tests.contract.test_stores_agree import Step
from tests.support.memory_store import MemoryStore
from tests.support.store_harness import AUTHORITY, METADATA, NOW, POLICY, STAMP, authority_file

CLIENTS = st.sampled_from(["a", "b", "c"])
TOKENS = st.sampled_from([b"1" * 32, b"2" * 32, b"3" * 32])
TIMES = st.integers(NOW - 5, NOW + 5)
APPROVERS = st.sampled_from([AUTHORITY, "token:one"])
SOFTWARE = st.none() | st.just("software")
STATEMENTS = st.none() | st.just("a.software.statement")
REGISTRATIONS = st.sampled_from([json.dumps(METADATA), json.dumps(METADATA | {"client_name": "Renamed"})])
EFFECTS: st.SearchStrategy[Effect] = st.one_of(
    st.builds(
        Register,
        client_id=CLIENTS,
        registration=REGISTRATIONS,
        approver=APPROVERS,
        software_id=SOFTWARE,
        software_limit=st.integers(1, 2),
        unfinished_before=TIMES,
        statement=STATEMENTS,
        statement_jti=STATEMENTS,
        token_digest=TOKENS,
        token_jkt=st.none() | st.just("thumbprint"),
        expires_at=TIMES,
    ),
    st.builds(
        ReplaceRegistration,
        client_id=CLIENTS,
        token_digest=TOKENS,
        new_token_digest=TOKENS,
        registration=REGISTRATIONS,
        statement=STATEMENTS,
        statement_jti=STATEMENTS,
    ),
    st.builds(UseRegistrationToken, client_id=CLIENTS, token_digest=TOKENS),
    st.builds(Unregister, client_id=CLIENTS, token_digest=TOKENS),
    st.builds(MarkUsed, client_id=CLIENTS, expires_at=TIMES),
    st.builds(SpendInitialToken, approver=APPROVERS),
    st.builds(Require, required=st.just(Required.CLIENT), identifier=CLIENTS, version=st.none() | st.integers(2, 5)),
    st.builds(
        Require, required=st.just(Required.APPROVER), identifier=APPROVERS, version=st.none() | st.integers(1, 2)
    ),
    st.builds(Require, required=st.just(Required.AUTHORIZATION), identifier=CLIENTS),
    st.builds(
        lambda client_id: Open(
            authorization_id=client_id,
            client_id=client_id,
            subject="alice",
            resources=(),
            scope=(),
            expires_at=NOW + 60,
        ),
        CLIENTS,
    ),
)
STEPS = st.lists(
    st.builds(
        Step,
        at=TIMES,
        effects=st.lists(EFFECTS, max_size=4).map(tuple),
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


def approve(url: str, tenant: str, memory: MemoryStore) -> None:
    """The same authority and the same initial access token, at the same versions."""
    approvals = Approvals.open(url, tenant)
    first = approvals.add_authority(authority_file(), STAMP)
    second = approvals.add_initial_token("one", b"t" * 32, {"policy": POLICY}, STAMP, uses=3, expires_at=NOW + 3)
    memory.approvers.put_authority(parse_authority(authority_file(), version=first.version))
    memory.approvers.put_initial_token(
        b"t" * 32,
        InitialAccessToken(
            approver=second.name,
            version=second.version,
            policy=parse_policy(POLICY),
            jkt=None,
            expires_at=NOW + 3,
            uses_left=3,
        ),
    )
    memory.rows.registrations.epoch = second.version


async def told(store: Store, steps: list[Step]) -> list[object]:
    """What came true, step by step, and then every client and what is left of the token."""
    words: list[object] = []
    for step in steps:
        decision = step.decision()
        outcome = await store.commit(decision, replace(STAMP, at=step.at))
        words.append("issued" if outcome is decision else outcome.error.detail)  # type: ignore[union-attr]
        await asyncio.sleep(0)  # the next turn of the loop, in which a change is seen
    for client_id in ("a", "b", "c"):
        words.append(await store.reading.client(client_id))
        words.append(await store.reading.registration(client_id))
    words.append(await store.reading.initial_access_token(b"t" * 32))
    return words


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_the_two_stores_agree_about_registrations(url: str, tenants: Iterator[int], steps: list[Step]) -> None:
    tenant = f"tenant {next(tenants)}"  # a fresh one per example: the file stays
    memory = MemoryStore()
    approve(url, tenant, memory)

    async def judge() -> tuple[list[object], list[object]]:
        database = Database.open(url, sealing=Sealing(b"s" * 32))
        try:
            return await told(memory, steps), await told(database.store(tenant), steps)
        finally:
            await database.close()

    expected, found = asyncio.run(judge())
    assert found == expected
    facts = [row for row in Operators.open(url, tenant).audit(limit=1000) if ".changed" not in row.fact.event.value]
    assert [(row.fact, row.stamp) for row in facts] == [(written.fact, written.stamp) for written in memory.written]
