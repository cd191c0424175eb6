"""What an HTTP face of the kit refuses by itself, and how every refusal looks on the wire."""

from __future__ import annotations

import json
from typing import ClassVar, Final

from rs_kit.guard import MethodNotAllowed, UnknownPath
from rs_kit.protocol.challenge import status_of
from rs_kit.protocol.errors import InvalidRequest, ProtocolError, Unavailable, UnknownMethod
from rs_kit.protocol.http import Headers
from rs_kit.protocol.routing_headers import HeaderMismatch

RpcId = str | int | None

_METHOD_NOT_FOUND: Final = -32601  # JSON-RPC 2.0 §5.1
_HEADER_MISMATCH: Final = -32020  # MCP Streamable HTTP 2026-07-28
_RETRY_AFTER: Final = (b"retry-after", b"2")
_FIXED: Final[Headers] = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)


class OriginNotAllowed(InvalidRequest):
    """MCP-5: a web page that the configuration does not name calls (DNS rebinding)."""

    public: ClassVar[str] = "this origin is not allowed"


class RequestTimeout(InvalidRequest):
    """RFC 9110 §15.5.9: the body did not come in time (HTT-16)."""

    public: ClassVar[str] = "the request body did not arrive in time"


class PayloadTooLarge(InvalidRequest):
    """RFC 9110 §15.5.14: the body is larger than we read (HTT-10)."""

    public: ClassVar[str] = "the request body is too large"


class UnsupportedMediaType(InvalidRequest):
    """RFC 9110 §15.5.16: not JSON, or not readable as it stands (MCP-20, HTT-23)."""

    public: ClassVar[str] = "the request body must be application/json without a content coding"


_STATUS: Final[dict[type[ProtocolError], int]] = {
    OriginNotAllowed: 403,
    MethodNotAllowed: 405,
    RequestTimeout: 408,
    PayloadTooLarge: 413,
    UnsupportedMediaType: 415,
}


def answer(error: ProtocolError, *, challenge: Headers, request_id: RpcId) -> tuple[int, Headers, bytes]:
    """Status, headers and body of a refusal; the private reason is in none of them."""
    body = json.dumps(_payload(error, request_id), separators=(",", ":")).encode()
    headers = (*_FIXED, (b"content-length", b"%d" % len(body)), *challenge)
    if isinstance(error, Unavailable):
        headers = (*headers, _RETRY_AFTER)
    elif isinstance(error, MethodNotAllowed):
        headers = (*headers, (b"allow", ", ".join(error.allowed).encode("ascii")))
    return _STATUS.get(type(error)) or status_of(error), headers, body


def is_rpc(error: ProtocolError) -> bool:
    """Whether MCP gives this refusal a JSON-RPC code of its own (RSE-8)."""
    return _rpc_code(error) is not None


def _rpc_code(error: ProtocolError) -> int | None:
    if isinstance(error, HeaderMismatch):
        return _HEADER_MISMATCH
    if isinstance(error, UnknownMethod) and not isinstance(error, UnknownPath):
        return _METHOD_NOT_FOUND
    return None


def _payload(error: ProtocolError, request_id: RpcId) -> dict[str, object]:
    """JSON-RPC's form for what has a code there, OAuth's for all the rest."""
    code = _rpc_code(error)
    if code is not None:
        return {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": error.description}}
    if error.error:
        return {"error": error.error, "error_description": error.description}
    return {"error_description": error.description}  # RFC 6750 §3.1: without credentials there is no error code
