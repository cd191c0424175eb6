"""JSON that no two parsers read differently."""

from __future__ import annotations

import inspect
import json
import sys
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rs_kit.protocol.strict_json import SAFE_INTEGER, WIDE_INTEGER, InvalidJson, parse, parse_object

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-SAFE_INTEGER, SAFE_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_every_value_survives(value: object, ascii_only: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=60))
@example(b'{"a":1,"a":2}')
@example(b"1" * 5000)
@example(b"[" * 40)
def test_any_bytes_give_a_value_that_another_parser_agrees_with_or_the_one_error(data: bytes) -> None:
    try:
        value = parse(data)
    except InvalidJson:
        return
    assert value == json.loads(data.decode())


@given(st.text('[]{}",:\\u12d8 e-+.atruefalsn', max_size=40))
def test_near_json_gives_a_value_or_the_one_error(text: str) -> None:
    try:
        value = parse(text.encode())
    except InvalidJson:
        return
    assert value == json.loads(text)


REFUSED = {
    "byte order mark": b"\xef\xbb\xbf{}",
    "utf-16": '{"a":1}'.encode("utf-16-le"),
    "utf-32": '{"a":1}'.encode("utf-32-be"),
    "invalid utf-8": b'{"a":"\xff"}',
    "overlong utf-8": b'{"a":"\xc0\xaf"}',
    "raw surrogate": b'{"a":"\xed\xa0\x80"}',
    "lone surrogate": b'{"a":"\\ud800"}',
    "lone surrogate in a name": b'{"\\uDfff":1}',
    "repeated member": b'{"a":1,"a":1}',
    "repeated by an escape": b'{"a":1,"\\u0061":1}',
    "repeated deep inside": b'[{"x":{"a":1,"b":2,"a":3}}]',
    "NaN": b"[NaN]",
    "Infinity": b"[-Infinity]",
    "a float that is infinite": b"[1e400]",
    "an integer beyond the safe range": b"[9007199254740992]",
    "an integer of 5000 digits": b"[" + b"1" * 5000 + b"]",
    "a float of 5000 digits": b"[0." + b"1" * 5000 + b"]",
    "a control character": b'["\x01"]',
    "trailing text": b"{} {}",
    "trailing comma": b"[1,]",
    "comment": b"[/**/1]",
    "nothing": b"",
    "one bracket too many": b"[]]",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.requirement("JOSE-12", proves="refused")
def test_what_parsers_disagree_about_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidJson):
        parse(data)


@pytest.mark.requirement("JOSE-12", proves="holds")
def test_numbers_in_all_their_good_forms_are_read() -> None:
    assert parse_object(b'{"exp":1.5e9,"iat":1500000000,"x":-0.5,"y":9007199254740991}') == {
        "exp": 1.5e9,
        "iat": 1500000000,
        "x": -0.5,
        "y": 9007199254740991,
    }


@pytest.mark.parametrize("data", [b"[]", b"1", b'"{}"', b"null"])
def test_an_object_is_asked_for_and_another_type_refused(data: bytes) -> None:
    with pytest.raises(InvalidJson):
        parse_object(data)


def test_a_surrogate_pair_is_one_character() -> None:
    assert parse(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_application_bodies_may_hold_64_bit_identifiers() -> None:
    assert parse(b"[18446744073709551615]", max_integer=WIDE_INTEGER) == [2**64 - 1]
    with pytest.raises(InvalidJson):
        parse(b"[18446744073709551616]", max_integer=WIDE_INTEGER)


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_depth_is_counted_exactly(opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    assert parse((opening * 32 + "1" + closing * 32).encode()) is not None
    with pytest.raises(InvalidJson):
        parse((opening * 33 + "1" + closing * 33).encode())
    assert parse((opening * 16 + "1" + closing * 16).encode(), max_depth=16) is not None
    with pytest.raises(InvalidJson):
        parse((opening * 17 + "1" + closing * 17).encode(), max_depth=16)


@given(VALUES.filter(lambda value: isinstance(value, list | dict)), st.integers(1, 6))
def test_the_depth_bound_agrees_with_a_walk(value: object, bound: int) -> None:
    def depth(item: object) -> int:
        if isinstance(item, dict):
            return 1 + max(map(depth, item.values()), default=0)
        if isinstance(item, list):
            return 1 + max(map(depth, item), default=0)
        return 0

    data = json.dumps(value).encode()
    if depth(value) <= bound:
        assert parse(data, max_depth=bound) == value
    else:
        with pytest.raises(InvalidJson):
            parse(data, max_depth=bound)


def test_brackets_inside_strings_nest_nothing() -> None:
    text = ["[" * 50, '{"[\\' * 20, "\\" * 7, '\\"[[']
    assert parse(json.dumps(text).encode()) == text


@pytest.mark.attack("JOS-17")
@pytest.mark.parametrize(
    "data",
    [b"[" * 1_000_000, b'{"a":' * 200_000, b"[" * 30_000 + b"]" * 30_000, b'["' + b"[" * 1_000_000],
    ids=["open arrays", "open objects", "closed arrays", "an open string"],
)
def test_a_million_brackets_are_refused_quickly_and_without_recursion(data: bytes) -> None:
    started = time.process_time()
    with pytest.raises(InvalidJson):
        parse(data)
    assert time.process_time() - started < 1


def test_a_deep_stack_below_us_is_no_crash() -> None:
    data = b"[" * 32 + b"]" * 32

    def at_the_bottom(left: int) -> object:
        if left:
            return at_the_bottom(left - 1)
        try:
            return parse(data)
        except InvalidJson:
            return None

    used = len(inspect.stack())
    outcomes = [at_the_bottom(sys.getrecursionlimit() - used - left) for left in range(12, 60, 6)]
    assert parse(data) in outcomes
