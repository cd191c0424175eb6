"""What every store promises of whoever approves clients, and of clients that nobody approved any more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fapi_as.protocol.effects import (
    Require,
    Required,
    SpendInitialToken,
    Unregister,
    UseRegistrationToken,
)
from tests.support.store_harness import (
    AUTHORITY,
    FIRST,
    NOW,
    OPEN,
    REGISTER,
    REPLACE,
    SECOND,
    STAMP,
    THIRD,
    Harness,
    client,
    counting,
    issue,
    kept,
    stands,
    won,
)

DOCUMENT = "https://agent.example/client.json"
REGISTERED = Require(required=Required.CLIENT, identifier="agent")
APPROVED = Require(required=Required.APPROVER, identifier=AUTHORITY)
TOKEN_APPROVER = "token:one"
TOKEN_DIGEST = b"t" * 32


# --- who approved


async def test_what_a_client_may_do_follows_todays_policy_of_its_approver(harness: Harness) -> None:
    first = harness.put_authority()
    assert await won(harness, REGISTER)
    before = await client(harness)
    second = harness.put_authority(refresh_tokens=False, access_token_lifetime=30)
    assert second > first
    found = await client(harness)
    assert before is not None
    assert found is not None
    assert (found.limits.access_token_seconds, found.limits.refresh_tokens) == (30, False)
    assert not await stands(harness, before)
    assert await stands(harness, found)
    assert (await kept(harness)).client.limits == before.limits  # what was registered is not changed by it
    harness.put_authority(scope=["nothing of this"])
    assert await client(harness) is None
    harness.put_authority()
    assert await client(harness) is not None


async def test_a_suspended_authority_suspends_its_clients_and_ends_what_they_were_allowed(harness: Harness) -> None:
    version = harness.put_authority()
    harness.put_authority("https://other-authority.example")
    other = replace(REGISTER, client_id="other", token_digest=SECOND, approver="https://other-authority.example")
    assert await won(harness, REGISTER, other, OPEN, replace(OPEN, authorization_id="b", client_id="other"))
    assert await won(harness, replace(APPROVED, version=version))
    harness.suspend_authority()
    assert await client(harness) is None
    assert await harness.store().reading.registration("agent") is None
    assert await harness.store().reading.authority(AUTHORITY) is None
    assert not await won(harness, APPROVED)
    assert not await won(harness, replace(APPROVED, version=version))
    assert not await won(harness, Require(required=Required.AUTHORIZATION, identifier="family"))
    assert await client(harness, "other") is not None
    assert await won(harness, Require(required=Required.AUTHORIZATION, identifier="b"))


@pytest.mark.parametrize("kind", ["statement", "software"])
async def test_what_is_withdrawn_suspends_its_clients_and_nobody_elses(harness: Harness, kind: str) -> None:
    harness.put_authority()
    harness.put_authority("https://other-authority.example")
    sibling = replace(REGISTER, client_id="sibling", token_digest=SECOND, statement_jti="jti 2", software_id="another")
    foreign = replace(
        REGISTER, client_id="foreign", token_digest=THIRD, approver="https://other-authority.example"
    )  # the same words of somebody else
    assert await won(harness, REGISTER, sibling, foreign, OPEN)
    registered = await client(harness)
    assert registered is not None
    reading = harness.store().reading
    assert not await reading.is_withdrawn(AUTHORITY, "jti 1", "software")
    if kind == "statement":
        harness.withdraw_statement("jti 1")
    else:
        harness.withdraw_software("software")
    assert await client(harness) is None
    assert await reading.registration("agent") is None
    assert not await stands(harness, registered)
    assert not await won(harness, Require(required=Required.AUTHORIZATION, identifier="family"))
    assert await client(harness, "sibling") is not None
    assert await client(harness, "foreign") is not None
    assert await reading.is_withdrawn(AUTHORITY, "jti 1", "software")
    assert await reading.is_withdrawn(AUTHORITY, "jti 1", "another") == (kind == "statement")
    assert await reading.is_withdrawn(AUTHORITY, "jti 3", "software") == (kind == "software")
    assert not await reading.is_withdrawn(AUTHORITY, "software", "jti 1")  # one is not the other
    assert not await reading.is_withdrawn("https://other-authority.example", "jti 1", "software")


async def test_an_authority_that_is_not_trusted_approves_nobody(harness: Harness) -> None:
    assert await won(harness, REGISTER)
    assert await client(harness) is None
    assert await harness.store().reading.registration("agent") is None
    assert await harness.store().reading.authority(AUTHORITY) is None
    assert not await won(harness, APPROVED)


# --- initial access tokens


async def test_an_initial_access_token_is_used_as_often_as_it_may_be(harness: Harness) -> None:
    version = harness.add_token("one", TOKEN_DIGEST, uses=2, expires_at=NOW + 60)
    reading = harness.store().reading
    spend = SpendInitialToken(approver=TOKEN_APPROVER)
    assert [await won(harness, spend) for _ in range(3)] == [True, True, False]
    found = await reading.initial_access_token(TOKEN_DIGEST)
    assert found is not None
    assert (found.approver, found.version, found.uses_left, found.expires_at) == (
        TOKEN_APPROVER,
        version,
        0,
        NOW + 60,
    )
    assert await reading.initial_access_token(b"u" * 32) is None
    assert await reading.authority(TOKEN_APPROVER) is None


async def test_an_initial_access_token_that_is_over_revoked_or_unknown_is_not_used(harness: Harness) -> None:
    harness.put_authority()
    harness.add_token("one", TOKEN_DIGEST, uses=9, expires_at=NOW + 60)
    spend = SpendInitialToken(approver=TOKEN_APPROVER)
    assert await won(harness, spend, at=NOW + 59)
    assert not await won(harness, spend, at=NOW + 60)
    assert not await won(harness, SpendInitialToken(approver="token:two"))
    assert not await won(harness, SpendInitialToken(approver=AUTHORITY))
    harness.revoke_token("one")
    assert not await won(harness, spend)
    assert await harness.store().reading.initial_access_token(TOKEN_DIGEST) is None


async def test_what_a_token_let_in_stays_when_it_is_used_up_over_or_revoked(harness: Harness) -> None:
    harness.add_token("one", TOKEN_DIGEST, uses=1, expires_at=NOW + 60)
    by_token = replace(REGISTER, approver=TOKEN_APPROVER, software_id=None, statement=None, statement_jti=None)
    assert await won(harness, by_token, SpendInitialToken(approver=TOKEN_APPROVER), OPEN)
    assert (await kept(harness)).policy is not None
    harness.revoke_token("one")
    found = await client(harness)
    assert found is not None
    assert await stands(harness, found)
    assert await won(harness, Require(required=Required.AUTHORIZATION, identifier="family"))
    assert (await kept(harness)).policy is None  # it approves nothing any more


async def test_a_use_that_comes_to_nothing_is_given_back(harness: Harness) -> None:
    harness.add_token("one", TOKEN_DIGEST, uses=1, expires_at=NOW + 60)
    assert not await won(harness, SpendInitialToken(approver=TOKEN_APPROVER), REGISTERED)
    assert await won(harness, SpendInitialToken(approver=TOKEN_APPROVER))


# --- clients that have a document


async def test_a_blocked_document_is_lost_and_what_its_client_was_allowed_has_ended(harness: Harness) -> None:
    required = Require(required=Required.DOCUMENT, identifier=DOCUMENT)
    assert await won(harness, required, replace(OPEN, client_id=DOCUMENT))
    assert not await won(harness, replace(required, version=1))  # it has no versions
    assert not await harness.store().reading.is_blocked(DOCUMENT)
    harness.block(DOCUMENT)
    assert not await won(harness, required)
    assert await harness.store().reading.is_blocked(DOCUMENT)
    assert not await won(harness, Require(required=Required.AUTHORIZATION, identifier="family"))
    assert await won(harness, replace(required, identifier=f"{DOCUMENT}/"))
    assert await client(harness, DOCUMENT) is None


# --- tenants


async def test_tenants_share_neither_registrations_nor_approvers(harness: Harness) -> None:
    harness.put_authority()
    harness.add_token("one", TOKEN_DIGEST, uses=1, expires_at=NOW + 60)
    harness.block(DOCUMENT)
    harness.withdraw_statement("jti 9")
    assert await won(harness, REGISTER)
    other = harness.store("other")
    assert await other.reading.client("agent") is None
    assert await other.reading.registration("agent") is None
    assert await other.reading.authority(AUTHORITY) is None
    assert await other.reading.initial_access_token(TOKEN_DIGEST) is None
    assert not await other.reading.is_blocked(DOCUMENT)
    assert not await other.reading.is_withdrawn(AUTHORITY, "jti 9", "software")
    for effect in (
        UseRegistrationToken(client_id="agent", token_digest=FIRST),
        REPLACE,
        Unregister(client_id="agent", token_digest=FIRST),
        SpendInitialToken(approver=TOKEN_APPROVER),
        REGISTERED,
        APPROVED,
    ):
        decision = issue(effect)
        assert await other.commit(decision, STAMP) is not decision
    limited = replace(REGISTER, software_limit=1)
    decision = issue(limited)
    assert await other.commit(decision, STAMP) is decision  # its own, of the same name
    assert await counting(harness) == {FIRST}
