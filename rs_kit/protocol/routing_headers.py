"""The headers that repeat what the body says: Mcp-Method and Mcp-Name (MCP Streamable HTTP 2026-07-28).

Nothing is ever decided on them; they are compared, so that whoever decided on them before us decided on this body.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import ClassVar, Final

from rs_kit.protocol.errors import InvalidRequest
from rs_kit.protocol.http import Headers, text
from rs_kit.protocol.tool_policy import RpcMessage

_ENCODED: Final = re.compile(r"=\?base64\?(.*)\?=", re.DOTALL)
_NAMED: Final = frozenset({"tools/call", "prompts/get", "resources/read"})


class HeaderMismatch(InvalidRequest):
    """MCP-8: a routing header says something else than the body; JSON-RPC knows it as -32020."""

    public: ClassVar[str] = "a routing header does not match the body"


def check_agreement(headers: Headers, message: RpcMessage) -> None:
    """A routing header that is there says what the body says.

    Raises:
        HeaderMismatch: it says something else, or cannot be read.
        InvalidRequest: it is repeated.
    """
    methods: list[bytes] = []
    names: list[bytes] = []
    for field, value in headers:
        if field == b"mcp-method":
            methods.append(value)
        elif field == b"mcp-name":
            names.append(value)
    if len(methods) > 1 or len(names) > 1:
        raise InvalidRequest("a routing header is repeated", "a header field is given more than once")
    if methods and not _says(methods[0], message.method):
        raise HeaderMismatch("Mcp-Method and body differ")
    if names and message.method in _NAMED and not _says(names[0], message.target):
        raise HeaderMismatch("Mcp-Name and body differ")


def _says(value: bytes, expected: str | None) -> bool:
    """Whether the value is this one, as it stands or in its `=?base64?…?=` form."""
    decoded = _decoded(text(value)) if value.startswith(b"=?") else value.decode("latin-1")
    return decoded is not None and decoded == expected


def _decoded(value: str) -> str | None:
    """The value out of its `=?base64?…?=` form; None when that form is broken."""
    encoded = _ENCODED.fullmatch(value)
    if encoded is None:
        return value
    try:
        octets = base64.b64decode(encoded.group(1), validate=True)
        text = octets.decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    # one spelling only: bits beyond the value must be zero
    return text if base64.b64encode(octets).decode("ascii") == encoded.group(1) else None
