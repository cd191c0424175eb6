"""The table has no hole: every expectation has its tests, and what is not there yet is really not there."""

from __future__ import annotations

import re
from typing import Final

import pytest

from tests.expectations.certification import Certification
from tests.expectations.coverage_table import claimed, holes
from tests.expectations.table import DEVIATIONS, EXPECTATIONS, NOT_YET, PREFIX, ROWS_NOT_YET, TRAPS
from tests.expectations.variants import VARIANTS
from tests.support.requirement_rows import ROOT

DOCUMENT: Final = ROOT.parent / "shared" / "interop" / "openid-fapi2-expectations.md"
OTHER_PROFILES: Final = {  # 2.11 of the document: never run for plain FAPI
    "ensure-registered-redirect-uri",
    "ensure-server-handles-non-matching-intent-id",
    "test-essential-acr-sca-claim",
    "brazil-ensure-bad-payment-signature-fails",
}


def test_every_expectation_has_a_test_or_says_what_it_waits_for() -> None:
    assert holes() == []


def test_every_row_applies_somewhere_and_is_named_once() -> None:
    assert all(any(map(row.applies, VARIANTS)) for row in EXPECTATIONS.values())
    assert len(VARIANTS) == 32


def test_every_trap_is_a_row_or_another_plans() -> None:
    assert set(TRAPS) == set(range(1, 21))
    named = {name for rows in TRAPS.values() if rows is not None for name in rows}
    assert named <= EXPECTATIONS.keys()


def test_deviations_and_what_waits_are_of_rows() -> None:
    assert {deviation.row for deviation in DEVIATIONS} <= EXPECTATIONS.keys()
    assert ROWS_NOT_YET.keys() <= EXPECTATIONS.keys()
    assert not ROWS_NOT_YET.keys() & claimed().keys(), "a row has a test and is declared as missing"


@pytest.mark.asyncio(loop_scope="session")
async def test_what_is_declared_as_missing_is_not_advertised(suite: Certification) -> None:
    there = [missing.capability for missing in NOT_YET if missing.advertised_as in suite.metadata]
    assert there == [], "take it out of NOT_YET: its variants can be run"


def test_no_module_of_the_document_is_missing_from_the_table() -> None:
    if not DOCUMENT.exists():
        print("the document of expectations is not beside the repository: its modules were not compared")
        return
    text = DOCUMENT.read_text(encoding="utf-8")
    sections = text[text.index("### 2.4") : text.index("### 2.11")]
    names = set(
        re.findall(r"`((?:ensure|par|check|test|happy|user|attempt|refresh|incorrect|access-token)-[\w-]+)`", sections)
    )
    assert len(names) > 60, names
    known = {name.removeprefix(PREFIX) for name in EXPECTATIONS}
    assert sorted(names - known - OTHER_PROFILES) == []


def test_no_member_of_the_documents_metadata_table_is_missing() -> None:
    if not DOCUMENT.exists():
        print("the document of expectations is not beside the repository: its metadata table was not compared")
        return
    text = DOCUMENT.read_text(encoding="utf-8")
    table = text[text.index("### 2.3") : text.index("### 2.4")]
    names = {
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([a-z_]+)`", line.split("|")[1])
    }
    together = {"authorization_endpoint", "token_endpoint", "registration_endpoint"}  # in endpoints-are-https
    assert sorted(names - EXPECTATIONS.keys() - together) == []
