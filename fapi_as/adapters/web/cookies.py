"""`__Host-` cookies: Secure, HttpOnly, SameSite=Lax, Path=/, and no way to say otherwise."""

from __future__ import annotations

import re
from typing import Final

from fapi_as.kernel.messages import Cookie

PREFIX: Final = "__Host-"
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")
_VALUE: Final = re.compile(r"[A-Za-z0-9_.~+/=-]*")  # a subset of cookie-octet (RFC 6265 §4.1.1) that nobody quotes
_ATTRIBUTES: Final = "; Path=/; Secure; HttpOnly; SameSite=Lax"


def set_cookie(cookie: Cookie) -> bytes:
    """The value of one Set-Cookie header; the name gets its prefix when it does not have it yet.

    Raises:
        ValueError: a character in it would end the name or the value early.
    """
    name = cookie.name if cookie.name.startswith(PREFIX) else PREFIX + cookie.name
    value = cookie.value or ""
    if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
        raise ValueError("a cookie holds a character that it must not")
    removal = "; Max-Age=0" if cookie.value is None else ""
    return f"{name}={value}{_ATTRIBUTES}{removal}".encode("ascii")
