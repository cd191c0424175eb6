"""Whatever clients, a person, a thief and operators do, in whatever order: the server answers as the model says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from fapi_as.adapters.store import migrate
from fapi_as.protocol.audit_events import AuditEvent, Stamp
from fapi_as.protocol.decisions import Decision, Issue
from fapi_as.protocol.effects import Effect, Record, Revoke, Spend
from tests.properties.authorization_machine import AuthorizationMachine
from tests.properties.openid_machine import OpenidMachine
from tests.properties.operated_stores import OperatedMemory, OperatedSqlite

# the same runs every time, so that a red test is red again; `make fuzz` draws others and prints their seed
QUICK = settings(
    max_examples=50,
    stateful_step_count=50,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
REACHED = {
    "exchange: ok",
    "exchange: invalid_grant",
    "exchange: invalid_target",
    "exchange: invalid_client",
    "exchange: invalid_dpop_proof",
    "redeem_twice_at_once: invalid_grant ok",
    "answer: access_denied",
    "sign_in: access_denied",
    "arrive: invalid_request",
    "arrive: invalid_request_uri",
    "arrive: unauthorized_client",
}
REACHED_WITH_OPENID = {
    "go_without_a_page: ok",
    "go_without_a_page: login_required",
    "go_without_a_page: consent_required",
    "identify: ok",
    "identify: invalid_grant",
    "tell: ok",
    "tell: invalid_token",
}


def machine(
    store: Callable[[], Any], kind: type[AuthorizationMachine] = AuthorizationMachine
) -> type[AuthorizationMachine]:
    return type("Machine", (kind,), {"make_store": staticmethod(store), "answered": Counter()})


def test_two_thousand_steps_are_answered_as_the_model_says() -> None:
    driven = machine(OperatedMemory)
    run_state_machine_as_test(driven, settings=QUICK)
    assert driven.answered.total() >= 2000
    assert driven.answered.keys() >= REACHED


def test_openid_connect_is_answered_as_the_model_says() -> None:
    driven = machine(OperatedMemory, OpenidMachine)
    run_state_machine_as_test(driven, settings=QUICK)
    assert driven.answered.keys() >= REACHED_WITH_OPENID


def test_openid_connect_on_sqlite_is_answered_for_by_the_same_model(tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path}/migrated.db")
    made = iter(range(1_000))
    driven = machine(lambda: OperatedSqlite(tmp_path / "migrated.db", tmp_path / f"{next(made)}.db"), OpenidMachine)
    run_state_machine_as_test(driven, settings=settings(QUICK, max_examples=8))
    assert driven.answered["tell: ok"]


def test_the_store_on_sqlite_is_answered_for_by_the_same_model(tmp_path: Path) -> None:
    migrate(f"sqlite:///{tmp_path}/migrated.db")
    made = iter(range(1_000))
    driven = machine(lambda: OperatedSqlite(tmp_path / "migrated.db", tmp_path / f"{next(made)}.db"))
    run_state_machine_as_test(driven, settings=settings(QUICK, max_examples=4))
    assert driven.answered["exchange: ok"]


class SpendsAlwaysWin(OperatedMemory):
    """Nothing is ever used up."""

    def _spend(self, effect: Spend) -> bool:
        return True


class SpendsNeverLose(OperatedMemory):
    """What is used up is marked, but whoever comes at the same time gets it, too."""

    def _spend(self, effect: Spend) -> bool:
        self.rows.spent.add((effect.kind, effect.digest))
        return True


class RevocationsAreForgotten(OperatedMemory):
    """A revocation is evidenced and then does nothing."""

    def _apply(self, effect: Effect, stamp: Stamp) -> bool:
        return isinstance(effect, Revoke) or super()._apply(effect, stamp)


class RefusalsLeaveNoFact(OperatedMemory):
    """Nobody can find out why something was refused."""

    def _apply(self, effect: Effect, stamp: Stamp) -> bool:
        silent = isinstance(effect, Record) and effect.fact.event is AuditEvent.REFUSED
        return silent or super()._apply(effect, stamp)


class RefusalsMint(OperatedMemory):
    """What was refused comes true as well, without a word to the caller."""

    async def commit(self, decision: Decision, stamp: Stamp) -> Decision:
        outcome = await super().commit(decision, stamp)
        if isinstance(decision, Issue) and not isinstance(outcome, Issue):
            for effect in decision.effects:
                self._apply(effect, stamp)
        return outcome


@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (SpendsAlwaysWin, "^ok where the model says"),
        (SpendsNeverLose, "^ok ok where the model says invalid_grant ok"),
        (RevocationsAreForgotten, "^[a-z_]+ where the model says invalid_grant"),
        (RefusalsLeaveNoFact, r"^\[\]"),
        (RefusalsMint, r"^\[.*TOKEN_ISSUED"),
    ],
)
def test_a_store_that_breaks_its_word_is_found_out(broken: type[OperatedMemory], found: str) -> None:
    quick = settings(QUICK, phases=[Phase.generate], report_multiple_bugs=False, print_blob=False)
    with pytest.raises(AssertionError, match=found):
        run_state_machine_as_test(machine(broken), settings=quick)


def test_a_replay_after_the_account_changed_has_nothing_left_to_end() -> None:
    """What a long run has found: nothing is revoked twice, so a copy of the replay is refused like the replay."""
    steps = machine(OperatedMemory)()
    try:
        grant = steps.walk(client="agent", resource="https://bank.example/mcp")
        steps.redeem(grant=grant, client="its own", lie=None, copied=False)
        steps.operate(what="user")
        steps.redeem(grant=grant, client="its own", lie=None, copied=True)
    finally:
        steps.teardown()
