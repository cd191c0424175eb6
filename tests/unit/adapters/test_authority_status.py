"""What authorities withdraw reaches this server within minutes, and a directory that is down changes nothing."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from fapi_as.adapters.authority_status import PERIOD, AuthorityStatusChecks
from fapi_as.adapters.store import Approvals, UnusableDatabase, migrate
from fapi_as.protocol.audit_events import Stamp
from fapi_as.protocol.fetched_document import FetchedDocument
from tests.support.command_line import CLIENT
from tests.support.fake_fetch import FakeFetch
from tests.support.fakes import NOW

ISSUER = "https://directory.example"
STATUS = f"{ISSUER}/status"


def _stamp(at: int = NOW) -> Stamp:
    return Stamp(at=at, correlation_id="chores", endpoint="authority status", source="fapi-as serve")


def _authority(issuer: str = ISSUER, **members: object) -> dict[str, Any]:
    return {"issuer": issuer, "jwks": CLIENT["jwks"], "status_uri": f"{issuer}/status", **members}


def _document(**members: object) -> FetchedDocument:
    return FetchedDocument(body=json.dumps(members).encode())


@pytest.fixture
def approvals(tmp_path: Path) -> Approvals:
    url = f"sqlite:///{tmp_path}/store.db"
    migrate(url)
    return Approvals.open(url, "default")


@pytest.fixture
def fetch() -> FakeFetch:
    return FakeFetch()


@pytest.fixture
def checks(approvals: Approvals, fetch: FakeFetch) -> AuthorityStatusChecks:
    return AuthorityStatusChecks(lambda: approvals, fetch)


def _withdrawn(approvals: Approvals, issuer: str = ISSUER) -> list[tuple[str, str]]:
    return [(one.kind, one.name) for one in approvals.withdrawn(issuer)]


async def test_what_an_authority_has_withdrawn_is_withdrawn_here(
    approvals: Approvals, fetch: FakeFetch, checks: AuthorityStatusChecks
) -> None:
    approvals.add_authority(_authority(), _stamp())
    fetch.documents[STATUS] = _document(withdrawn_software=["ledger"], withdrawn_statements=["abc"])
    await checks.run(_stamp())
    assert _withdrawn(approvals) == [("software", "ledger"), ("statement", "abc")]


async def test_nobody_is_asked_twice_within_five_minutes_and_everybody_after_them(
    approvals: Approvals, fetch: FakeFetch, checks: AuthorityStatusChecks
) -> None:
    approvals.add_authority(_authority(), _stamp())
    approvals.add_authority(_authority("https://other.example", status_uri=None), _stamp())
    for later in (0, 60, PERIOD - 1):
        await checks.run(_stamp(NOW + later))
    assert fetch.asked == [STATUS]
    await checks.run(_stamp(NOW + PERIOD))
    assert fetch.asked == [STATUS, STATUS]


async def test_a_clock_that_is_set_back_keeps_no_withdrawal_waiting(
    approvals: Approvals, fetch: FakeFetch, checks: AuthorityStatusChecks
) -> None:
    approvals.add_authority(_authority(), _stamp())
    await checks.run(_stamp(NOW + 86_400))
    fetch.documents[STATUS] = _document(withdrawn_software=["ledger"])
    await checks.run(_stamp())
    assert _withdrawn(approvals) == [("software", "ledger")]
    await checks.run(_stamp(NOW + PERIOD - 1))
    assert fetch.asked == [STATUS, STATUS]


async def test_others_find_a_moment_between_thousands_of_names_that_are_withdrawn(
    approvals: Approvals, fetch: FakeFetch
) -> None:
    """Without, the writers of other processes waited for all of them, and were refused after five seconds."""
    approvals.add_authority(_authority(), _stamp())
    names = [f"name {number}" for number in range(250)]
    fetch.documents[STATUS] = _document(withdrawn_software=names, withdrawn_statements=names[:80])
    found: list[int] = []
    checks = AuthorityStatusChecks(
        lambda: approvals, fetch, sleep=lambda _seconds: found.append(len(approvals.withdrawn(ISSUER)))
    )
    await checks.run(_stamp())
    assert found == [50, 100, 150, 200, 250, 300, 330]
    await checks.run(_stamp(NOW + PERIOD))  # nobody waits where nothing is changed
    assert len(found) == 7


async def test_what_was_withdrawn_stays_so_when_it_is_not_listed_any_more(
    approvals: Approvals, fetch: FakeFetch, checks: AuthorityStatusChecks
) -> None:
    approvals.add_authority(_authority(), _stamp())
    fetch.documents[STATUS] = _document(withdrawn_software=["ledger"])
    await checks.run(_stamp())
    fetch.documents[STATUS] = _document(withdrawn_software=[])
    await checks.run(_stamp(NOW + PERIOD))
    assert _withdrawn(approvals) == [("software", "ledger")]


@pytest.mark.parametrize("found", [None, FetchedDocument(body=b"<html>"), _document(withdrawn_software="all")])
async def test_a_directory_that_is_down_or_speaks_in_riddles_changes_nothing_and_is_told(
    approvals: Approvals,
    fetch: FakeFetch,
    checks: AuthorityStatusChecks,
    found: FetchedDocument | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    approvals.add_authority(_authority(), _stamp())
    approvals.add_authority(_authority("https://other.example"), _stamp())
    approvals.withdraw_software(ISSUER, "before", _stamp())
    fetch.documents["https://other.example/status"] = _document(withdrawn_software=["theirs"])
    if found is not None:
        fetch.documents[STATUS] = found
    with caplog.at_level(logging.WARNING, logger="fapi_as.authority_status"):
        await checks.run(_stamp())
    assert _withdrawn(approvals) == [("software", "before")]
    assert _withdrawn(approvals, "https://other.example") == [("software", "theirs")]
    assert [(record.message, vars(record)["issuer"]) for record in caplog.records] == [
        ("the status of an authority is not known", ISSUER)
    ]


async def test_no_authority_withdraws_what_another_one_approved(
    approvals: Approvals, fetch: FakeFetch, checks: AuthorityStatusChecks
) -> None:
    approvals.add_authority(_authority(), _stamp())
    approvals.add_authority(_authority("https://other.example", status_uri=None), _stamp())
    fetch.documents[STATUS] = _document(withdrawn_software=["ledger"], withdrawn_statements=["abc"])
    await checks.run(_stamp())
    assert _withdrawn(approvals, "https://other.example") == []


async def test_a_suspended_authority_is_asked_too(
    approvals: Approvals, fetch: FakeFetch, checks: AuthorityStatusChecks
) -> None:
    approvals.add_authority(_authority(), _stamp())
    approvals.set_authority_enabled(ISSUER, _stamp(), enabled=False)
    fetch.documents[STATUS] = _document(withdrawn_software=["ledger"])
    await checks.run(_stamp())
    approvals.set_authority_enabled(ISSUER, _stamp(), enabled=True)
    assert _withdrawn(approvals) == [("software", "ledger")]


async def test_an_authority_that_is_removed_while_it_answers_is_left_alone(approvals: Approvals) -> None:
    class Meanwhile(FakeFetch):
        async def get(self, url: str, **limits: Any) -> FetchedDocument:
            approvals.remove_authority(ISSUER, _stamp())
            return await super().get(url, **limits)

    approvals.add_authority(_authority(), _stamp())
    fetch = Meanwhile(documents={STATUS: _document(withdrawn_software=["ledger"])})
    await AuthorityStatusChecks(lambda: approvals, fetch).run(_stamp())
    assert _withdrawn(approvals) == []


async def test_many_names_are_withdrawn_in_several_transactions(
    approvals: Approvals, fetch: FakeFetch, checks: AuthorityStatusChecks
) -> None:
    approvals.add_authority(_authority(), _stamp())
    before = approvals.authority(ISSUER)
    fetch.documents[STATUS] = _document(withdrawn_software=[f"software-{number}" for number in range(120)])
    await checks.run(_stamp())
    after = approvals.authority(ISSUER)
    assert len(approvals.withdrawn(ISSUER)) == 120
    assert before is not None
    assert after is not None
    assert after.version - before.version == 3


async def test_slow_authorities_take_turns(
    approvals: Approvals, fetch: FakeFetch, checks: AuthorityStatusChecks
) -> None:
    issuers = [f"https://directory-{number:02}.example" for number in range(20)]
    for issuer in issuers:
        approvals.add_authority(_authority(issuer), _stamp())
    await checks.run(_stamp())
    first = list(fetch.asked)
    assert len(first) == 16
    await checks.run(_stamp(NOW + 60))
    assert len(fetch.asked) == 20
    assert set(fetch.asked) == {f"{issuer}/status" for issuer in issuers}


async def test_a_database_that_cannot_be_written_is_told_and_tried_again(
    approvals: Approvals, fetch: FakeFetch, caplog: pytest.LogCaptureFixture
) -> None:
    class Full:
        def authorities(self) -> Any:
            return approvals.authorities()

        def withdraw(self, *_: object, **__: object) -> int:
            raise UnusableDatabase("disk full")

    approvals.add_authority(_authority(), _stamp())
    fetch.documents[STATUS] = _document(withdrawn_software=["ledger"])
    opened: list[Any] = [approvals, Full(), approvals, approvals]
    checks = AuthorityStatusChecks(lambda: opened.pop(0), fetch)
    with caplog.at_level(logging.WARNING, logger="fapi_as.authority_status"):
        await checks.run(_stamp())
    assert [record.message for record in caplog.records] == ["a withdrawal waits"]
    assert _withdrawn(approvals) == []
    await checks.run(_stamp(NOW + PERIOD))
    assert _withdrawn(approvals) == [("software", "ledger")]
