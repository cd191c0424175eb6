"""The steps of migrations and the tables say the same, and statements fit both."""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, bindparam, event, select
from sqlalchemy import text as sql
from sqlmodel import SQLModel

from fapi_as.adapters.keys import Sealing
from fapi_as.adapters.store import Approvals, Database, Operators, migrate, tables
from fapi_as.adapters.store.approver_statements import approver_statements
from fapi_as.adapters.store.client_expiry import expiry_statements
from fapi_as.adapters.store.engine import reading_engine, writing_engine
from fapi_as.adapters.store.registration_statements import registration_statements
from fapi_as.adapters.store.statements import MisboundStatement, statements, table_of, text_of
from fapi_as.protocol.client import ClientLimits
from tests.support.store_harness import METADATA, STAMP


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "store.db"
    migrate(f"sqlite:///{path}")
    return path


def _schema(path: Path) -> dict[str, str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND type <> 'trigger'")
        return {name: " ".join(text.split()) for name, text in rows if name != "alembic_version"}


def test_the_migrated_schema_is_the_one_of_the_tables(path: Path, tmp_path: Path) -> None:
    with reading_engine(path).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []
    made = tmp_path / "made.db"
    with contextlib.closing(sqlite3.connect(made)):
        pass
    with writing_engine(made).begin() as connection:
        SQLModel.metadata.create_all(connection)
    assert _schema(path) == _schema(made)  # STRICT, WITHOUT ROWID and CHECK, which the comparison above does not see


def test_this_versions_revision_is_the_last_step() -> None:
    config = Config()
    config.set_main_option("script_location", "fapi_as.adapters.store:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [tables.REVISION]


def test_every_row_belongs_to_a_tenant_except_the_leases() -> None:
    without = {table.name for table in SQLModel.metadata.tables.values() if "tenant" not in table.c}
    assert without == {"lease"}


def test_hot_columns_are_integers_text_and_octets() -> None:
    kinds = {str(column.type) for table in SQLModel.metadata.tables.values() for column in table.columns}
    assert kinds <= {"INTEGER", "TEXT", "BLOB"}


TEXTS = {
    f"{type(compiled).__name__}.{field.name}": getattr(compiled, field.name)
    for compiled in (statements(), approver_statements(), registration_statements(), expiry_statements())
    for field in fields(compiled)
}
# what is read whole: the few resources, and how a bucket goes on is found at the end of its numbers
OF_A_TENANT = {"Statements.resources"}


def _plan(connection: sqlite3.Connection, text: str) -> list[str]:
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", (None,) * text.count("?"))]


def _slow(plan: list[str]) -> list[str]:
    """The steps that read more the more there is: without an index, or with one of which only the tenant is known."""
    one_row = {"SCAN CONSTANT ROW", "SCAN following"}  # a constant, and the number that follows the last one
    of_a_tenant = (" (tenant=?)", " (tenant=? AND approver>?)")
    return [
        step
        for step in plan
        if (step.startswith("SCAN") and step not in one_row)
        or "TEMP B-TREE" in step
        or (step.endswith(of_a_tenant) and "SEARCH epoch" not in step)
    ]


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_every_statement_finds_its_rows_by_index(path: Path, name: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        slow = _slow(_plan(connection, TEXTS[name]))
    assert bool(slow) == (name in OF_A_TENANT), slow


def test_what_operators_end_is_found_by_index_too(path: Path) -> None:
    url, authority = f"sqlite:///{path}", {"issuer": "https://authority.example", "jwks": METADATA["jwks"]}
    seen: list[str] = []

    def listen(*arguments: Any) -> None:
        seen.append(arguments[2])

    operators, approvals = Operators.open(url, "default"), Approvals.open(url, "default")
    operators.add_client(METADATA, "agent", STAMP)
    approvals.add_authority(authority, STAMP)
    event.listen(Engine, "before_cursor_execute", listen)
    try:
        operators.remove_client("agent", STAMP)
        approvals.withdraw_statement("https://authority.example", "jti", STAMP)
        approvals.withdraw_software("https://authority.example", "software", STAMP)
        approvals.set_authority_enabled("https://authority.example", STAMP, enabled=False)
        approvals.block_document("https://agent.example/client.json", STAMP)
        approvals.remove_authority("https://authority.example", STAMP)
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    ending = [text for text in seen if text.startswith("UPDATE authorization")]
    assert len(ending) == 6
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert [_slow(_plan(connection, text)) for text in ending] == [[]] * 6


def _instructions(connection: sqlite3.Connection, text: str, parameters: tuple[object, ...]) -> int:
    seen = itertools.count()
    connection.set_progress_handler(lambda: next(seen) and 0, 1)
    connection.execute(text, parameters)
    connection.set_progress_handler(None, 1)
    return next(seen)


def test_an_attempt_costs_the_same_however_many_its_bucket_holds(path: Path) -> None:
    text, limit = statements().attempt, 5000
    attempt = ("default", b"bucket", 100, 190, "default", b"bucket", "default", b"bucket", limit, 10, 1000)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        first = _instructions(connection, text, attempt)
        for _ in range(limit - 2):
            connection.execute(text, attempt)
        last = _instructions(connection, text, attempt)
        assert connection.execute("SELECT count(*) FROM tried").fetchone() == (limit,)
        refused = _instructions(connection, text, attempt)
        assert connection.execute("SELECT count(*) FROM tried").fetchone() == (limit,)
    assert max(last, refused) < first + 20


@contextlib.contextmanager
def _of_schema(path: Path, revision: str) -> Iterator[Connection]:
    """A database as an older version left it."""
    config = Config()
    config.set_main_option("script_location", "fapi_as.adapters.store:migrations")
    with contextlib.closing(sqlite3.connect(path)):
        pass
    with writing_engine(path).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        yield connection


def test_attempts_of_the_first_schema_are_still_counted_after_the_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "first.db"
    with _of_schema(path, "0001") as connection:
        for bucket, at in ((b"a", 100), (b"b", 101), (b"a", 102), (b"a", 103)):
            row = {"bucket": bucket, "at": at}
            insertion = "INSERT INTO tried (tenant, bucket, at, delete_after) VALUES ('default', :bucket, :at, 200)"
            connection.execute(sql(insertion), row)
    migrate(f"sqlite:///{path}")
    with contextlib.closing(sqlite3.connect(path)) as connection:

        def tried(bucket: bytes, limit: int) -> int:
            again = ("default", bucket)
            parameters = (*again, 110, 200, *again, *again, limit, 20, 1000)
            return connection.execute(statements().attempt, parameters).rowcount

        assert [tried(b"a", 3), tried(b"b", 3), tried(b"a", 4), tried(b"a", 4)] == [0, 1, 1, 0]


def test_users_of_an_older_schema_have_no_name_and_no_address(tmp_path: Path) -> None:
    path = tmp_path / "third.db"
    with _of_schema(path, "0003") as connection:
        connection.execute(sql("INSERT INTO user VALUES ('default', 'subject-1', 'alice', 'hash', 1, 1, 1, 1)"))
    migrate(f"sqlite:///{path}")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = connection.execute(statements().user, ("default", "subject-1")).fetchall()
    assert found == [("subject-1", "alice", 1, "hash", 1, None, None)]


async def test_a_client_of_an_older_schema_has_no_approver_and_no_end(tmp_path: Path) -> None:
    path = tmp_path / "fourth.db"
    with _of_schema(path, "0004") as connection:
        row = {"registration": json.dumps(METADATA), "now": STAMP.at}
        connection.execute(sql("INSERT INTO client VALUES ('default', 'agent', :registration, 1, 1, :now, :now)"), row)
        opened = (
            "INSERT INTO authorization VALUES ('default', 'family', 'agent', 'alice', '[]', '[]', :now, :now, NULL)"
        )
        connection.execute(sql(opened), row)
    migrate(f"sqlite:///{path}")
    (stored,) = Operators.open(f"sqlite:///{path}", "default").clients()
    assert (stored.state, stored.approver, stored.last_used_at, stored.expires_at) == ("active", None, None, None)
    database = Database.open(f"sqlite:///{path}", sealing=Sealing(b"s" * 32))
    try:
        reading = database.store("default").reading
        found = await reading.client("agent")
        assert found is not None
        assert (found.approval, found.limits, await reading.registration("agent")) == (None, ClientLimits(), None)
        await database.janitor.sweep("worker", STAMP.at + 400 * 86_400)
        assert await database.store("default").reading.client("agent") is not None
    finally:
        await database.close()


def test_a_statement_whose_parameters_drifted_does_not_compile() -> None:
    columns = table_of(tables.Epoch).c
    with pytest.raises(MisboundStatement):
        text_of(select(columns.value).where(columns.tenant == bindparam("tenant")), "value", "tenant")
