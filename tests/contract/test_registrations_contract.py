"""What every store promises of registrations, of their tokens and of whoever approved them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.effects import (
    Effect,
    HandleKind,
    Keep,
    MarkUsed,
    Register,
    Require,
    Required,
    Unregister,
    UseRegistrationToken,
)
from fapi_as.protocol.handles import digest_of
from tests.support.store_harness import (
    AUTHORITY,
    FIRST,
    NOW,
    OPEN,
    REGISTER,
    REPLACE,
    SECOND,
    THIRD,
    Harness,
    client,
    counting,
    kept,
    stands,
    won,
)


def use(digest: bytes) -> Effect:
    return UseRegistrationToken(client_id="agent", token_digest=digest)


# --- registering


async def test_a_registration_is_read_back_as_it_was_made(harness: Harness) -> None:
    version = harness.put_authority()
    assert await won(harness, replace(REGISTER, token_jkt="thumbprint"), at=NOW + 5)
    found = await kept(harness)
    assert (found.approver, found.registered_at, found.software_id) == (AUTHORITY, NOW + 5, "software")
    assert (found.statement, found.statement_jti) == ("a.software.statement", "jti 1")
    assert (found.token_digest, found.previous_token_digest, found.token_jkt) == (FIRST, None, "thumbprint")
    registered = await client(harness)
    assert registered is not None
    assert found.client == replace(registered, limits=found.client.limits)
    assert registered.approval is not None
    assert (registered.approval.approver, registered.approval.version) == (AUTHORITY, version)
    assert registered.last_used_at is None
    assert await stands(harness, registered)


async def test_a_name_that_is_taken_is_never_registered_again(harness: Harness) -> None:
    harness.put_authority()
    harness.add_client("pinned")
    assert await won(harness, REGISTER)
    for again in (replace(REGISTER, token_digest=SECOND), replace(REGISTER, client_id="pinned", token_digest=SECOND)):
        assert not await won(harness, again)
    later = replace(REGISTER, token_digest=SECOND, unfinished_before=NOW + 1, software_limit=1)
    assert not await won(harness, later)  # not even the one that would have to make room for it
    assert await counting(harness) == {FIRST}
    assert await harness.store().reading.registration("pinned") is None
    pinned = await client(harness, "pinned")
    assert pinned is not None
    assert pinned.approval is None


def numbered(number: int) -> Register:
    return replace(REGISTER, client_id=f"agent {number}", token_digest=number.to_bytes(32))


async def test_a_software_has_as_many_clients_as_its_limit_and_neighbours_do_not_count(harness: Harness) -> None:
    harness.put_authority()
    others = (
        replace(numbered(10), software_id="another software"),
        replace(numbered(11), approver="https://other-authority.example"),
        replace(numbered(12), software_id=None),
    )
    assert await won(harness, *others, numbered(1), numbered(2), numbered(3))
    assert not await won(harness, numbered(4))
    assert await client(harness, "agent 4") is None
    assert await won(harness, replace(numbered(5), software_limit=4))
    assert harness.facts() == ()


async def test_whether_there_is_room_is_told_without_a_registration(harness: Harness) -> None:
    harness.put_authority()
    reading = harness.store().reading
    assert await reading.has_room(numbered(1), NOW)
    assert await won(harness, numbered(1), numbered(2), at=NOW - 700)
    assert await won(harness, numbered(3))
    assert await reading.has_room(numbered(4), NOW)  # the first of them was never finished
    young = replace(numbered(4), unfinished_before=NOW - 700)
    assert not await reading.has_room(young, NOW)
    for elsewhere in (
        replace(young, software_id="another software"),
        replace(young, software_id=None),
        replace(young, approver="https://other-authority.example"),
        replace(young, software_limit=4),
    ):
        assert await reading.has_room(elsewhere, NOW)
    assert await client(harness, "agent 4") is None
    assert await client(harness, "agent 1") is not None


async def test_without_a_software_the_clients_of_the_approver_that_have_none_are_counted(harness: Harness) -> None:
    harness.put_authority()
    nameless = [replace(numbered(number), software_id=None, software_limit=2) for number in range(3)]
    assert await won(harness, REGISTER, nameless[0], nameless[1])
    assert not await won(harness, nameless[2])


async def test_the_oldest_one_that_was_never_finished_makes_room_and_a_fact_says_so(harness: Harness) -> None:
    harness.put_authority()
    used = MarkUsed(client_id="agent 1", expires_at=NOW + 9_000)
    assert await won(harness, numbered(1), used, at=NOW - 900)
    assert await won(harness, numbered(2), at=NOW - 700)
    assert await won(harness, numbered(3), at=NOW - 650)
    assert await won(harness, numbered(4))
    assert [await client(harness, f"agent {number}") is None for number in (1, 2, 3, 4)] == [False, True, False, False]
    (told,) = [fact for fact, _ in harness.facts()]
    assert (told.event, told.client_id) == (AuditEvent.CLIENT_EXPIRED, "agent 2")
    assert await won(harness, numbered(5))  # the third
    assert not await won(harness, numbered(6))  # the others are used, or too young
    assert len(harness.facts()) == 2


async def test_one_that_is_too_young_or_used_makes_no_room(harness: Harness) -> None:
    harness.put_authority()
    assert await won(harness, replace(numbered(1), software_limit=1), at=NOW - 600)  # not older than that
    assert not await won(harness, replace(numbered(2), software_limit=1))
    assert await client(harness, "agent 1") is not None
    assert harness.facts() == ()


async def test_where_a_limit_was_lowered_nobody_makes_room_in_vain(harness: Harness) -> None:
    harness.put_authority()
    assert await won(harness, numbered(1), numbered(2), at=NOW - 900)
    assert not await won(harness, replace(numbered(3), software_limit=1))
    assert await client(harness, "agent 1") is not None
    assert harness.facts() == ()


# --- the registration access token


async def test_an_update_replaces_the_registration_and_the_old_token_counts_until_the_new_one_is_used(
    harness: Harness,
) -> None:
    harness.put_authority()
    assert await won(harness, REGISTER)
    before = await client(harness)
    assert before is not None
    assert await won(harness, REPLACE)
    found = await kept(harness)
    assert (found.client.client_name, found.statement, found.statement_jti) == (
        "Renamed",
        "another.software.statement",
        "jti 2",
    )
    assert found.client.version > before.version
    assert not await stands(harness, before)  # whoever decided on what was before loses
    assert await counting(harness) == {FIRST, SECOND}
    assert await won(harness, use(FIRST))  # the answer was lost
    assert await counting(harness) == {FIRST, SECOND}
    assert await won(harness, use(SECOND))
    assert await counting(harness) == {SECOND}
    assert not await won(harness, use(FIRST))


async def test_an_update_with_the_old_token_takes_the_place_of_the_one_whose_answer_was_lost(harness: Harness) -> None:
    harness.put_authority()
    assert await won(harness, REGISTER)
    assert await won(harness, REPLACE)
    assert await won(harness, replace(REPLACE, new_token_digest=THIRD))
    assert await counting(harness) == {FIRST, THIRD}
    assert not await won(harness, use(SECOND))


async def test_an_update_with_the_new_token_ends_the_old_one(harness: Harness) -> None:
    harness.put_authority()
    assert await won(harness, REGISTER)
    assert await won(harness, REPLACE)
    assert await won(harness, replace(REPLACE, token_digest=SECOND, new_token_digest=THIRD))
    assert await counting(harness) == {SECOND, THIRD}
    assert not await won(harness, use(FIRST))


@pytest.mark.parametrize("token", [SECOND, b"", FIRST[:-1], FIRST + b"1"], ids=["other", "empty", "short", "long"])
async def test_a_token_that_does_not_count_does_nothing(harness: Harness, token: bytes) -> None:
    harness.put_authority()
    assert await won(harness, REGISTER)
    before = await kept(harness)
    for effect in (
        use(token),
        replace(REPLACE, token_digest=token),
        Unregister(client_id="agent", token_digest=token),
    ):
        assert not await won(harness, effect)
    assert await kept(harness) == before


async def test_the_token_of_one_client_does_nothing_to_another_nor_to_one_that_an_operator_registered(
    harness: Harness,
) -> None:
    harness.put_authority()
    harness.add_client("pinned")
    assert await won(harness, REGISTER, replace(REGISTER, client_id="other", token_digest=SECOND))
    for client_id, token in (("agent", SECOND), ("other", FIRST), ("pinned", FIRST), ("nobody", FIRST)):
        assert not await won(harness, UseRegistrationToken(client_id=client_id, token_digest=token))
        assert not await won(harness, replace(REPLACE, client_id=client_id, token_digest=token))
        assert not await won(harness, Unregister(client_id=client_id, token_digest=token))
    assert await client(harness, "pinned") is not None


async def test_the_token_of_a_disabled_client_does_not_count(harness: Harness) -> None:
    harness.put_authority()
    assert await won(harness, REGISTER)
    assert await won(harness, REPLACE)
    harness.disable_client("agent")
    for token in (FIRST, SECOND):
        assert not await won(harness, use(token))
        assert not await won(harness, replace(REPLACE, token_digest=token, new_token_digest=THIRD))
        assert not await won(harness, Unregister(client_id="agent", token_digest=token))
    assert await harness.store().reading.registration("agent") is None


async def test_who_unregisters_is_gone_with_everything_that_it_was_allowed(harness: Harness) -> None:
    harness.put_authority()
    assert await won(harness, REGISTER)
    registered = await client(harness)
    assert registered is not None
    code = Keep(
        kind=HandleKind.CODE,
        digest=digest_of("code"),
        payload=b"",
        usable_until=NOW + 60,
        delete_after=NOW + 60,
        authorization_id="family",
    )
    other = replace(OPEN, authorization_id="other", client_id="other")
    assert await won(harness, OPEN, code, other)
    assert await won(harness, Unregister(client_id="agent", token_digest=FIRST))
    assert await client(harness) is None
    assert await harness.store().reading.registration("agent") is None
    assert not await stands(harness, registered)
    assert not await won(harness, Unregister(client_id="agent", token_digest=FIRST))
    spent = await harness.store().reading.handle(HandleKind.CODE, digest_of("code"))
    assert spent is not None
    assert spent.revoked
    assert await won(harness, Require(required=Required.AUTHORIZATION, identifier="other"))


# --- use


async def test_a_use_is_kept_and_is_nothing_for_a_client_without_an_end(harness: Harness) -> None:
    harness.put_authority()
    harness.add_client("pinned")
    assert await won(harness, REGISTER)
    assert await won(harness, MarkUsed(client_id="agent", expires_at=NOW + 9_000), at=NOW + 7)
    assert await won(harness, MarkUsed(client_id="pinned", expires_at=NOW + 9_000))
    assert await won(harness, MarkUsed(client_id="nobody", expires_at=NOW + 9_000))
    found, pinned = await client(harness), await client(harness, "pinned")
    assert found is not None
    assert pinned is not None
    assert (found.last_used_at, (await kept(harness)).client.last_used_at) == (NOW + 7, NOW + 7)
    assert pinned.last_used_at is None
