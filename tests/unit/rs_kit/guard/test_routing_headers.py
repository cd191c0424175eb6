"""Mcp-Method and Mcp-Name beside the body that they repeat."""

from __future__ import annotations

import base64

import pytest

from rs_kit.protocol.errors import InvalidRequest
from rs_kit.protocol.routing_headers import HeaderMismatch, check_agreement
from rs_kit.protocol.tool_policy import RpcMessage


def message(method: str = "tools/call", target: str | None = "t") -> RpcMessage:
    return RpcMessage(method, target, {}, 1)


def encoded(name: str) -> bytes:
    return b"=?base64?" + base64.b64encode(name.encode()) + b"?="


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ((), message()),
        (((b"mcp-method", b"tools/call"), (b"mcp-name", b"t")), message()),
        (((b"mcp-name", encoded("\u00fcber")),), message(target="\u00fcber")),
        (((b"mcp-name", encoded("=?base64?eA==?=")),), message(target="=?base64?eA==?=")),
        (((b"mcp-name", b"=?x"),), message(target="=?x")),
        (((b"mcp-name", b"anything"),), message("ping", None)),
        (((b"mcp-name", b"file:///a"),), message("resources/read", "file:///a")),
        (((b"mcp-name", b"p"),), message("prompts/get", "p")),
    ],
)
def test_what_agrees_passes(headers: tuple[tuple[bytes, bytes], ...], said: RpcMessage) -> None:
    check_agreement(headers, said)


@pytest.mark.parametrize(
    "headers",
    [
        ((b"mcp-method", b"tools/list"),),
        ((b"mcp-method", b""),),
        ((b"mcp-name", b"T"),),
        ((b"mcp-name", b"t "),),
        ((b"mcp-name", b"=?base64?dA?="),),
        ((b"mcp-name", b"=?base64?dB==?="),),
        ((b"mcp-name", b"=?base64?/w==?="),),
        ((b"mcp-name", b"=?BASE64?dA==?="),),
        ((b"mcp-name", encoded("u")),),
    ],
)
def test_what_differs_or_cannot_be_read_is_a_mismatch(headers: tuple[tuple[bytes, bytes], ...]) -> None:
    with pytest.raises(HeaderMismatch):
        check_agreement(headers, message())


@pytest.mark.parametrize("name", [b"mcp-method", b"mcp-name"])
def test_a_repeated_header_is_refused(name: bytes) -> None:
    with pytest.raises(InvalidRequest):
        check_agreement(((name, b"t"), (name, b"t")), message())
