"""A flood may neither fill the store nor stop the service, and its evidence is exact (EXH, LOG)."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from fapi_as.kernel.refusals import write_counts
from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.profile import REFUSAL_REASONS_PER_SOURCE, REFUSALS_TOLD_PER_SOURCE
from tests.support.back_channel import BACK_CHANNEL, SUCCESS, asked
from tests.support.fapi_client import Refused
from tests.support.house import PASSWORD, House
from tests.support.peer_keys import PeerKey
from tests.support.standing_still import a_code, ready

STRANGER = PeerKey.es256(seed=666)
FLOOD = 700


@pytest.fixture
async def house() -> House:
    return await ready(House())


def told(house: House) -> int:
    return len(house.store.facts_of(AuditEvent.REFUSED))


def counted(house: House) -> list[int]:
    """The numbers of the counting facts."""
    return [int((fact.detail or "").split(" ")[0]) for fact in house.store.facts_of(AuditEvent.REFUSALS_COUNTED)]


async def flood(house: House, times: int = FLOOD) -> None:
    """What a stranger sends: unknown clients, wrong keys, and no form at all, at every endpoint."""
    kinds: list[dict[str, Any]] = [
        {"assertion_key": STRANGER},
        {"sub": "nobody", "iss": "nobody", "form": {"client_id": "nobody"}},
        {"assertion": "x", "form": {"client_id": ...}},
        {"form": {"client_assertion": ["a", "b"]}},
    ]
    paths = list(BACK_CHANNEL)
    for n in range(times):
        answer = await asked(house, paths[n % 2], **kinds[n // 2 % len(kinds)])
        assert answer.status_code in {400, 401, 429}


@pytest.mark.attack("EXH-11")
async def test_a_flood_before_authentication_is_a_bounded_number_of_facts_and_no_log_lines(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    before = told(house)
    house.source = "198.51.100.66"
    with caplog.at_level(logging.INFO):
        await flood(house)
    assert [record for record in caplog.records if record.name.startswith(("fapi_as", "rs_kit"))] == []
    assert told(house) - before <= REFUSALS_TOLD_PER_SOURCE + REFUSAL_REASONS_PER_SOURCE
    house.clock.advance(60)
    await write_counts(house.context, house.clock.now())
    assert told(house) - before + sum(counted(house)) == FLOOD  # no refusal is without evidence
    assert len(counted(house)) <= REFUSAL_REASONS_PER_SOURCE
    facts = house.store.facts_of(AuditEvent.REFUSALS_COUNTED)
    assert len({(fact.error, (fact.detail or "").partition(": ")[2]) for fact in facts}) == len(facts)


@pytest.mark.attack("EXH-11")
async def test_who_comes_from_elsewhere_notices_nothing_of_a_flood(house: House) -> None:
    house.source = "198.51.100.66"
    await flood(house)
    house.source = "192.0.2.1"
    for path in BACK_CHANNEL:
        assert (await asked(house, path)).status_code == SUCCESS[path]
    before = told(house)
    assert (await asked(house, "/token", assertion_key=STRANGER)).status_code == 401
    assert told(house) == before + 1  # and its own refusals are still told one by one


@pytest.mark.attack("LOG-05")
async def test_every_accept_and_every_deny_is_one_fact_with_client_reason_and_reference(house: House) -> None:
    done, pushed = await a_code(house)
    await house.agent.redeem(done, pushed)
    await house.agent.client_credentials()
    denied = [
        await asked(house, "/token", form={"scope": "admin"}),
        await asked(house, "/token", form={"resource": "https://unknown.example"}),
        await asked(house, "/token", form={"grant_type": "password"}),
        await asked(house, "/par", form={"response_type": "token"}),
        await asked(house, "/par", assertion_key=STRANGER),
        await asked(house, "/token", proof="x"),
    ]
    assert all(answer.status_code >= 400 for answer in denied)
    by_request: dict[str, list[Any]] = {}
    for written in house.store.written:
        by_request.setdefault(written.stamp.correlation_id, []).append(written)
    answered = {AuditEvent.REQUEST_PUSHED, AuditEvent.TOKEN_ISSUED, AuditEvent.REFUSED}
    for reference, facts in by_request.items():
        endpoints = {written.stamp.endpoint for written in facts}
        if endpoints <= {"/par", "/token"}:
            assert len(facts) == 1, (reference, facts)
            assert facts[0].fact.event in answered
    refusals = [written for written in house.store.written if written.fact.event is AuditEvent.REFUSED][-6:]
    assert all(written.fact.error and written.fact.detail for written in refusals)
    assert [written.fact.client_id for written in refusals] == ["agent"] * 4 + [None, "agent"]
    issued = house.store.facts_of(AuditEvent.TOKEN_ISSUED)
    assert all(fact.client_id == "agent" and fact.jkt for fact in issued)


@pytest.mark.attack("LOG-05")
async def test_no_refusal_of_a_client_is_without_evidence_that_names_it(house: House) -> None:
    house.clock.advance(60)
    before = told(house)
    for n in range(REFUSALS_TOLD_PER_SOURCE + 20):
        house.source = f"192.0.2.{n % 3}"  # a client is one client wherever it is
        assert (await asked(house, "/token", form={"scope": "admin"})).status_code == 400
    assert told(house) == before + REFUSALS_TOLD_PER_SOURCE
    assert (await asked(house, "/token", form={"resource": "https://unknown.example"})).status_code == 400
    assert told(house) == before + REFUSALS_TOLD_PER_SOURCE + 1  # the first of another reason is told at once
    await write_counts(house.context, house.clock.advance(60))
    (summed,) = house.store.facts_of(AuditEvent.REFUSALS_COUNTED)
    assert (summed.client_id, summed.error) == ("agent", "invalid_scope")
    assert counted(house) == [20]
    refused = [written for written in house.store.written if written.fact.event is AuditEvent.REFUSED]
    assert all(written.fact.client_id == "agent" and written.fact.detail for written in refused[before:])
    assert (await asked(house, "/token", form={"scope": "admin"})).status_code == 400
    assert told(house) == before + REFUSALS_TOLD_PER_SOURCE + 2  # another minute, another budget


@pytest.mark.attack("EXH-11")
async def test_a_client_that_floods_hides_no_refusal_of_another_client_or_of_a_stranger(house: House) -> None:
    for _ in range(REFUSALS_TOLD_PER_SOURCE + 20):
        await asked(house, "/token", form={"scope": "admin"})
    before = told(house)
    other = house.client("other", seed=9)
    for _ in range(REFUSALS_TOLD_PER_SOURCE):
        assert (await asked(house, "/token", client=other, form={"scope": "admin"})).status_code == 400
    assert told(house) == before + REFUSALS_TOLD_PER_SOURCE
    assert (await asked(house, "/token", assertion_key=STRANGER)).status_code == 401
    assert told(house) == before + REFUSALS_TOLD_PER_SOURCE + 1


@pytest.mark.attack("EXH-11")
async def test_requests_that_a_client_repeats_are_counted_and_what_ends_a_grant_is_always_told(house: House) -> None:
    house.clock.advance(60)
    assertion = house.agent.assertion()
    assert (await asked(house, "/token", assertion=assertion)).status_code == 200
    before = told(house)
    for _ in range(REFUSALS_TOLD_PER_SOURCE + 20):
        assert (await asked(house, "/token", assertion=assertion)).status_code == 401
    assert told(house) == before + REFUSALS_TOLD_PER_SOURCE
    done, pushed = await a_code(house)
    await house.agent.redeem(done, pushed)
    with pytest.raises(Refused):
        await house.agent.redeem(done, pushed)
    assert len(house.store.facts_of(AuditEvent.AUTHORIZATION_REVOKED)) == 1  # no budget is asked for it


@pytest.mark.attack("EXH-04")
async def test_asking_for_nonces_leaves_no_state_but_the_evidence(house: House) -> None:
    house.agent.lies.nonce = ...
    before = house.store.rows.snapshot()
    nonces = set()
    for _ in range(300):
        answer = await asked(house, "/token")
        assert (answer.status_code, answer.json()["error"]) == (400, "use_dpop_nonce")
        nonces.add(answer.headers["dpop-nonce"])
    after = house.store.rows
    assert (after.once, after.handles, after.attempts) == (before.once, before.handles, before.attempts)
    house.agent.lies.nonce = nonces.pop()
    assert (await asked(house, "/token")).status_code == 200


@pytest.mark.attack("LOG-10")
async def test_every_failure_of_a_kind_says_the_same(house: House) -> None:
    await house.agent.client_credentials()
    other = house.client("other", seed=9)
    done, pushed = await a_code(house)
    stolen, theirs = await a_code(house, client=other)
    spent = await house.agent.redeem(done, pushed)
    late, late_push = await a_code(house)
    wrong, wrong_push = await a_code(house)
    code = {"grant_type": "authorization_code", "redirect_uri": pushed.redirect_uri}
    forms: dict[str, dict[str, Any]] = {
        "unknown": code | {"code": "A" * 43, "code_verifier": "v" * 43},
        "used": code | {"code": done.code, "code_verifier": "v" * 43},
        "of another client": code | {"code": stolen.code, "code_verifier": theirs.code_verifier},
        "wrong verifier": code | {"code": wrong.code, "code_verifier": "w" * 43},
        "another redirect_uri": code
        | {"code": wrong.code, "code_verifier": wrong_push.code_verifier, "redirect_uri": "https://client.example/x"},
        "unknown refresh token": {"grant_type": "refresh_token", "refresh_token": "B" * 43},
        "a code as a refresh token": {"grant_type": "refresh_token", "refresh_token": wrong.code},
    }
    for form in forms.values():
        form |= {"scope": ..., "resource": ...}
    bodies = {(await asked(house, "/token", form=form)).content for form in forms.values()}
    house.clock.advance(61)
    expired = code | {"code": late.code, "code_verifier": late_push.code_verifier, "scope": ..., "resource": ...}
    bodies.add((await asked(house, "/token", form=expired)).content)
    assert bodies == {b'{"error":"invalid_grant","error_description":"the grant is not valid"}'}
    assert spent.access_token


@pytest.mark.attack("LOG-10")
@pytest.mark.parametrize(("username", "password"), [("nobody", PASSWORD), ("alice", "wrong"), ("disabled", PASSWORD)])
async def test_a_person_who_cannot_sign_in_is_told_one_sentence(house: House, username: str, password: str) -> None:
    house.user("disabled")
    house.change_user("disabled", disabled=True)
    login = await house.opened()
    page = await house.sign_in(house.agent.browser, login, username=username, password=password)
    assert "the user name or the password is not right" in getattr(page, "text", "").lower()
