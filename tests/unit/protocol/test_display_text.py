"""Words for a person: what they look like is what they are."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.protocol.display_text import displayed, is_displayable


@pytest.mark.parametrize(
    "text",
    [
        "Ledger agent",
        "Bücherei",
        "銀行エージェント",
        "Банк",
        "بنك",
        "e\u0301cole",
        "A & <b>B</b>",
        "x" * 40,
        "Bank 🏦",
        "a\u00a0b",
    ],
)
def test_names_of_every_script_are_shown(text: str) -> None:
    assert is_displayable(text, 40)


@pytest.mark.parametrize("text", ["", " ", "\t", "\u00a0", "\u3000", " Bank", "Bank ", "Bank\u2003", "x" * 41])
def test_blank_padded_or_long_text_is_not(text: str) -> None:
    assert not is_displayable(text, 40)


@pytest.mark.parametrize(
    "hidden",
    [
        "\x00", "\x07", "\x1b", "\n", "\r", "\t", "\x7f", "\x85", "\u00ad", "\u2028", "\u2029",
        "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u180e",
        "\u061c", "\u200e", "\u200f", "\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067",
        "\u2068", "\u2069",
        "\ud800", "\ue000", "\U000e0001", "\U000e0041", "\uffff", "\u0378",
        "\u034f", "\u115f", "\u1160", "\u17b4", "\u2800", "\u3164", "\ufe00", "\ufe0f", "\uffa0", "\U000e0100",
    ],
    ids=ascii,
)  # fmt: skip
def test_what_reorders_or_hides_its_neighbours_or_shows_nothing_is_not(hidden: str) -> None:
    assert not is_displayable(f"Ba{hidden}nk", 40)
    assert not is_displayable(hidden, 40)
    assert displayed(f"Ba{hidden}nk") == "Bank"


@given(st.text(max_size=40))
def test_every_text_is_shown_or_not(text: str) -> None:
    assert displayed(displayed(text)) == displayed(text)
    if is_displayable(text, 40):
        assert displayed(text) == text
        assert text.strip() == text
        assert not [
            one for one in text if unicodedata.category(one)[0] == "C" or unicodedata.category(one) in {"Zl", "Zp"}
        ]
    else:
        assert not text.isascii() or not text.strip() or text != text.strip() or not text.isprintable()
