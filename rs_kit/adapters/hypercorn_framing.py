"""Strict HTTP/1.1 framing (RFC 9112): what h11 would merge or forgive is refused before it can.

Two readers of one byte stream must never see two different requests, so nothing ambiguous is repaired: lines end
with CRLF, no field is folded, there is at most one Content-Length and never one beside Transfer-Encoding.
"""

from __future__ import annotations

import re
import sys
from typing import Final

import h11

# h11 offers no other place where the head is still as the peer wrote it
from h11._receivebuffer import ReceiveBuffer

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

HEAD_LIMIT: Final = 16 * 1024  # bytes of request line and fields together
REQUEST_LINE_LIMIT: Final = 8 * 1024
FIELD_LIMIT: Final = 100
CHUNK_LINE_LIMIT: Final = 256  # a chunk extension costs us and means nothing to us (RFC 9112 §7.1.1)

_PERMITTED: Final = bytes([0x09, 0x0A, 0x0D, *range(0x20, 0x7F), *range(0x80, 0x100)])
_BROKEN_LINE: Final = re.compile(rb"(?<!\r)\n|\r[^\n]|\n[ \t]")  # bare LF, bare CR, obs-fold (RFC 9112 §2.2, §5.2)
_CHUNK_LINE: Final = re.compile(rb"[0-9A-Fa-f]{1,16}(?:[ \t]*;[\t\x20-\x7e]*)?\r\n")
_CONTENT_LENGTH: Final = b"\ncontent-length:"
_TRANSFER_ENCODING: Final = b"\ntransfer-encoding:"
_HOST: Final = re.compile(
    rb"(?:[A-Za-z0-9._~!$&'()*+,=%-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?"  # no userinfo
)
_LAST_PORT: Final = 65535
_HTTP_1_1: Final = b"1.1"
_NOT_OFFERED: Final = frozenset({b"CONNECT", b"TRACE", b"PRI"})

BAD_REQUEST: Final = 400
PAYLOAD_TOO_LARGE: Final = 413
_URI_TOO_LONG: Final = 414
_EXPECTATION_FAILED: Final = 417
_FIELDS_TOO_LARGE: Final = 431


class StrictBuffer(ReceiveBuffer):
    """The receive buffer of one connection; it judges a head or a chunk line before h11 takes it apart."""

    @override
    def maybe_extract_lines(self) -> list[bytearray] | None:
        """A whole head (or trailer section) as its lines, or None while it is incomplete.

        Raises:
            h11.RemoteProtocolError: the bytes so far cannot become a head that everybody reads alike.
        """
        if self._data[:2] == b"\r\n":
            self._extract(2)
            return []
        if self._data[:1] == b"\n":
            raise _refusal("bare LF")
        end = self._data.find(b"\r\n\r\n", max(0, self._multiple_lines_search - 1))
        if end < 0:
            self._judge_beginning()
            return None
        judge_head(bytes(self._data[:end]))
        return self._extract(end + 4)[:-4].split(b"\r\n")

    @override
    def maybe_extract_next_line(self) -> bytearray | None:
        """The line before a chunk, or None while it is incomplete.

        Raises:
            h11.RemoteProtocolError: it is no chunk line, or too long.
        """
        line = super().maybe_extract_next_line()
        if len(self._data if line is None else line) > CHUNK_LINE_LIMIT:
            raise _refusal("chunk line too long")
        if line is not None and _CHUNK_LINE.fullmatch(line) is None:
            raise _refusal("malformed chunk line")
        return line

    def _judge_beginning(self) -> None:
        # what is broken already is refused now: a head that ends by a laxer rule than ours never would
        seen = max(0, self._multiple_lines_search - 1)
        if self._data[seen:].translate(None, _PERMITTED) or _BROKEN_LINE.search(self._data, seen):
            raise _refusal("malformed head")
        if len(self._data) > HEAD_LIMIT:
            whole_line = 0 <= self._data.find(b"\r\n") <= REQUEST_LINE_LIMIT
            raise _refusal("head too large", _FIELDS_TOO_LARGE if whole_line else _URI_TOO_LONG)
        self._multiple_lines_search = max(0, len(self._data) - 2)


def judge_head(head: bytes) -> None:
    """Refuse a head (without its blank line) that another reader could take apart differently.

    Raises:
        h11.RemoteProtocolError: with the status to answer as its hint.
    """
    # plain bytes methods, because every request pays for this; patterns would cost ten times as much
    if head.translate(None, _PERMITTED):
        raise _refusal("control character")
    lines = head.count(b"\r\n")
    if head.count(b"\n") != lines or head.count(b"\r") != lines:
        raise _refusal("bare CR or LF")
    if b"\n " in head or b"\n\t" in head:
        raise _refusal("obs-fold")
    if len(head.partition(b"\r\n")[0]) > REQUEST_LINE_LIMIT:
        raise _refusal("request line too long", _URI_TOO_LONG)
    if len(head) > HEAD_LIMIT or lines > FIELD_LIMIT:
        raise _refusal("head too large", _FIELDS_TOO_LARGE)
    _judge_length(head.lower())


def _judge_length(lowered: bytes) -> None:
    _, found, rest = lowered.partition(_CONTENT_LENGTH)
    if not found:
        return
    # RFC 9112 §6.1, §6.3: two lengths, or a length beside a coding, is how requests are smuggled
    if _CONTENT_LENGTH in rest or _TRANSFER_ENCODING in lowered:
        raise _refusal("ambiguous length")
    if not rest.partition(b"\r\n")[0].strip(b" \t").isdigit():
        raise _refusal("Content-Length is no number")


def judge_request(request: h11.Request, *, body_limit: int) -> None:
    """Refuse what this listener does not offer, before any application is asked.

    Only origin-form targets are served (RFC 9112 §3.2.1): whoever sends another form takes us for a proxy.

    Raises:
        h11.RemoteProtocolError: with the status to answer as its hint.
    """
    if request.http_version != _HTTP_1_1 or request.method in _NOT_OFFERED:
        raise _refusal("not offered")
    if not request.target.startswith(b"/"):
        raise _refusal("target is not in origin-form")
    for name, value in request.headers:
        if name == b"host":
            _judge_host(value)
        elif name == b"upgrade":
            raise _refusal("no upgrade of any kind")
        elif name == b"expect" and value.lower() != b"100-continue":
            raise _refusal("expectation", _EXPECTATION_FAILED)
        elif name == b"content-length" and int(value) > body_limit:
            raise _refusal("body too large", PAYLOAD_TOO_LARGE)


def _judge_host(value: bytes) -> None:
    host = _HOST.fullmatch(value)
    if host is None or int(host["port"] or 1) > _LAST_PORT:
        raise _refusal("Host is no host and port")


def _refusal(reason: str, status: int = BAD_REQUEST) -> h11.RemoteProtocolError:
    return h11.RemoteProtocolError(reason, error_status_hint=status)
