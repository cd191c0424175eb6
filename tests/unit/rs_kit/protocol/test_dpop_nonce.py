"""Stateless nonces: of this server, of this time, of this key."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs_kit.protocol import nonce

KEY, OTHER = b"k" * 32, b"o" * 32
WINDOW = 120
START = 1_790_000_000 // WINDOW * WINDOW


def issue(now: int = START, *, jkt: str | None = "thumb", key: bytes = KEY) -> str:
    return nonce.issue(key, now=now, jkt=jkt, window_seconds=WINDOW)


def check(value: str, now: int = START, *, jkt: str | None = "thumb", key: bytes = KEY) -> bool:
    return nonce.check(key, value, now=now, jkt=jkt, window_seconds=WINDOW)


@pytest.mark.attack("DPR-12")
@pytest.mark.parametrize(
    ("age", "good"),
    [
        (0, True),
        (WINDOW - 1, True),
        (WINDOW, True),
        (2 * WINDOW - 1, True),
        (2 * WINDOW, False),
        (-1, False),
    ],
)
def test_the_current_and_the_previous_window_are_good_and_no_other(age: int, good: bool) -> None:
    assert check(issue(START), START + age) is good


def test_a_nonce_is_bound_to_the_key_that_it_was_issued_to() -> None:
    assert check(issue(jkt="thumb"), jkt="thumb")
    assert not check(issue(jkt="thumb"), jkt="other")
    assert not check(issue(jkt="thumb"), jkt=None)


def test_a_nonce_issued_before_the_key_was_known_is_good_for_any_key() -> None:
    assert check(issue(jkt=None), jkt="thumb")
    assert check(issue(jkt=None), START + WINDOW, jkt=None)


def test_the_nonce_of_another_server_or_another_window_length_is_refused() -> None:
    assert not check(issue(key=OTHER))
    assert not check(nonce.issue(KEY, now=START, jkt="thumb", window_seconds=WINDOW * 2))


def test_a_nonce_is_short_opaque_and_of_the_charset_of_rfc_9449() -> None:
    first, second = issue(START), issue(START + WINDOW)
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", first)
    assert first != second
    assert issue(START + WINDOW - 1) == first


@pytest.mark.parametrize("value", ["\u00e9" * 32, "a" * 31, "a" * 33, "", issue() + "=", issue()[:-1]])
def test_a_nonce_of_another_form_is_refused(value: str) -> None:
    assert not check(value)


@given(st.text(max_size=40) | st.text("abcdefABCDEF0123-_", min_size=32, max_size=32))
def test_a_guessed_nonce_is_refused_and_never_an_error(value: str) -> None:
    assert not check(value)
