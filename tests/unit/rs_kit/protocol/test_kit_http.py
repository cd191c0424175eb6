"""Headers as pairs: one value or none, and credentials in one form."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs_kit.protocol.errors import InvalidRequest
from rs_kit.protocol.http import Credentials, HttpRequest, credentials, once, single

OTHER = (b"accept", b"*/*")


def test_a_header_is_found_once_or_not_at_all() -> None:
    assert single((OTHER, (b"x", b"1"), OTHER), b"x") == "1"
    assert single((OTHER,), b"x") is None
    assert single((), b"x") is None


@pytest.mark.parametrize(
    "headers",
    [
        ((b"x", b"1"), (b"x", b"1")),
        ((b"x", b""), (b"x", b"1")),
        ((b"x", b"\xe9"),),
        ((b"x", b"a\tb"),),
        ((b"x", b"a\x00"),),
        ((b"x", b"\x7f"),),
    ],
)
def test_a_repeated_or_unprintable_header_is_refused(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    with pytest.raises(InvalidRequest):
        single(headers, b"x")


@pytest.mark.parametrize("scheme", ["DPoP", "dpop", "DPOP", "dPoP"])
@pytest.mark.requirement("DPOP-RS-17", proves="holds")
def test_the_scheme_is_read_without_regard_to_case(scheme: str) -> None:
    assert credentials(f"{scheme} abc.DEF-_~+/==".encode()) == Credentials("dpop", "abc.DEF-_~+/==")


@pytest.mark.requirement("DPOP-RS-17", proves="refused")
def test_a_longer_word_is_another_scheme() -> None:
    assert credentials(b"dpopx abc").scheme == "dpopx"


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "DPoP",
        "DPoP ",
        "DPoP  abc",
        " DPoP abc",
        "DPoP\tabc",
        "DPoP abc ",
        "DPoP abc, Bearer d",
        "DPoP abc def",
        "DP-oP abc",
        "DPoP: abc",
        'DPoP "abc"',
        "DPoP ab\u00e9",
    ],
)
def test_credentials_in_any_other_form_are_refused(value: str) -> None:
    with pytest.raises(InvalidRequest):
        credentials(value.encode("latin-1"))


@pytest.mark.requirement("DPOP-RS-7", proves="refused")
def test_two_authorization_headers_are_a_malformed_request() -> None:
    with pytest.raises(InvalidRequest) as caught:
        once(((b"authorization", b"DPoP a"), (b"authorization", b"Bearer b")), b"authorization")
    assert caught.value.error == "invalid_request"


@given(st.binary(max_size=20))
def test_any_field_gives_credentials_or_the_one_error(field: bytes) -> None:
    with contextlib.suppress(InvalidRequest):
        assert credentials(field).token


def test_a_request_is_values_and_nothing_else() -> None:
    request = HttpRequest("POST", "/mcp", (OTHER,))
    assert (request.body, request.peer_certificate) == (b"", None)
