"""Writing HTTP/1.1 answers (RFC 9112): one head, a body framed by its length or in chunks, nothing injected."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from rs_kit.adapters.listener.reading import TOKEN

_STATUS_LINES: Final[dict[int, bytes]] = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in HTTPStatus
}
CONTINUE: Final = _STATUS_LINES[HTTPStatus.CONTINUE] + b"\r\n\r\n"
_WITHOUT_CONTENT: Final = frozenset({204, 304})
_LAST_CHUNK: Final = b"0\r\n\r\n"


class UnframedAnswer(Exception):
    """What the application said would not be one well-formed answer."""


class AnswerWriter:
    """The answer to one request; `is_whole` only when its framing says so to the peer as well."""

    def __init__(self, method: str) -> None:
        self._method = method
        self._left: int | None = 0  # bytes that the announced length still allows; None: in chunks
        self.begun = False
        self.is_whole = False
        self.close = False

    def begin(self, status: int, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The head. Hop-by-hop framing is ours: an application's Transfer-Encoding is dropped.

        Raises:
            UnframedAnswer: a field that could end its line, a length that is none, or a second head.
        """
        if self.begun:
            raise UnframedAnswer("a second head")
        self._left = None
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status]
        for name, value in fields:
            lowered = name.lower()
            if lowered == b"content-length":
                self._left = self._announced(value)
            elif lowered == b"transfer-encoding":
                continue
            elif lowered == b"connection":
                self.close |= b"close" in value.lower()
            if not name or name.translate(None, TOKEN):
                raise UnframedAnswer("a field name")
            lines.append(name + b": " + value)
        if status in _WITHOUT_CONTENT or self._method == "HEAD":
            self._left = 0
        elif self._left is None:
            lines.append(b"transfer-encoding: chunked")
        head = b"\r\n".join(lines)
        if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1 or b"\0" in head:
            raise UnframedAnswer("a line break or NUL in a field")
        self.begun = True
        return head + b"\r\n\r\n"

    def content(self, data: bytes) -> bytes:
        """A piece of the body.

        Raises:
            UnframedAnswer: it is longer than announced.
        """
        if self._left is None:
            return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        if len(data) > self._left:
            raise UnframedAnswer("more than was announced")
        self._left -= len(data)
        return data

    def end(self) -> bytes:
        """The end of the body.

        Raises:
            UnframedAnswer: it is shorter than announced.
        """
        if self._left:
            raise UnframedAnswer("less than was announced")
        self.is_whole = True
        return b"" if self._left == 0 else _LAST_CHUNK

    def _announced(self, value: bytes) -> int:
        if self._left is not None or not value.isdigit():
            raise UnframedAnswer("a length")
        return int(value)
