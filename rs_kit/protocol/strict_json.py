"""JSON that no two parsers read differently (RFC 8725 §3.7, RFC 7493, JOSE-12)."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from itertools import accumulate
from json.scanner import make_scanner
from math import isfinite
from typing import Any, Final, NoReturn

MAX_DEPTH: Final = 32
JOSE_DEPTH: Final = 16  # JOSE-12
SAFE_INTEGER: Final = 2**53 - 1  # RFC 7493 §2.2: beyond it parsers disagree
WIDE_INTEGER: Final = 2**64 - 1  # for application bodies, whose identifiers may be 64-bit
_DIGITS: Final = 20  # of WIDE_INTEGER
_NUMBER_LENGTH: Final = 64
_WHITESPACE: Final = " \t\n\r"  # RFC 8259 §2
_STRUCTURE: Final = bytes(range(256)).translate(None, b'[]{}"')
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # +1 and -1, as signed octets


class InvalidJson(ValueError):
    """Not JSON, or JSON that another parser could read in another way."""


def parse(data: bytes, *, max_depth: int = MAX_DEPTH, max_integer: int = SAFE_INTEGER) -> object:
    """Any JSON text.

    Raises:
        InvalidJson: not UTF-8, a byte order mark, a repeated member, too deep, a number outside the bounds, NaN or
            Infinity, or a lone surrogate.
    """
    try:
        if data.count(b"{") + data.count(b"[") > max_depth and not _is_shallow(data, max_depth):
            raise InvalidJson("nesting")
        text = data.decode("utf-8").strip(_WHITESPACE)
        # the scanner that JSONDecoder.decode calls, without its two searches for whitespace
        value, end = _scanner(max_integer)(text, 0)
        if end != len(text):
            raise InvalidJson("text after the value")
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # a lone surrogate has no UTF-8 form
    except InvalidJson:
        raise
    except (ValueError, RecursionError, StopIteration):
        raise InvalidJson("not JSON") from None
    return value


def parse_object(data: bytes, *, max_depth: int = MAX_DEPTH, max_integer: int = SAFE_INTEGER) -> dict[str, Any]:
    """A JSON text that is an object.

    Raises:
        InvalidJson: as `parse`, or another type.
    """
    value = parse(data, max_depth=max_depth, max_integer=max_integer)
    if not isinstance(value, dict):
        raise InvalidJson("not an object")
    return value


def _is_shallow(data: bytes, max_depth: int) -> bool:
    """Whether brackets outside strings nest no deeper; one pass in C, because the text is the peer's choice."""
    bare = data.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _STRUCTURE)
    steps = b"".join(bare.split(b'"')[::2]).translate(_STEPS)
    return max(accumulate(memoryview(steps).cast("b")), default=0) <= max_depth


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidJson("repeated member")
    return members


def _real(text: str) -> float:
    if len(text) > _NUMBER_LENGTH:
        raise InvalidJson("number")
    value = float(text)
    if not isfinite(value):
        raise InvalidJson("number")
    return value


def _constant(_text: str) -> NoReturn:
    raise InvalidJson("NaN or Infinity")


@lru_cache(maxsize=8)
def _scanner(max_integer: int) -> Callable[[str, int], tuple[Any, int]]:
    def integer(text: str) -> int:
        if len(text) > _DIGITS + 1:
            raise InvalidJson("number")
        value = int(text)
        if not -max_integer <= value <= max_integer:
            raise InvalidJson("number")
        return value

    decoder = json.JSONDecoder(
        object_pairs_hook=_members, parse_int=integer, parse_float=_real, parse_constant=_constant, strict=True
    )
    scan: Callable[[str, int], tuple[Any, int]] = make_scanner(decoder)  # type: ignore[arg-type] # typeshed: not the decoder
    return scan
