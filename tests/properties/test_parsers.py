"""Every parser takes any bytes: a value or its one declared error; the long runs are those of `make fuzz`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.properties.parser_seeds import SEEDS
from tests.properties.parser_targets import TARGETS

EDITS = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 2), st.binary(max_size=3)), max_size=4)


def edited(seed: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """The seed with some places replaced, removed or filled in."""
    for place, length, inserted in edits:
        at = place % (len(seed) + 1)
        seed = seed[:at] + inserted + seed[at + length :]
    return seed


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_of_a_parser_are_read(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_bytes_give_a_value_or_the_declared_error(name: str, data: st.DataObject) -> None:
    TARGETS[name](data.draw(st.builds(edited, st.sampled_from([b"", *SEEDS[name]]), EDITS)))
