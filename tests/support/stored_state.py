"""What a SQLite file of the server holds after a fault: whole, and every row with the facts that belong to it (I8)."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.support.history import Fact, Finding

# each names half states: rows of which the other half is missing
_HALVES: Final = {
    "a spent code without a token fact": """
        SELECT authorization_id FROM handle WHERE kind = 'code' AND spent_at IS NOT NULL AND authorization_id NOT IN
        (SELECT authorization_id FROM audit WHERE event = 'token.issued' AND authorization_id IS NOT NULL)""",
    "a token fact of a code that is not spent": """
        SELECT authorization_id FROM handle WHERE kind = 'code' AND spent_at IS NULL AND authorization_id IN
        (SELECT authorization_id FROM audit WHERE event = 'token.issued')""",
    "a refresh token without a token fact": """
        SELECT authorization_id FROM handle WHERE kind = 'refresh_token' AND authorization_id NOT IN
        (SELECT authorization_id FROM audit WHERE event = 'token.issued' AND authorization_id IS NOT NULL)""",
    "two refresh tokens of one code": """
        SELECT authorization_id FROM handle WHERE kind = 'refresh_token'
        GROUP BY authorization_id HAVING count(*) > 1""",
    "an authorization that was not given by exactly one fact": """
        SELECT authorization_id FROM authorization AS one WHERE 1 != (SELECT count(*) FROM audit
        WHERE event = 'consent.given' AND audit.authorization_id = one.authorization_id)""",
    "an authorization that ended without exactly one fact": """
        SELECT authorization_id FROM authorization AS one WHERE (revoked_at IS NOT NULL) != (SELECT count(*) FROM audit
        WHERE event = 'authorization.revoked' AND audit.authorization_id = one.authorization_id)""",
}


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path, timeout=10.0)) as connection:
        yield connection


def facts(path: Path) -> list[Fact]:
    """The whole audit, oldest first."""
    query = "SELECT id, event, correlation_id, authorization_id, error FROM audit ORDER BY id"
    with _opened(path) as connection:
        rows = connection.execute(query).fetchall()
    names = ("id", "event", "correlation_id", "authorization_id", "error")
    return [Fact(**dict(zip(names, row, strict=True))) for row in rows]


def half_states(path: Path) -> list[Finding]:
    """Damage of the file, and operations of which only a half is there."""
    found = []
    with _opened(path) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
        if verdict != "ok":
            found.append(Finding(promise="I8", text=f"the file is damaged: {verdict}"))
        for what, query in _HALVES.items():
            found += [Finding(promise="I8", text=f"{what}: {row[0]}") for row in connection.execute(query)]
    return found
