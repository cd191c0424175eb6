"""What operators do about approvers: one transaction, one epoch, one fact, and what was allowed ends with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy import event as events
from sqlmodel import select

from fapi_as.adapters.store import AlreadyExists, Approvals, NotFound, Operators, migrate
from fapi_as.adapters.store.changes import Change, Changes
from fapi_as.adapters.store.tables import Authorization, Client, Epoch
from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from fapi_as.protocol.registration_policy import InvalidRegistrationPolicy
from tests.support.store_harness import METADATA, NOW, STAMP

BANKS = "https://authority.example"
OTHER = "https://other-authority.example"
AUTHORITY: dict[str, Any] = {"issuer": BANKS, "jwks": METADATA["jwks"], "policy": {"clients_per_software": 3}}
DOCUMENT = "https://agent.example/client.json"
LATER = replace(STAMP, at=NOW + 1)
DIGEST = b"d" * 32


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/store.db"
    migrate(url)
    return url


@pytest.fixture
def approvals(url: str) -> Approvals:
    return Approvals.open(url, "default")


def facts(url: str) -> list[tuple[AuditEvent, str | None]]:
    return [(row.fact.event, row.fact.detail) for row in Operators.open(url, "default").audit()]


def epoch(url: str) -> int:
    with Changes(url).read() as session:
        row = session.get(Epoch, "default")
        return 0 if row is None else row.value


def client(change: Change, client_id: str, approver: str | None, software_id: str | None, jti: str | None) -> None:
    change.session.add(
        Client(
            tenant=change.tenant,
            client_id=client_id,
            registration="{}",
            version=1,
            enabled=1,
            registered_at=NOW,
            changed_at=NOW,
            approver=approver,
            software_id=software_id,
            statement_jti=jti,
        )
    )
    family(change, client_id)


def family(change: Change, client_id: str) -> None:
    change.session.add(
        Authorization(
            tenant=change.tenant,
            authorization_id=f"of {client_id}",
            client_id=client_id,
            subject="alice",
            resources="[]",
            scope="[]",
            opened_at=NOW,
            expires_at=NOW + 60,
        )
    )


@pytest.fixture
def peopled(url: str, approvals: Approvals) -> str:
    """Four clients of two authorities, one of an operator, one with a document, and each has an authorization."""
    approvals.add_authority(AUTHORITY, STAMP)
    approvals.add_authority(AUTHORITY | {"issuer": OTHER}, STAMP)
    with Changes(url).change("default") as change:
        client(change, "one", BANKS, "software", "jti 1")
        client(change, "two", BANKS, "software", "jti 2")
        client(change, "three", BANKS, "another software", "jti 3")
        client(change, "foreign", OTHER, "software", "jti 1")
        client(change, "pinned", None, None, None)
        family(change, DOCUMENT)
    with Changes(url).change("elsewhere") as change:
        client(change, "one", BANKS, "software", "jti 1")
    return url


def ended(url: str) -> set[tuple[str, str]]:
    with Changes(url).read() as session:
        rows = session.exec(select(Authorization).where(Authorization.revoked_at == LATER.at))
        return {(row.tenant, row.client_id) for row in rows}


def test_an_authority_is_kept_as_its_effective_file(approvals: Approvals) -> None:
    added = approvals.add_authority(AUTHORITY, STAMP)
    assert approvals.authority(BANKS) == added
    assert approvals.authorities() == (added,)
    assert (added.name, added.enabled, added.clients, added.uses_left, added.expires_at) == (BANKS, True, 0, None, None)
    assert added.members["policy"]["clients_per_software"] == 3  # type: ignore[index]
    assert "redirect_uris" in added.members["may_assert"]  # type: ignore[operator]
    assert approvals.authority("https://nobody.example") is None


def test_every_change_bumps_the_epoch_and_writes_one_fact(url: str, approvals: Approvals) -> None:
    authority, statement = AuditEvent.AUTHORITY_CHANGED, AuditEvent.STATEMENT_CHANGED
    token, document = AuditEvent.INITIAL_TOKEN_CHANGED, AuditEvent.CLIENT_CHANGED
    changes: list[tuple[Callable[[], object], AuditEvent, str]] = [
        (lambda: approvals.add_authority(AUTHORITY, STAMP), authority, f"{BANKS} added"),
        (lambda: approvals.add_authority(AUTHORITY, LATER, replace=True), authority, f"{BANKS} replaced"),
        (lambda: approvals.set_authority_enabled(BANKS, LATER, enabled=False), authority, f"{BANKS} suspended"),
        (lambda: approvals.set_authority_enabled(BANKS, LATER, enabled=True), authority, f"{BANKS} enabled"),
        (lambda: approvals.withdraw_statement(BANKS, "j", LATER), statement, f"statement j of {BANKS} withdrawn"),
        (lambda: approvals.withdraw_software(BANKS, "s", LATER), statement, f"software s of {BANKS} withdrawn"),
        (lambda: approvals.reinstate_software(BANKS, "s", LATER), statement, f"software s of {BANKS} reinstated"),
        (lambda: approvals.remove_authority(BANKS, LATER), authority, f"{BANKS} removed"),
        (lambda: approvals.add_initial_token("t", DIGEST, {}, STAMP, uses=1, expires_at=NOW + 9), token, "t added"),
        (lambda: approvals.revoke_initial_token("t", LATER), token, "t revoked"),
        (lambda: approvals.block_document(DOCUMENT, LATER), document, "blocked"),
        (lambda: approvals.unblock_document(DOCUMENT, LATER), document, "unblocked"),
    ]
    for number, (change, event, detail) in enumerate(changes, start=1):
        change()
        assert epoch(url) == number
        assert facts(url)[-1] == (event, detail)
        assert len(facts(url)) == number


def test_what_is_not_there_cannot_be_changed_and_what_is_there_is_not_added_again(
    url: str, approvals: Approvals
) -> None:
    for change in (
        lambda: approvals.set_authority_enabled(BANKS, STAMP, enabled=False),
        lambda: approvals.remove_authority(BANKS, STAMP),
        lambda: approvals.withdraw_statement(BANKS, "jti", STAMP),
        lambda: approvals.withdraw_software(BANKS, "software", STAMP),
        lambda: approvals.reinstate_software(BANKS, "software", STAMP),
        lambda: approvals.revoke_initial_token("token", STAMP),
        lambda: approvals.unblock_document(DOCUMENT, STAMP),
    ):
        with pytest.raises(NotFound):
            change()
    assert (epoch(url), facts(url)) == (0, [])
    approvals.add_authority(AUTHORITY, STAMP)
    approvals.add_initial_token("token", DIGEST, {}, STAMP, uses=1, expires_at=NOW + 9)
    for change in (
        lambda: approvals.add_authority(AUTHORITY, STAMP),
        lambda: approvals.add_initial_token("token", b"e" * 32, {}, STAMP, uses=1, expires_at=NOW + 9),
        lambda: approvals.add_initial_token("another", DIGEST, {}, STAMP, uses=1, expires_at=NOW + 9),
    ):
        with pytest.raises(AlreadyExists):
            change()
    with pytest.raises(NotFound):  # a token is no authority, whatever it is called
        approvals.set_authority_enabled("token:token", STAMP, enabled=False)
    assert (epoch(url), len(facts(url))) == (2, 2)


@pytest.mark.parametrize(
    "members",
    [{"unknown": 1}, {"policy": "none"}, {"policy": {"unknown": 1}}, {"jkt": 1}, {"jkt": ""}, {"owner": ["alice"]}],
    ids=str,
)
def test_a_token_whose_members_are_wrong_is_not_kept(url: str, approvals: Approvals, members: dict[str, Any]) -> None:
    with pytest.raises((InvalidClientMetadata, InvalidRegistrationPolicy)):
        approvals.add_initial_token("token", DIGEST, members, STAMP, uses=1, expires_at=NOW + 9)
    assert (epoch(url), approvals.initial_tokens()) == (0, ())


@pytest.mark.parametrize(
    ("token_id", "digest", "uses", "expires_at"),
    [("", DIGEST, 1, NOW + 9), ("t", b"short", 1, NOW + 9), ("t", DIGEST, 0, NOW + 9), ("t", DIGEST, 1, NOW)],
    ids=["no name", "no digest", "no use", "over"],
)
def test_a_token_that_could_never_be_used_is_not_kept(
    approvals: Approvals, token_id: str, digest: bytes, uses: int, expires_at: int
) -> None:
    with pytest.raises(InvalidClientMetadata):
        approvals.add_initial_token(token_id, digest, {}, STAMP, uses=uses, expires_at=expires_at)
    assert approvals.initial_tokens() == ()


def test_a_token_is_shown_with_what_is_left_of_it_and_never_as_a_credential(approvals: Approvals) -> None:
    members = {"policy": {"clients_per_day": 5}, "jkt": "thumbprint", "owner": "alice"}
    added = approvals.add_initial_token("token", DIGEST, members, STAMP, uses=7, expires_at=NOW + 9)
    assert approvals.initial_tokens() == (added,)
    assert approvals.authorities() == ()
    assert (added.name, added.uses_left, added.expires_at, added.enabled) == ("token:token", 7, NOW + 9, True)
    assert (added.members["jkt"], added.members["owner"]) == ("thumbprint", "alice")
    assert DIGEST.hex() not in repr(added)
    assert repr(DIGEST) not in repr(added)


def test_suspending_an_authority_ends_what_its_clients_were_allowed_and_nobody_elses(
    peopled: str, approvals: Approvals
) -> None:
    approvals.set_authority_enabled(BANKS, LATER, enabled=False)
    assert ended(peopled) == {("default", "one"), ("default", "two"), ("default", "three")}
    assert [(found.name, found.enabled, found.clients) for found in approvals.authorities()] == [
        (BANKS, False, 3),
        (OTHER, True, 1),
    ]


def test_removing_an_authority_ends_the_same_and_leaves_its_clients_and_what_it_withdrew(
    peopled: str, approvals: Approvals
) -> None:
    approvals.withdraw_software(BANKS, "another software", STAMP)
    approvals.remove_authority(BANKS, LATER)
    assert ended(peopled) == {("default", "one"), ("default", "two")}  # that of the third had ended before
    assert len(Operators.open(peopled, "default").clients()) == 5
    assert approvals.add_authority(AUTHORITY, LATER).clients == 3
    assert [withdrawal.name for withdrawal in approvals.withdrawn(BANKS)] == ["another software"]


def test_a_replaced_authority_ends_nothing_and_a_suspended_one_stays_suspended(
    peopled: str, approvals: Approvals
) -> None:
    before = approvals.add_authority(AUTHORITY, LATER, replace=True)
    approvals.set_authority_enabled(BANKS, STAMP, enabled=False)
    replaced = approvals.add_authority(AUTHORITY | {"policy": {"clients_per_day": 2}}, LATER, replace=True)
    assert not replaced.enabled
    assert replaced.version > before.version
    assert replaced.registered_at == NOW
    assert ended(peopled) == set()


def test_a_withdrawn_statement_ends_what_its_client_was_allowed_and_a_software_that_of_all_its_clients(
    peopled: str, approvals: Approvals
) -> None:
    version = approvals.authorities()[0].version
    assert approvals.withdraw_statement(BANKS, "jti 1", LATER)
    assert ended(peopled) == {("default", "one")}
    assert approvals.authorities()[0].version > version  # whoever decided before loses
    assert approvals.withdraw_software(BANKS, "software", LATER)
    assert ended(peopled) == {("default", "one"), ("default", "two")}
    assert [(found.kind, found.name, found.withdrawn_at) for found in approvals.withdrawn(BANKS)] == [
        ("software", "software", LATER.at),
        ("statement", "jti 1", LATER.at),
    ]
    assert approvals.withdrawn(OTHER) == ()


def test_clients_are_looked_for_once_however_many_names_are_withdrawn(peopled: str, approvals: Approvals) -> None:
    """Nobody else writes meanwhile, and an authority may have 100,000 clients and withdraw 10,000 names."""
    updates: list[str] = []

    def listen(_connection: object, _cursor: object, statement: str, *_others: object) -> None:
        updates.extend([statement] * statement.startswith("UPDATE authorization"))

    events.listen(Engine, "before_cursor_execute", listen)
    try:
        names = [f"jti {number}" for number in range(1, 101)]
        assert approvals.withdraw(BANKS, LATER, statements=names, software=["software", "unknown"]) == 102
    finally:
        events.remove(Engine, "before_cursor_execute", listen)
    assert ended(peopled) == {("default", "one"), ("default", "two"), ("default", "three")}
    assert len(updates) == 2


def test_what_was_withdrawn_long_ago_is_not_read_again_for_one_more_name(url: str, approvals: Approvals) -> None:
    """An authority that tells of 20,000 names every five minutes would keep a worker busy for half a minute of them."""
    approvals.add_authority(AUTHORITY, STAMP)
    approvals.withdraw(BANKS, STAMP, statements=[f"jti {number}" for number in range(500)])
    read: list[str] = []

    def listen(_connection: object, cursor: Any, statement: str, parameters: Any, *_others: object) -> None:
        if statement.startswith("SELECT withdrawn"):
            read.extend(map(str, cursor.connection.execute(statement, parameters).fetchall()))

    events.listen(Engine, "after_cursor_execute", listen)
    try:
        assert not approvals.withdraw_statement(BANKS, "jti 7", LATER)
        assert approvals.withdraw(BANKS, LATER, statements=["jti 7", "jti 500"], software=["jti 8"]) == 2
    finally:
        events.remove(Engine, "after_cursor_execute", listen)
    assert 0 < len(read) < 10
    assert len(approvals.withdrawn(BANKS)) == 502


def test_what_is_withdrawn_already_is_not_withdrawn_again(url: str, approvals: Approvals) -> None:
    approvals.add_authority(AUTHORITY, STAMP)
    told = {"statements": ["jti 1", "jti 2", "jti 1"], "software": ["jti 1"]}
    assert approvals.withdraw(BANKS, STAMP, **told) == 3
    before = (epoch(url), facts(url), approvals.authorities())
    assert approvals.withdraw(BANKS, LATER, **told) == 0
    assert not approvals.withdraw_statement(BANKS, "jti 1", LATER)
    assert (epoch(url), facts(url), approvals.authorities()) == before
    assert approvals.withdraw(BANKS, LATER, statements=["jti 2", "jti 3"]) == 1
    assert len(facts(url)) == len(before[1]) + 1


@pytest.mark.parametrize("name", ["", "line\nbreak", "\ud800", "x" * 2049], ids=ascii)
def test_a_name_that_no_statement_can_have_is_not_withdrawn(approvals: Approvals, name: str) -> None:
    approvals.add_authority(AUTHORITY, STAMP)
    with pytest.raises(InvalidClientMetadata):
        approvals.withdraw(BANKS, STAMP, statements=["good", name])
    assert approvals.withdrawn(BANKS) == ()


def test_a_blocked_document_ends_what_its_client_was_allowed(peopled: str, approvals: Approvals) -> None:
    assert approvals.block_document(DOCUMENT, LATER)
    assert not approvals.block_document(DOCUMENT, LATER)
    assert ended(peopled) == {("default", DOCUMENT)}
    assert [found.name for found in approvals.blocked_documents()] == [DOCUMENT]
    assert approvals.withdrawn(BANKS) == ()
    approvals.unblock_document(DOCUMENT, LATER)
    assert approvals.blocked_documents() == ()
    with pytest.raises(InvalidClientMetadata):
        approvals.block_document("pinned", LATER)


def test_another_tenant_sees_and_changes_nothing(peopled: str, approvals: Approvals) -> None:
    approvals.block_document(DOCUMENT, STAMP)
    approvals.withdraw_statement(BANKS, "jti 9", STAMP)
    approvals.add_initial_token("token", DIGEST, {}, STAMP, uses=1, expires_at=NOW + 9)
    other = Approvals.open(peopled, "other")
    assert (other.authorities(), other.initial_tokens(), other.blocked_documents()) == ((), (), ())
    assert other.withdrawn(BANKS) == ()
    with pytest.raises(NotFound):
        other.remove_authority(BANKS, LATER)
    other.add_authority(AUTHORITY, LATER)
    other.add_initial_token("token", DIGEST, {}, LATER, uses=1, expires_at=NOW + 9)
    other.set_authority_enabled(BANKS, LATER, enabled=False)
    assert ended(peopled) == set()
    authority = approvals.authority(BANKS)
    assert authority is not None
    assert authority.enabled
