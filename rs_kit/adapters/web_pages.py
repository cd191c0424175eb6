"""Pages of named web origins that call: what their browsers must be told (DPOP-RS-16, Fetch §3.2)."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from rs_kit.protocol.http import Headers

_REQUESTED: Final = b"access-control-request-headers"
_ASKS: Final = b"access-control-request-method"
_EXPOSED: Final = b"www-authenticate, dpop-nonce, mcp-session-id, retry-after"
_SENT: Final = (
    b"authorization, dpop, content-type, accept, last-event-id, "
    b"mcp-protocol-version, mcp-session-id, mcp-method, mcp-name"
)
_ARGUMENT: Final = re.compile(rb"mcp-param-[0-9a-z-]{1,64}\Z")  # named after a tool's arguments
_MAX_AGE: Final = b"600"  # seconds


def readable_by(origin: bytes | None) -> Headers:
    """The headers by which a page of this origin may read an answer; none where no page asks."""
    if origin is None:
        return ()
    return (
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"origin"),
    )


def is_preflight(method: str, headers: Headers) -> bool:
    """Whether a browser asks before it lets a page call."""
    return method == "OPTIONS" and any(name == _ASKS for name, _ in headers)


def preflight(origin: bytes, headers: Headers, methods: Collection[str]) -> Headers:
    """The headers of the answer to such a question."""
    asked = [name.strip().lower() for key, value in headers if key == _REQUESTED for name in value.split(b",")]
    arguments = [name for name in asked if _ARGUMENT.match(name)]
    return (
        *readable_by(origin),
        (b"access-control-allow-methods", ", ".join(methods).encode("ascii")),
        (b"access-control-allow-headers", b", ".join([_SENT, *arguments])),
        (b"access-control-max-age", _MAX_AGE),
    )
