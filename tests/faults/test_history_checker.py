"""The checker believes an honest history and catches each broken promise in a planted one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.history import GRANTED_FACT, Fact, Kind, Operation, Outcome, check


def _done(kind: Kind, at: float, *, uses: str | None = None, makes: str | None = None, **more: object) -> Operation:
    given = {"outcome": Outcome.OK, "status": 200, "assertion": f"assertion-{at}", "correlation_id": f"c{at}"} | more
    return Operation(kind=kind, uses=uses, makes=makes, began=at, ended=at + 0.5, server_time=at, **given)


def _refused(kind: Kind, at: float, *, uses: str, error: str = "invalid_grant") -> Operation:
    return _done(kind, at, uses=uses, outcome=Outcome.REFUSED, status=400, error=error)


def _honest() -> list[Operation]:
    return [
        _done(Kind.PUSH, 1, makes="request"),
        _done(Kind.COMPLETE, 2, uses="request", makes="code"),
        _done(Kind.REDEEM, 3, uses="code", makes="token"),
        _done(Kind.REFRESH, 4, uses="token"),
        _done(Kind.CREDENTIALS, 5),
    ]


def _facts(operations: list[Operation]) -> list[Fact]:
    events = [
        (operation, GRANTED_FACT[operation.kind] if operation.outcome is Outcome.OK else "request.refused")
        for operation in operations
        if operation.outcome in {Outcome.OK, Outcome.REFUSED}
    ]
    return [
        Fact(id=number, event=event, correlation_id=operation.correlation_id or "")
        for number, (operation, event) in enumerate(events, 1)
    ]


def _broken(operations: list[Operation], facts: list[Fact] | None = None, *, vague: bool = False) -> set[str]:
    found = check(operations, _facts(operations) if facts is None else facts, unavailable_may_be_kept=vague)
    return {finding.promise for finding in found}


def test_an_honest_history_breaks_no_promise() -> None:
    replayed = [_refused(Kind.REDEEM, 6, uses="code"), _refused(Kind.REFRESH, 7, uses="token")]
    assert _broken(_honest()) == set()
    assert _broken(_honest() + replayed) == set()


def test_a_code_that_was_good_twice_is_caught() -> None:
    assert "I1" in _broken([*_honest(), _done(Kind.REDEEM, 6, uses="code", makes="another")])


@pytest.mark.parametrize(("kind", "uses"), [(Kind.COMPLETE, "request"), (Kind.REDEEM, "code"), (Kind.REFRESH, "token")])
def test_something_acknowledged_and_then_unknown_is_caught(kind: Kind, uses: str) -> None:
    before = {Kind.COMPLETE: 1, Kind.REDEEM: 2, Kind.REFRESH: 3}[kind]
    assert _broken([*_honest()[:before], _refused(kind, 6, uses=uses)]) == {"I2"}


def test_a_code_that_may_have_been_spent_or_has_expired_may_be_refused() -> None:
    lost = _done(Kind.REDEEM, 3, uses="code", outcome=Outcome.UNKNOWN, status=0, correlation_id=None)
    assert _broken([*_honest()[:2], lost, _refused(Kind.REDEEM, 6, uses="code")]) == set()
    assert _broken([*_honest()[:2], _refused(Kind.REDEEM, 63, uses="code")]) == set()


def test_a_code_after_a_503_must_still_be_good_unless_an_fsync_failed() -> None:
    turned_away = _done(Kind.REDEEM, 3, uses="code", outcome=Outcome.UNAVAILABLE, status=503, retry_after="2")
    history = [*_honest()[:2], turned_away, _refused(Kind.REDEEM, 6, uses="code")]
    assert _broken(history) == {"I2"}
    assert _broken(history, vague=True) == set()


def test_a_token_that_is_good_after_its_end_was_acknowledged_is_caught() -> None:
    history = [*_honest(), _refused(Kind.REDEEM, 6, uses="code"), _done(Kind.REFRESH, 8, uses="token")]
    assert _broken(history) == {"I3"}


def test_a_copied_assertion_that_was_good_again_is_caught() -> None:
    first = _done(Kind.CREDENTIALS, 6)
    assert _broken([first, replace(first, began=7, ended=8, correlation_id="other")]) == {"I4"}


def test_a_request_that_completed_twice_is_caught() -> None:
    assert _broken([*_honest(), _done(Kind.COMPLETE, 9, uses="request", makes="second")]) == {"I5"}


def test_an_acknowledgement_without_its_fact_and_a_gap_in_the_record_are_caught() -> None:
    history = _honest()
    assert _broken(history, _facts(history)[:-1]) == {"I6"}
    assert _broken(history, [fact for fact in _facts(history) if fact.id != 2]) == {"I6"}


def test_a_fact_of_success_for_what_was_turned_away_is_caught() -> None:
    turned_away = _done(Kind.CREDENTIALS, 6, outcome=Outcome.UNAVAILABLE, status=503, retry_after="2")
    fact = Fact(id=1, event="token.issued", correlation_id=turned_away.correlation_id or "")
    assert _broken([turned_away], [fact]) == {"I6"}
    assert _broken([turned_away], [fact], vague=True) == set()


def test_a_token_of_another_key_a_500_and_a_503_that_does_not_say_when_are_caught() -> None:
    assert _broken([_done(Kind.CREDENTIALS, 1, wrong="bound to another key")]) == {"I7"}
    assert _broken([_done(Kind.CREDENTIALS, 1, outcome=Outcome.UNAVAILABLE, status=500)]) == {"P8"}
    assert _broken([_done(Kind.CREDENTIALS, 1, outcome=Outcome.UNAVAILABLE, status=503)]) == {"P8"}


@pytest.mark.parametrize("ahead", [3600.0, 0.0])
def test_what_was_made_while_the_clock_was_put_ahead_may_be_refused_and_nothing_else(ahead: float) -> None:
    pushed = _done(Kind.PUSH, 1, makes="request", server_time_after=1.5 + ahead)
    refused = replace(_refused(Kind.COMPLETE, 2, uses="request", error="invalid_request_uri"), server_time_after=2.5)
    assert _broken([pushed, refused]) == (set() if ahead else {"I2"})
