"""base64url without padding, one spelling per value (RFC 7515 §2, RFC 4648 §3.5)."""

from __future__ import annotations

import binascii
from typing import Final

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
# the letters of the other alphabet and padding become a byte that the strict decoder refuses
_FROM_URL: Final = bytes.maketrans(b"-_+/=", b"+/!!!")
_PADDING: Final = (b"", b"", b"==", b"=")
# RFC 4648 §3.5: unused bits are zero, so only these characters can end a group of two or three
_LAST_OF_TWO: Final = frozenset(b"AQgw")
_LAST_OF_THREE: Final = frozenset(b"AEIMQUYcgkosw048")


def encode(data: bytes) -> str:
    """The canonical form of `data`."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL).decode("ascii")


def decode(text: str | bytes) -> bytes:
    """The bytes of a canonical form.

    Raises:
        ValueError: another alphabet, padding, whitespace, or a second spelling of the same bytes.
    """
    encoded = text.encode("ascii") if isinstance(text, str) else text
    rest = len(encoded) & 3
    if rest:
        if rest == 1:
            raise ValueError("impossible base64url length")
        if encoded[-1] not in (_LAST_OF_TWO if rest == 2 else _LAST_OF_THREE):  # noqa: PLR2004 - characters of a group
            raise ValueError("base64url is not canonical")
    return binascii.a2b_base64(encoded.translate(_FROM_URL) + _PADDING[rest], strict_mode=True)
