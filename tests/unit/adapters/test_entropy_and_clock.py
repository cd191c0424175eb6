"""Randomness has the size that FAPI asks for, and the clock counts whole seconds."""

from __future__ import annotations

import base64
import time

import pytest

from fapi_as.adapters.clock import SystemClock
from fapi_as.adapters.entropy import SystemEntropy


@pytest.mark.requirement("FAPI2-CR-6", proves="holds")
def test_handles_have_256_bits_and_identifiers_128_and_none_comes_twice() -> None:
    entropy = SystemEntropy()
    handles = [entropy.handle() for _ in range(1000)]
    identifiers = [entropy.identifier() for _ in range(1000)]
    assert {len(base64.urlsafe_b64decode(handle + "=")) for handle in handles} == {32}
    assert {len(base64.urlsafe_b64decode(identifier + "==")) for identifier in identifiers} == {16}
    assert len({*handles, *identifiers}) == 2000


def test_the_clock_tells_whole_seconds_of_the_epoch() -> None:
    before, now, after = int(time.time()), SystemClock().now(), int(time.time())
    assert isinstance(now, int)
    assert before <= now <= after


def test_no_identifier_could_be_taken_for_an_option_of_a_command() -> None:
    assert not any(SystemEntropy().identifier().startswith("-") for _ in range(2000))
