"""The command line's side of the store: one transaction, one epoch, one fact."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlmodel import select

from fapi_as.adapters.store import (
    AlreadyExists,
    Approvals,
    ClientState,
    NotFound,
    Operators,
    UnusableDatabase,
    migrate,
)
from fapi_as.adapters.store.changes import Change, Changes
from fapi_as.adapters.store.tables import Authorization, Client, Epoch
from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from fapi_as.protocol.resource_registration import InvalidResourceMetadata
from tests.support.store_harness import AUTHORITY, METADATA, NOW, POLICY, STAMP, authority_file, members

BANK = "https://bank.example/mcp"


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/store.db"
    migrate(url)
    return url


@pytest.fixture
def operators(url: str) -> Operators:
    return Operators.open(url, "default")


def epoch(url: str, tenant: str = "default") -> int:
    with Changes(url).read() as session:
        row = session.get(Epoch, tenant)
        return 0 if row is None else row.value


def facts(operators: Operators) -> list[tuple[AuditEvent, str | None]]:
    return [(row.fact.event, row.fact.detail) for row in operators.audit()]


def test_a_client_is_kept_as_its_effective_metadata(operators: Operators) -> None:
    added = operators.add_client(METADATA | {"unknown": "member"}, "agent", STAMP)
    assert operators.client("agent") == added
    assert operators.clients() == (added,)
    assert added.metadata["client_id"] == "agent"
    assert added.metadata["dpop_bound_access_tokens"] is True
    assert "unknown" not in added.metadata
    assert (added.enabled, added.registered_at) == (True, NOW)
    assert operators.client("nobody") is None


def _let_in(url: str, *clients: tuple[str, str, str | None, str | None, int | None]) -> None:
    with Changes(url).change("default") as change:
        for client_id, approver, software_id, jti, last_used_at in clients:
            change.session.add(
                Client(
                    tenant="default",
                    client_id=client_id,
                    registration=json.dumps(METADATA),
                    version=1,
                    enabled=1,
                    registered_at=NOW,
                    changed_at=NOW,
                    approver=approver,
                    software_id=software_id,
                    statement_jti=jti,
                    last_used_at=last_used_at,
                    expires_at=NOW + 60,
                )
            )


def test_what_has_become_of_a_client_follows_from_its_row_and_from_whoever_approved_it(
    url: str, operators: Operators
) -> None:
    approvals = Approvals.open(url, "default")
    approvals.add_authority(authority_file(), STAMP)
    approvals.add_initial_token("one", b"t" * 32, {"policy": POLICY}, STAMP, uses=1, expires_at=NOW + 9)
    operators.add_client(METADATA, "pinned", STAMP)
    _let_in(
        url,
        ("pending", AUTHORITY, "software", "jti 1", None),
        ("used", AUTHORITY, "software", "jti 2", NOW),
        ("another", AUTHORITY, "another", "jti 3", NOW),
        ("by token", "token:one", None, None, NOW),
        ("orphan", "https://nobody.example", None, None, NOW),
    )

    def states() -> str:
        found = {client.client_id: client.state.value[0] for client in operators.clients()}
        return "".join(found[name] for name in ("pinned", "pending", "used", "another", "by token", "orphan"))

    assert states() == "apaaas"
    approvals.withdraw_statement(AUTHORITY, "jti 1", STAMP)
    assert states() == "asaaas"
    approvals.withdraw_software(AUTHORITY, "software", STAMP)
    assert states() == "assaas"
    approvals.reinstate_software(AUTHORITY, "software", STAMP)
    approvals.add_authority(authority_file(scope=["payments:write"]), STAMP, replace=True)
    assert states() == "asssas"
    approvals.add_authority(authority_file(), STAMP, replace=True)
    approvals.set_authority_enabled(AUTHORITY, STAMP, enabled=False)
    assert states() == "asssas"
    approvals.set_authority_enabled(AUTHORITY, STAMP, enabled=True)
    operators.set_client_enabled("another", STAMP, enabled=False)
    operators.set_client_enabled("pinned", STAMP, enabled=False)
    assert states() == "ssasas"
    approvals.revoke_initial_token("one", STAMP)  # what it let in stays
    approvals.remove_authority(AUTHORITY, STAMP)
    assert states() == "ssssas"


def test_a_client_is_shown_with_who_approved_it_its_last_use_and_its_end(url: str, operators: Operators) -> None:
    Approvals.open(url, "default").add_authority(authority_file(), STAMP)
    _let_in(url, ("used", AUTHORITY, "software", "jti 2", NOW))
    used = operators.client("used")
    assert used is not None
    assert (used.approver, used.software_id) == (AUTHORITY, "software")
    assert (used.last_used_at, used.expires_at, used.state) == (NOW, NOW + 60, ClientState.ACTIVE)


def test_every_change_bumps_the_epoch_and_writes_one_fact(url: str, operators: Operators) -> None:
    later = replace(STAMP, at=NOW + 1)
    changes: list[tuple[Callable[[], object], AuditEvent, str]] = [
        (lambda: operators.add_client(METADATA, "agent", STAMP), AuditEvent.CLIENT_CHANGED, "added"),
        (lambda: operators.set_client_enabled("agent", later, enabled=False), AuditEvent.CLIENT_CHANGED, "disabled"),
        (lambda: operators.set_client_enabled("agent", later, enabled=True), AuditEvent.CLIENT_CHANGED, "enabled"),
        (lambda: operators.remove_client("agent", later), AuditEvent.CLIENT_CHANGED, "removed"),
        (lambda: operators.add_user("alice", "subject-1", "hash", STAMP), AuditEvent.USER_CHANGED, "added"),
        (lambda: operators.set_password("alice", "other", later), AuditEvent.USER_CHANGED, "password changed"),
        (lambda: operators.set_user_enabled("alice", later, enabled=False), AuditEvent.USER_CHANGED, "disabled"),
        (lambda: operators.set_user_enabled("alice", later, enabled=True), AuditEvent.USER_CHANGED, "enabled"),
        (lambda: operators.remove_user("alice", later), AuditEvent.USER_CHANGED, "removed"),
        (lambda: operators.add_resource(members(BANK), STAMP), AuditEvent.RESOURCE_CHANGED, "added"),
        (lambda: operators.remove_resource(BANK, later), AuditEvent.RESOURCE_CHANGED, "removed"),
    ]
    for number, (change, event, detail) in enumerate(changes, start=1):
        change()
        assert epoch(url) == number
        assert facts(operators)[-1] == (event, detail)
        assert len(facts(operators)) == number


def test_what_is_registered_is_not_registered_again_and_nothing_changes(url: str, operators: Operators) -> None:
    operators.add_client(METADATA, "agent", STAMP)
    operators.add_user("alice", "subject-1", "hash", STAMP)
    operators.add_resource(members(BANK), STAMP)
    before, written = epoch(url), facts(operators)
    for change in (
        lambda: operators.add_client(METADATA, "agent", STAMP),
        lambda: operators.add_user("alice", "subject-2", "hash", STAMP),
        lambda: operators.add_user("bob", "subject-1", "hash", STAMP),
        lambda: operators.add_resource(members("HTTPS://BANK.example:443/mcp"), STAMP),
    ):
        with pytest.raises(AlreadyExists):
            change()
    assert (epoch(url), facts(operators)) == (before, written)


def test_what_is_not_registered_cannot_be_changed(url: str, operators: Operators) -> None:
    for change in (
        lambda: operators.set_client_enabled("agent", STAMP, enabled=True),
        lambda: operators.remove_client("agent", STAMP),
        lambda: operators.set_password("alice", "hash", STAMP),
        lambda: operators.set_user_enabled("alice", STAMP, enabled=True),
        lambda: operators.remove_user("alice", STAMP),
        lambda: operators.remove_resource(BANK, STAMP),
    ):
        with pytest.raises(NotFound):
            change()
    assert (epoch(url), facts(operators)) == (0, [])


def test_what_the_parsers_refuse_is_not_stored(url: str, operators: Operators) -> None:
    with pytest.raises(InvalidClientMetadata):
        operators.add_client(METADATA | {"token_endpoint_auth_method": "none"}, "agent", STAMP)
    with pytest.raises(InvalidClientMetadata):
        operators.add_client(METADATA, "https://client.example/metadata", STAMP)
    with pytest.raises(InvalidResourceMetadata):
        operators.add_resource(members("http://bank.example/mcp"), STAMP)
    assert (epoch(url), operators.clients(), operators.resources()) == (0, (), ())


def test_a_user_is_shown_without_the_password(operators: Operators) -> None:
    added = operators.add_user("alice", "subject-1", "$argon2id$hash", STAMP)
    operators.set_user_enabled("alice", STAMP, enabled=False)
    (shown,) = operators.users()
    assert (shown.username, shown.subject, shown.enabled) == ("alice", "subject-1", False)
    assert shown.version > added.version
    assert "argon2" not in repr(shown)


def test_a_resource_is_found_by_its_uri(operators: Operators) -> None:
    added = operators.add_resource(members(BANK), STAMP)
    assert operators.resource(BANK) == added
    assert operators.resources() == (added,)
    assert added.members["scopes"] == {"accounts:read": "See your balances"}
    assert operators.resource("https://bank.example/") is None


def _family(change: Change, name: str, *, client_id: str, revoked_at: int | None = None) -> None:
    change.session.add(
        Authorization(
            tenant=change.tenant,
            authorization_id=name,
            client_id=client_id,
            subject="alice",
            resources="[]",
            scope="[]",
            opened_at=NOW,
            expires_at=NOW + 60,
            revoked_at=revoked_at,
        )
    )


@pytest.mark.attack("DCR-19")
def test_what_a_removed_client_was_allowed_has_ended_also_for_the_next_one_of_its_name(
    url: str, operators: Operators
) -> None:
    operators.add_client(METADATA, "agent", STAMP)
    with Changes(url).change("default") as change:
        _family(change, "its", client_id="agent")
        _family(change, "ended", client_id="agent", revoked_at=NOW - 5)
        _family(change, "another's", client_id="other")
    with Changes(url).change("elsewhere") as change:
        _family(change, "of another tenant", client_id="agent")
    operators.remove_client("agent", replace(STAMP, at=NOW + 1))
    operators.add_client(METADATA, "agent", replace(STAMP, at=NOW + 2))
    with Changes(url).read() as session:
        ended = {row.authorization_id: row.revoked_at for row in session.exec(select(Authorization))}
    assert ended == {"its": NOW + 1, "ended": NOW - 5, "another's": None, "of another tenant": None}


def test_another_tenant_sees_and_changes_nothing(url: str, operators: Operators) -> None:
    operators.add_client(METADATA, "agent", STAMP)
    operators.add_user("alice", "subject-1", "hash", STAMP)
    operators.add_resource(members(BANK), STAMP)
    other = Operators.open(url, "other")
    assert (other.clients(), other.users(), other.resources(), other.audit()) == ((), (), (), ())
    assert other.explain(STAMP.correlation_id) == ()
    with pytest.raises(NotFound):
        other.remove_client("agent", STAMP)
    other.add_user("alice", "subject-1", "hash", STAMP)
    assert (epoch(url), epoch(url, "other")) == (3, 1)


def test_facts_are_paged_in_order_and_the_tail_is_the_end(operators: Operators) -> None:
    for number in range(5):
        operators.add_user(f"user {number}", f"subject-{number}", "hash", STAMP)
    pages = [operators.audit(limit=2)]
    while pages[-1]:
        pages.append(operators.audit(after=pages[-1][-1].id, limit=2))
    subjects = [row.fact.subject for page in pages for row in page]
    assert subjects == [f"subject-{number}" for number in range(5)]
    assert [row.fact.subject for row in operators.audit_tail(limit=2)] == ["subject-3", "subject-4"]


def test_a_correlation_id_is_explained_by_its_refusal_and_else_by_what_it_did(url: str, operators: Operators) -> None:
    refused = replace(STAMP, correlation_id="refused")
    fact = AuditFact(event=AuditEvent.REFUSED, error="invalid_grant", detail="verifier", client_id="agent")
    with Changes(url).change("default") as change:
        change.record(fact, refused)
    operators.add_user("alice", "subject-1", "hash", replace(STAMP, correlation_id="operator"))
    (explained,) = operators.explain("refused")
    assert (explained.fact, explained.stamp) == (fact, refused)
    assert [row.fact.detail for row in operators.explain("operator")] == ["added"]
    assert operators.explain("unknown") == ()


def test_a_database_that_goes_away_is_told_with_a_sentence(tmp_path: Path, operators: Operators) -> None:
    (tmp_path / "store.db").rename(tmp_path / "elsewhere.db")
    with pytest.raises(UnusableDatabase, match="cannot be read"):
        operators.clients()
    with pytest.raises(UnusableDatabase, match="cannot be written"):
        operators.remove_client("agent", STAMP)
