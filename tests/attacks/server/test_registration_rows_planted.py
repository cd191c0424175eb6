"""Rows of registrations and approvers that somebody changed behind our back: they count for less, never for more."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Final

import pytest

from tests.support.estate import Estate
from tests.support.registration_estate import registrant, trusted

MINE: Final = "WHERE approver IS NOT NULL"
OUT: Final = {"token": 401, "GET": 401, "PUT": 401, "DELETE": 401}
UNMANAGED: Final = {"token": 200, "GET": 401, "PUT": 401, "DELETE": 401}
UNCHANGED: Final = {"token": 200, "GET": 200, "PUT": 400, "DELETE": 204}
PLANTED: Final[dict[str, tuple[str, dict[str, int], int]]] = {
    "no token": (f"UPDATE client SET token_digest = NULL {MINE}", UNMANAGED, 201),
    "an empty token": (f"UPDATE client SET token_digest = x'' {MINE}", UNMANAGED, 201),
    "an empty key": (f"UPDATE client SET token_jkt = '' {MINE}", UNMANAGED, 201),
    "another statement": (f"UPDATE client SET statement = 'x' {MINE}", UNCHANGED, 201),
    "other software": (f"UPDATE client SET software_id = 'other' {MINE}", UNCHANGED, 201),
    "no client": (f"UPDATE client SET registration = '{{}}' {MINE}", OUT, 201),
    "no JSON": (f"UPDATE client SET registration = '[' {MINE}", OUT, 201),
    "an approver that nobody knows": (f"UPDATE client SET approver = 'https://nobody.example' {MINE}", OUT, 201),
    "a token that nobody issued": (f"UPDATE client SET approver = 'token:x' {MINE}", OUT, 201),
    "no authority": ("UPDATE approver SET registration = '{}'", OUT, 400),
    "an authority that is a token": ("UPDATE approver SET digest = x'00'", UNCHANGED, 400),
    "a suspended authority": ("UPDATE approver SET enabled = 0", OUT, 400),
}
IMPOSSIBLE: Final = [
    f"UPDATE client SET token_digest = 'text' {MINE}",
    f"UPDATE client SET previous_token_digest = 'text' {MINE}",
    f"UPDATE client SET statement = x'00ff' {MINE}",
    f"UPDATE client SET last_used_at = 'text' {MINE}",
    "UPDATE approver SET registration = x'00'",
    "UPDATE approver SET expires_at = 'text'",
    "UPDATE approver SET uses_left = 'text'",
]


def plant(estate: Estate, text: str) -> None:
    with closing(sqlite3.connect(estate.path)) as connection:
        connection.execute(text)
        connection.execute("UPDATE epoch SET value = value + 1")
        connection.commit()


@pytest.mark.attack("STO-09")
@pytest.mark.parametrize("planted", PLANTED)
async def test_what_was_planted_counts_for_less_and_never_for_more(estate: Estate, planted: str) -> None:
    text, expected, new = PLANTED[planted]
    worker = estate.worker()
    agent = registrant(worker, trusted(estate))
    await agent.registered()
    plant(estate, text)
    found = {"token": (await agent.attempt(agent.credentials_request)).status_code}
    for method in ("GET", "PUT", "DELETE"):
        response = await agent.manage(method, agent.replacement() if method == "PUT" else None)
        found[method] = response.status_code
    assert found == expected
    assert (await registrant(worker, agent.authority, seed=3).register()).status_code == new


@pytest.mark.attack("STO-09")
@pytest.mark.parametrize("text", IMPOSSIBLE)
async def test_what_has_another_type_cannot_be_planted(estate: Estate, text: str) -> None:
    worker = estate.worker()
    await registrant(worker, trusted(estate)).registered()
    with pytest.raises(sqlite3.IntegrityError):
        plant(estate, text)
