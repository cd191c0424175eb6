"""base64url has one spelling per value."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs_kit.protocol import base64url


@given(st.binary(max_size=200))
def test_what_is_encoded_decodes_to_itself(data: bytes) -> None:
    encoded = base64url.encode(data)
    assert encoded == base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    assert base64url.decode(encoded) == data
    assert base64url.decode(encoded.encode()) == data


@given(st.one_of(st.binary(max_size=40), st.text(max_size=40), st.text("Aa0-_+/=", max_size=9)))
def test_what_decodes_is_canonical_and_all_else_is_one_error(text: str | bytes) -> None:
    try:
        data = base64url.decode(text)
    except ValueError:
        return
    assert base64url.encode(data) == (text if isinstance(text, str) else text.decode("ascii"))


@pytest.mark.parametrize(
    "text", ["AA==", "AAA=", "=", "A", "AAAAA", "AB", "AAB", "+AAA", "/AAA", "AA A", "AA\nA", "AAA\n", "é", "AAA!"]
)
def test_another_alphabet_padding_and_loose_bits_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        base64url.decode(text)
