"""The document behind an authority's `status_uri`: two lists of names, or nothing at all."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.protocol.authority_status import AuthorityStatus, InvalidAuthorityStatus, parse_authority_status


def test_the_names_of_both_kinds_are_read_each_once() -> None:
    body = json.dumps({"withdrawn_software": ["a", "b", "a"], "withdrawn_statements": ["j"], "as_of": 1}).encode()
    assert parse_authority_status(body) == AuthorityStatus(software=frozenset("ab"), statements=frozenset("j"))


@pytest.mark.parametrize("member", ["withdrawn_software", "withdrawn_statements"])
def test_one_list_is_enough_and_it_may_be_empty(member: str) -> None:
    assert parse_authority_status(json.dumps({member: []}).encode()) == AuthorityStatus(
        software=frozenset(), statements=frozenset()
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": []}',
        b'{"withdrawn_software": "a"}',
        b'{"withdrawn_software": null}',
        b'{"withdrawn_software": {"a": true}}',
        b'{"withdrawn_software": [1]}',
        b'{"withdrawn_software": [""]}',
        b'{"withdrawn_software": ["a\\u202eb"]}',
        b'{"withdrawn_software": ["a"], "withdrawn_software": []}',
        json.dumps({"withdrawn_software": ["a" * 256]}).encode(),
        json.dumps({"withdrawn_statements": [str(number) for number in range(10_001)]}).encode(),
        b'{"withdrawn_software": ["a"], "withdrawn_statements": "none"}',
        b'\xff{"withdrawn_software": []}',
    ],
)
def test_a_document_that_cannot_be_meant_withdraws_nothing(body: bytes) -> None:
    with pytest.raises(InvalidAuthorityStatus):
        parse_authority_status(body)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_DOCUMENTS = st.dictionaries(st.sampled_from(["withdrawn_software", "withdrawn_statements", "x"]), _VALUES)


@given(st.binary() | _DOCUMENTS.map(lambda members: json.dumps(members).encode()))
def test_whatever_is_there_names_what_can_be_named_or_is_refused(body: bytes) -> None:
    with contextlib.suppress(InvalidAuthorityStatus):
        status = parse_authority_status(body)
        for name in status.software | status.statements:
            assert 0 < len(name) <= 255
            assert name.strip() == name
