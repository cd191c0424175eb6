"""How attempts are counted and what a success changes, as data."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fapi_as.features.sign_in.rules import (
    FormUsed,
    SignInFacts,
    WrongCredentials,
    account_bucket,
    count_attempt,
    decide_sign_in,
    signed_in,
    typed_credentials,
)
from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.browser_session import Session
from fapi_as.protocol.decisions import Issue, Refuse
from fapi_as.protocol.effects import Attempt, Effect, Forget, HandleKind, Keep, Record, Require, Spend, TakeOnce
from fapi_as.protocol.errors import InvalidRequest, TooManyRequests
from fapi_as.protocol.parameters import Parameters
from fapi_as.protocol.policy import Policy
from fapi_as.protocol.user import RegisteredUser

NOW = 1_800_000_000
POLICY = Policy(tenant="default", issuer="https://as.example", session_lifetime=timedelta(hours=2))
ALICE = RegisteredUser(subject="sub-alice", username="alice", version=3, password_hash="h")
FACTS = SignInFacts(
    user=ALICE,
    password_matches=True,
    client_id="agent",
    browser="b" * 64,
    retires=None,
    form=TakeOnce(namespace="form", digest=b"f", until=NOW + 600),
)


def typed(username: str = "alice", password: str = "p") -> Any:
    return typed_credentials(Parameters(values={"username": username, "password": password}))


def attempts(source: str = "192.0.2.1", username: str = "alice") -> tuple[Attempt, Attempt]:
    of_source, of_account, _ = count_attempt(typed(username), source, "agent").effects
    assert isinstance(of_source, Attempt)
    assert isinstance(of_account, Attempt)
    return of_source, of_account


@pytest.mark.parametrize("name", ["alice", "Alice", "ALICE", " alice "])
def test_a_name_has_one_spelling(name: str) -> None:
    assert typed(name).username == "alice"
    assert attempts(username=name) == attempts()


@pytest.mark.parametrize("name", ["ali\u1d04e", "AL\u0130CE", "\u212aate"])
def test_a_look_alike_is_another_name(name: str) -> None:
    assert typed(name).username not in {"alice", "kate"}


def test_a_password_is_kept_as_typed_and_not_shown() -> None:
    given = typed(password=" Pä\u0308 ")
    assert given.password == " Pä\u0308 "
    assert "Pä" not in repr(given)


@pytest.mark.parametrize(
    "values",
    [
        {"username": "alice"},
        {"password": "p"},
        {"username": "a" * 257, "password": "p"},
        {"username": "alice", "password": "p" * 257},
    ],
)
def test_a_field_that_is_missing_or_too_long_costs_no_hash(values: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        typed_credentials(Parameters(values=values))


def test_the_longest_fields_are_read() -> None:
    assert typed("a" * 256, "p" * 256).password == "p" * 256


def test_twenty_per_source_and_minute_and_five_per_account_and_quarter_of_an_hour() -> None:
    of_source, of_account = attempts()
    assert (of_source.limit, of_source.window_seconds) == (20, 60)
    assert (of_account.limit, of_account.window_seconds) == (5, 900)
    assert of_account.bucket == account_bucket("alice") != of_source.bucket


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("unknown", "unknown", True),
    ],
)
def test_a_source_is_an_address_or_a_site_of_ipv6(one: str, other: str, same: bool) -> None:
    assert (attempts(one)[0] == attempts(other)[0]) is same


def test_a_refused_account_still_counts_for_the_source() -> None:
    decision = count_attempt(typed(), "192.0.2.1", "agent")
    of_source, of_account = attempts()
    refused = decision.lost[of_account]
    assert isinstance(refused.error, TooManyRequests)
    assert refused.effects[0] == of_source
    assert decision.lost[of_source] == refused.lost[of_source]
    assert of_source not in decision.lost[of_source].effects


def test_the_attempt_is_evidenced_without_the_name_that_was_typed() -> None:
    fact = count_attempt(typed("my password typed into the wrong field"), "192.0.2.1", "agent").effects[-1]
    assert isinstance(fact, Record)
    assert (fact.fact.event, fact.fact.subject, fact.fact.detail) == (AuditEvent.SIGN_IN_ATTEMPTED, None, None)


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"user": None}, "unknown user"),
        ({"user": None, "password_matches": False}, "unknown user"),
        ({"password_matches": False}, "wrong password"),
        ({"user": replace(ALICE, disabled=True), "password_matches": False}, "wrong password"),
        ({"user": replace(ALICE, disabled=True)}, "user is disabled"),
    ],
)
def test_every_failure_has_one_sentence_and_its_private_reason(changes: dict[str, Any], detail: str) -> None:
    decision = decide_sign_in(replace(FACTS, **changes), NOW, POLICY)
    assert isinstance(decision, Refuse)
    assert isinstance(decision.error, WrongCredentials)
    assert (decision.error.detail, decision.error.description) == (detail, WrongCredentials.public)
    assert [type(effect) for effect in decision.effects] == [Record]


def test_a_session_says_who_when_and_how() -> None:
    assert decide_sign_in(FACTS, NOW, POLICY) == Session(
        subject="sub-alice",
        user_version=3,
        auth_time=NOW,
        acr="urn:fapi-as:acr:password",
        browser="b" * 64,
        ends_at=NOW + 7200,
    )


def success(facts: SignInFacts) -> Issue:
    session = decide_sign_in(facts, NOW, POLICY)
    assert isinstance(session, Session)
    keep = Keep(kind=HandleKind.SESSION, digest=b"s", payload=b"", usable_until=NOW, delete_after=NOW)
    decision = signed_in(facts, session, keep, b"account")
    assert isinstance(decision, Issue)
    return decision


def kinds(effects: tuple[Effect, ...]) -> list[type[Effect]]:
    return [type(effect) for effect in effects]


def test_a_success_uses_the_form_and_forgets_the_attempts() -> None:
    decision = success(FACTS)
    assert kinds(decision.effects) == [TakeOnce, Require, Keep, Forget, Record]
    assert isinstance(decision.lost[FACTS.form].error, FormUsed)


def test_a_success_ends_the_session_that_it_replaces() -> None:
    old = Spend(kind=HandleKind.SESSION, digest=b"old")
    decision = success(replace(FACTS, retires=old))
    assert kinds(decision.effects) == [TakeOnce, Require, Spend, Keep, Forget, Record]
    ends = decision.effects[2]
    assert ends == old
    assert isinstance(decision.lost[ends].error, FormUsed)


def test_a_user_that_changed_meanwhile_does_not_come_in() -> None:
    decision = success(FACTS)
    live = decision.effects[1]
    assert isinstance(live, Require)
    assert (live.identifier, live.version) == ("sub-alice", 3)
    assert isinstance(decision.lost[live].error, WrongCredentials)
