"""The headers that repeat what the body says: Mcp-Method and Mcp-Name (MCP Streamable HTTP 2026-07-28).

Nothing is ever decided on them; they are compared, so that whoever decided on them before us decided on this body.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import ClassVar, Final

from rs_kit.protocol.errors import InvalidRequest
from rs_kit.protocol.http import Headers, single
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
    method = single(headers, b"mcp-method")
    if method is not None and _decoded(method) != message.method:
        raise HeaderMismatch("Mcp-Method and body differ")
    name = single(headers, b"mcp-name")
    if name is not None and message.method in _NAMED and _decoded(name) != message.target:
        raise HeaderMismatch("Mcp-Name and body differ")


def _decoded(value: str) -> str | None:
    """The value, out of its `=?base64?…?=` form where it has one; None when that form is broken."""
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
