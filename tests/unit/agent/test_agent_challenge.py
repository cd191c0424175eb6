"""WWW-Authenticate, as servers write it and as they should not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fapi_as.agent.challenge import chosen


@pytest.mark.requirement("DPOP-CL-4", proves="holds")
def test_parameters_that_nobody_knows_are_passed_over() -> None:
    challenge = chosen(('DPoP realm="x", algs="ES256 PS256", shoe_size=43, error="invalid_token", scope="a b"',))

    assert challenge is not None
    assert challenge.error == "invalid_token"
    assert challenge.scope == ("a", "b")


@pytest.mark.parametrize(
    "values",
    [
        ('Bearer error="invalid_request"', 'DPoP error="invalid_token"'),
        ('Bearer error="invalid_request", DPoP error="invalid_token"',),
        ('DPoP error="invalid_token", Bearer error="invalid_request"',),
        ("Negotiate, dpop   error = invalid_token",),
        ('Basic realm="a \\" b, DPoP error=x", DPOP error="invalid_token"',),
        (", ,DPoP,error=invalid_token",),
    ],
)
def test_the_dpop_challenge_is_found_wherever_it_stands(values: tuple[str, ...]) -> None:
    challenge = chosen(values)

    assert challenge is not None
    assert challenge.scheme == "dpop"
    assert challenge.error == "invalid_token"


def test_without_a_dpop_challenge_the_bearer_one_counts() -> None:
    challenge = chosen(('Basic realm="x"', 'Bearer resource_metadata="https://a.example/m"'))

    assert challenge is not None
    assert challenge.resource_metadata == "https://a.example/m"


def test_a_parameter_that_stands_there_twice_counts_once() -> None:
    challenge = chosen(('DPoP scope="first", scope="second"',))

    assert challenge is not None
    assert challenge.scope == ("first",)


@pytest.mark.requirement("DPOP-CL-4", proves="refused")
@pytest.mark.parametrize("value", ["", "=", '"', "DPoP=", 'error="x"', "\x00", "é", "," * 100_000, '"' * 100_000])
def test_nonsense_is_no_challenge(value: str) -> None:
    assert chosen((value,)) is None


@pytest.mark.parametrize("value", ['DPoP error="unfinished', "DPoP @@@", 'DPoP scope="a" = b', "DPoP " + "a=b," * 9999])
def test_what_was_read_before_the_nonsense_still_counts(value: str) -> None:
    challenge = chosen((value,))

    assert challenge is not None
    assert challenge.scheme == "dpop"


@given(st.lists(st.text(max_size=200), max_size=3))
def test_no_text_crashes_it(values: list[str]) -> None:
    chosen(tuple(values))


@given(st.text(alphabet='DPoPBearer =,"\\\t;ab', max_size=80))
def test_no_text_made_of_its_own_letters_crashes_it(value: str) -> None:
    chosen((value,))
