"""The pure part: buckets that no name can fake, and what an update is told to have changed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.features.dynamic_registration.rules import (
    bucket,
    changed_members,
    kept_json,
    require_replacement,
)
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from rs_kit.protocol.strict_json import parse_object
from tests.support.store_harness import METADATA

CLIENT = parse_client(METADATA, client_id="agent", version=7)


@given(st.lists(st.text(max_size=4), min_size=1, max_size=3), st.lists(st.text(max_size=4), min_size=1, max_size=3))
def test_other_names_are_another_bucket(one: list[str], two: list[str]) -> None:
    assert (bucket(*one) == bucket(*two)) == (one == two)


def test_the_end_of_one_name_is_not_the_beginning_of_the_next() -> None:
    assert bucket("statement", "https://a", "bc") != bucket("statement", "https://ab", "c")
    assert bucket("statement", "a1:b") != bucket("statement", "a", "b")


def test_what_is_kept_is_read_back_as_the_same_client() -> None:
    read_back = parse_client(parse_object(kept_json(CLIENT).encode()), client_id="agent", version=7)
    assert kept_json(read_back) == kept_json(CLIENT)
    assert changed_members(CLIENT, read_back) == ()


def test_what_changed_is_told_by_name() -> None:
    assert changed_members(CLIENT, CLIENT) == ()
    after = replace(CLIENT, client_name="Another", tls_client_certificate_bound_access_tokens=True)
    assert changed_members(CLIENT, after) == ("client_name", "tls_client_certificate_bound_access_tokens")


@pytest.mark.parametrize("client_id", [None, "", "Agent", "agent ", ["agent"], 1, True])
def test_an_update_names_the_registration_that_it_replaces(client_id: object) -> None:
    with pytest.raises(InvalidClientMetadata):
        require_replacement({"client_id": client_id}, "agent")
    with pytest.raises(InvalidClientMetadata):
        require_replacement({}, "agent")
    require_replacement({"client_id": "agent"}, "agent")
