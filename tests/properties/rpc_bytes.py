"""Bodies whose octets another hand has been at: encodings, overlong forms, what is around a text, other languages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final


def recoded(body: bytes, draw: Random) -> bytes:
    """Another encoding of the same text."""
    codec = draw.choice(("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-7", "latin-1"))
    return body.decode("utf-8", "surrogatepass").encode(codec, "replace")


def overlong(body: bytes, draw: Random) -> bytes:
    """An ASCII character as two or three octets."""
    at = draw.randrange(len(body)) if body else 0
    octet = body[at : at + 1] or b"a"
    two = bytes((0xC0 | octet[0] >> 6, 0x80 | octet[0] & 0x3F))
    return body[:at] + draw.choice((two, b"\xe0" + bytes((0x80 | octet[0] >> 6,)) + two[1:])) + body[at + 1 :]


def other_octet(body: bytes, draw: Random) -> bytes:
    """An octet that is another, is gone, or is new."""
    at = draw.randrange(len(body)) if body else 0
    new = bytes((draw.randrange(256),))
    return draw.choice((body[:at] + new + body[at + 1 :], body[:at] + body[at + 1 :], body[:at] + new + body[at:]))


def around(body: bytes, draw: Random) -> bytes:
    """Something before or after the text."""
    more = draw.choice(
        (b" ", b"\x00", b"\x0b", b"\xc2\xa0", b"\x1e", b"//\n", b"/**/", b",", b"{}", body, b"\n", b")]}'\n")
    )
    return draw.choice((more + body, body + more))


def no_json(body: bytes, draw: Random) -> bytes:
    """JSON as other languages have it."""
    return draw.choice((
        body.replace(b'"', b"'"), body.replace(b"}", b",}"), body.replace(b'"2.0"', b"2.0"), body[:-1], b"",
        body.replace(b'"name"', b"name"), body.replace(b":", b"="), body.replace(b'"method"', b'"\\u006Dethod"'),
        body.replace(b'"name"', b'"n\\u0061me"'), body.replace(b'"name"', b'"n\\141me"'),
    ))  # fmt: skip


BYTES: Final[Sequence[Callable[..., bytes]]] = (recoded, overlong, other_octet, around, no_json)
