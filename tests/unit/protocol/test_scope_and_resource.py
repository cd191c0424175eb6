"""Scope values and the resource of a token: syntax, and the sets that limit them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.protocol import resource, scope
from fapi_as.protocol.errors import InvalidScope, InvalidTarget
from fapi_as.protocol.profile import SCOPE_LIMIT

BANK, SHOP = "https://bank.example/mcp", "https://shop.example/mcp"


# --- syntax


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("a", ("a",)),
        ("accounts:read transfers:write", ("accounts:read", "transfers:write")),
        ("b a", ("b", "a")),
        ("a b a", ("a", "b")),
        ("!#[]^_`{|}~", ("!#[]^_`{|}~",)),
        ("A a", ("A", "a")),
        ("x" * 128, ("x" * 128,)),
    ],
)
def test_scope_values_keep_their_order_and_case_and_are_there_once(written: str, values: tuple[str, ...]) -> None:
    assert scope.parse(written) == values


@pytest.mark.parametrize(
    "written",
    [
        "",
        " ",
        " a",
        "a ",
        "a  b",
        "a\tb",
        "a\nb",
        "a\n",
        "a\x00b",
        "a\x7f",
        'a"b',
        "a\\b",
        "ä",
        "а",  # noqa: RUF001 - a Cyrillic letter
        "a\u00a0b",
        "a\u2003b",
        "a\u200b",
        "\ud800",
        "x" * 129,
    ],
)
def test_what_is_no_scope_is_refused(written: str) -> None:
    with pytest.raises(InvalidScope) as raised:
        scope.parse(written)
    assert raised.value.detail == "scope syntax"


def test_64_values_are_read_and_the_65th_is_refused_even_when_it_is_no_new_one() -> None:
    assert len(scope.parse(" ".join(f"s{number}" for number in range(SCOPE_LIMIT)))) == 64
    with pytest.raises(InvalidScope):
        scope.parse(" ".join(["a"] * (SCOPE_LIMIT + 1)))


@pytest.mark.attack("PAR-17")
@pytest.mark.parametrize(
    "written", ["x" * 50_000, " ".join(["x"] * 5_000), " " * 50_000, "unknown", "a unknown"], ids=len
)
def test_an_absurd_or_unregistered_scope_is_refused_at_once(written: str) -> None:
    before = time.process_time()
    with pytest.raises(InvalidScope):
        scope.limited(scope.parse(written), frozenset({"a"}))
    assert time.process_time() - before < 0.02


@given(st.text(max_size=80))
def test_every_text_gives_scope_values_or_the_one_error(written: str) -> None:
    try:
        values = scope.parse(written)
    except InvalidScope:
        return
    assert values
    assert set(values) == set(written.split(" "))
    assert all(scope.is_scope_token(value) for value in values)
    assert scope.parse(" ".join(values)) == values


@given(st.text(max_size=3))
def test_a_scope_token_is_what_the_grammar_says(value: str) -> None:
    allowed = {chr(code) for code in range(0x21, 0x7F)} - {'"', "\\"}
    assert scope.is_scope_token(value) == (bool(value) and set(value) <= allowed)


# --- limits


@pytest.mark.requirement("FAPI2-AZ-25", proves="holds")
@pytest.mark.parametrize("written", ["a b c", "c b a", "b a c"])
def test_scope_values_are_allowed_in_any_order(written: str) -> None:
    assert set(scope.limited(scope.parse(written), {"a", "b", "c"})) == {"a", "b", "c"}


@pytest.mark.requirement("FAPI2-AS-18", proves="holds")
def test_what_every_set_allows_is_given_as_it_was_asked() -> None:
    assert scope.limited(("b", "a"), {"a", "b", "c"}, {"b": "words", "a": "words"}) == ("b", "a")


@pytest.mark.requirement("FAPI2-AS-18", proves="refused")
@pytest.mark.parametrize("allowed", [({"a"},), ({"a", "b"}, {"a"}), ({"a"}, {"a", "b"}), (set(),), ({"A", "B"},)])
def test_one_value_that_one_set_does_not_allow_refuses_all(allowed: tuple[set[str], ...]) -> None:
    with pytest.raises(InvalidScope):
        scope.limited(("a", "b"), *allowed)


def test_of_what_was_granted_the_rest_that_still_means_something_is_left() -> None:
    assert scope.narrowed(("c", "b", "a"), {"a", "b"}, {"a", "b", "c"}) == ("b", "a")


@pytest.mark.parametrize("granted", [(), ("b",)])
def test_a_token_for_nothing_is_refused(granted: tuple[str, ...]) -> None:
    with pytest.raises(InvalidScope):
        scope.narrowed(granted, {"a"})


# --- the resource of a token


@pytest.mark.requirement("RES-3", proves="holds")
@pytest.mark.parametrize(
    ("asked", "granted"), [((), (BANK,)), ((BANK,), (BANK,)), ((BANK,), (SHOP, BANK)), ((BANK,), (BANK, SHOP))]
)
def test_the_audience_is_the_one_named_or_the_only_one_granted(
    asked: tuple[str, ...], granted: tuple[str, ...]
) -> None:
    assert resource.chosen(asked, granted) == BANK


@pytest.mark.requirement("RES-3", proves="refused")
@pytest.mark.parametrize(
    ("asked", "granted"),
    [((SHOP,), (BANK,)), ((), (BANK, SHOP)), ((), ()), ((f"{BANK}/",), (BANK,)), ((BANK.upper(),), (BANK,))],
)
def test_no_audience_that_was_not_granted_and_none_by_guessing(
    asked: tuple[str, ...], granted: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidTarget):
        resource.chosen(asked, granted)


@pytest.mark.requirement("RES-4", proves="refused")
@pytest.mark.parametrize("asked", [(BANK, SHOP), (BANK, BANK)])
def test_a_token_has_one_audience(asked: tuple[str, ...]) -> None:
    with pytest.raises(InvalidTarget):
        resource.chosen(asked, (BANK, SHOP))
