"""Reading HTTP/1.1 requests (RFC 9112), strictly: a head that two readers could understand differently is refused.

h11 merges repeated lengths, unfolds lines and takes bare LF before anybody could see them, so this reader stands in its
place: lines end with CRLF, no field is folded, there is at most one Content-Length and never one beside
Transfer-Encoding. Whatever it accepts, h11 reads in the same way (tests/properties/test_http1_reading.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

Fields = list[tuple[bytes, bytes]]

HEAD_LIMIT: Final = 16 * 1024  # bytes of request line and fields together
REQUEST_LINE_LIMIT: Final = 8 * 1024
FIELD_LIMIT: Final = 100
ABSORBED_LIMIT: Final = 16 * 1024  # of a body of known length, until somebody is told of what is there
CHUNK_LINE_LIMIT: Final = 256  # a chunk extension costs us and means nothing to us (RFC 9112 §7.1.1)

TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # RFC 9110 §5.6.2
_PERMITTED: Final = bytes([0x09, 0x0A, 0x0D, *range(0x20, 0x7F), *range(0x80, 0x100)])
_WITHIN_A_LINE: Final = bytes(octet for octet in _PERMITTED if octet not in b"\r\n")
_BROKEN_LINE: Final = re.compile(rb"(?<!\r)\n|\r[^\n]|\n[ \t]")  # bare LF, bare CR, obs-fold (RFC 9112 §2.2, §5.2)
# only origin-form is served (RFC 9112 §3.2.1): whoever sends another form takes us for a proxy
_REQUEST_LINE: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (/[\x21-\x7e]*) HTTP/1\.1")
_NO_TRAILERS: Final = frozenset({b"content-length", b"transfer-encoding", b"host"})  # RFC 9110 §6.5.1
_NOT_OFFERED: Final = frozenset({b"CONNECT", b"TRACE", b"PRI"})
_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t\x20-\x7e]*)?")
_HOST: Final = re.compile(
    rb"(?:[A-Za-z0-9._~!$&'()*+,=%-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?"  # no userinfo
)
_LAST_PORT: Final = 65535
_LENGTH_DIGITS: Final = 18

_BAD_REQUEST: Final = 400
_PAYLOAD_TOO_LARGE: Final = 413
_URI_TOO_LONG: Final = 414
_EXPECTATION_FAILED: Final = 417
_FIELDS_TOO_LARGE: Final = 431
_NOT_IMPLEMENTED: Final = 501


class RefusedRequest(Exception):
    """These bytes are no request that is served here; the connection ends with this status."""

    def __init__(self, reason: str, status: int = _BAD_REQUEST) -> None:
        super().__init__(reason)
        self.status = status


class End(Enum):
    """The request is whole."""

    OF_REQUEST = auto()


@dataclass(slots=True, kw_only=True)
class Head:
    """The head of one request: names in lower case, values without the blanks around them, in order."""

    method: str
    target: bytes
    fields: Fields
    length: int | None = 0  # None: chunked
    close: bool = False
    expects_continue: bool = False


class _At(Enum):
    HEAD = auto()
    SIZED_BODY = auto()
    CHUNK_LINE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILERS = auto()
    END = auto()


class RequestReader:
    """The requests of one connection, one after the other; bytes go in, heads and pieces of bodies come out."""

    def __init__(self, *, body_limit: int) -> None:
        self._body_limit = body_limit
        self._data = bytearray()
        self._seen = 0  # how much of an incomplete head was judged already
        self._at = _At.HEAD
        self._left = 0  # of a body or a chunk
        self._body_bytes = 0

    @property
    def is_whole(self) -> bool:
        """Whether the request is complete; the next one is read after `next_request`."""
        return self._at is _At.END

    @property
    def has_more(self) -> bool:
        """Whether bytes wait that nobody has looked at."""
        return bool(self._data)

    def receive(self, data: bytes) -> None:
        """Take what the peer sent."""
        self._data += data

    def absorb(self, data: bytes) -> bool:
        """Take what only prolongs an incomplete line or body; False leaves it to `receive`, and `next` tells more."""
        size = len(self._data) + len(data)
        if self._at is _At.SIZED_BODY:
            only_more, limit = size < self._left, ABSORBED_LIMIT
        elif self._at is _At.HEAD:
            within_a_line = bytes(self._data[-1:]) not in {b"", b"\r", b"\n"}
            only_more, limit = within_a_line and not data.translate(None, _WITHIN_A_LINE), HEAD_LIMIT
        else:
            return False
        if not only_more or size > limit:
            return False
        self._data += data
        return True

    def next_request(self) -> None:
        """Go on with the request behind the one that was answered."""
        self._at = _At.HEAD
        self._body_bytes = 0

    def next(self) -> Head | bytes | End | None:
        """A head, a piece of its body, the end; None when more bytes are needed.

        Raises:
            RefusedRequest: what came cannot be, or is not, served.
        """
        if self._at is _At.HEAD:
            return self._head()
        if self._at is _At.SIZED_BODY:
            if self._left == 0:
                return self._end()
            return self._piece()
        return self._chunked()

    def _head(self) -> Head | None:
        end = self._data.find(b"\r\n\r\n", max(0, self._seen - 3))
        if end < 0:
            self._judge_beginning()
            return None
        head = parse_head(self._take(end + 4)[:-4])
        if head.length is None:
            self._at = _At.CHUNK_LINE
        else:
            self._at = _At.SIZED_BODY
            self._left = head.length
            if head.length > self._body_limit:
                raise RefusedRequest("body too large", _PAYLOAD_TOO_LARGE)
        return head

    def _piece(self) -> bytes | None:
        if not self._data:
            return None
        piece = self._take(min(self._left, len(self._data)))
        self._left -= len(piece)
        self._body_bytes += len(piece)
        if self._body_bytes > self._body_limit:
            raise RefusedRequest("body too large", _PAYLOAD_TOO_LARGE)
        return piece

    def _chunked(self) -> bytes | End | None:
        while True:
            if self._at is _At.CHUNK_LINE:
                if not self._chunk_line():
                    return None
            elif self._at is _At.CHUNK:
                if self._left:
                    return self._piece()
                self._at = _At.CHUNK_END
            elif self._at is _At.CHUNK_END:
                if not self._chunk_end():
                    return None
            else:
                return self._trailers()

    def _chunk_line(self) -> bool:
        end = self._data.find(b"\r\n", 0, CHUNK_LINE_LIMIT + 2)
        if end < 0:
            if len(self._data) > CHUNK_LINE_LIMIT:
                raise RefusedRequest("chunk line too long")
            return False
        found = _CHUNK_LINE.fullmatch(self._take(end + 2)[:-2])
        if found is None:
            raise RefusedRequest("malformed chunk line")
        self._left = int(found[1], 16)
        self._at = _At.CHUNK if self._left else _At.TRAILERS
        return True

    def _chunk_end(self) -> bool:
        if not b"\r\n".startswith(self._data[:2]):
            raise RefusedRequest("malformed chunk")
        if len(self._data) < len(b"\r\n"):
            return False
        self._take(2)
        self._at = _At.CHUNK_LINE
        return True

    def _trailers(self) -> End | None:
        """Judge the fields behind a chunked body, and drop them: nobody here may be told anything by them."""
        if self._data[:2] == b"\r\n":
            self._take(2)
            return self._end()
        end = self._data.find(b"\r\n\r\n", max(0, self._seen - 3))
        if end < 0:
            self._judge_beginning()
            return None
        for line in _lines(self._take(end + 4)[:-4]):
            if _field(line)[0] in _NO_TRAILERS:
                raise RefusedRequest("framing or routing behind the body")
        return self._end()

    def _end(self) -> End:
        self._at = _At.END
        return End.OF_REQUEST

    def _take(self, count: int) -> bytes:
        taken = bytes(self._data[:count])
        del self._data[:count]
        self._seen = 0
        return taken

    def _judge_beginning(self) -> None:
        # what is broken already is refused now: a head that ends by a laxer rule than ours never would
        seen = max(0, self._seen - 1)
        if self._data[seen:].translate(None, _PERMITTED) or _BROKEN_LINE.search(self._data, seen):
            raise RefusedRequest("malformed head")
        if len(self._data) > HEAD_LIMIT:
            whole_line = 0 <= self._data.find(b"\r\n") <= REQUEST_LINE_LIMIT
            raise RefusedRequest("head too large", _FIELDS_TOO_LARGE if whole_line else _URI_TOO_LONG)
        self._seen = len(self._data)


def parse_head(head: bytes) -> Head:
    """Read a head without its blank line.

    Raises:
        RefusedRequest: it is malformed, ambiguous, too large, or asks for what is not offered.
    """
    lines = _lines(head)
    if len(lines[0]) > REQUEST_LINE_LIMIT:
        raise RefusedRequest("request line too long", _URI_TOO_LONG)
    if len(head) > HEAD_LIMIT or len(lines) > FIELD_LIMIT + 1:
        raise RefusedRequest("head too large", _FIELDS_TOO_LARGE)
    found = _REQUEST_LINE.fullmatch(lines[0])
    if found is None or found[1] in _NOT_OFFERED:
        raise RefusedRequest("not offered")
    parsed = Head(method=found[1].decode("ascii"), target=found[2], fields=[_field(line) for line in lines[1:]])
    _judge_fields(parsed)
    return parsed


def _lines(block: bytes) -> list[bytes]:
    # plain bytes methods, because every request pays for this
    lines = block.split(b"\r\n")
    breaks = len(lines) - 1
    if block.count(b"\n") != breaks or block.count(b"\r") != breaks or block.translate(None, _PERMITTED):
        raise RefusedRequest("bare CR or LF, or a control character")
    return lines


def _field(line: bytes) -> tuple[bytes, bytes]:
    # a folded line begins with a blank, and no name does; neither does a blank stand before the colon
    name, colon, value = line.partition(b":")
    if not name or not colon or name.translate(None, TOKEN):
        raise RefusedRequest("malformed field")
    return name.lower(), value.strip(b" \t")


def _judge_fields(head: Head) -> None:
    """What the framing fields say, each at most once."""
    hosts = lengths = codings = 0
    for name, value in head.fields:
        if name == b"host":
            hosts += 1
            _judge_host(value)
        elif name == b"content-length":
            lengths += 1
            head.length = _length(value)
        elif name == b"transfer-encoding":
            codings += 1
            if value.lower() != b"chunked":
                raise RefusedRequest("transfer coding", _NOT_IMPLEMENTED)
        elif name == b"connection":
            head.close |= any(option.strip(b" \t") == b"close" for option in value.lower().split(b","))
        elif name == b"expect":
            head.expects_continue = True
            if value.lower() != b"100-continue":
                raise RefusedRequest("expectation", _EXPECTATION_FAILED)
        elif name == b"upgrade":
            raise RefusedRequest("no upgrade of any kind")
    # RFC 9112 §6.1, §6.3: two lengths, or a length beside a coding, is how requests are smuggled
    if hosts != 1 or lengths + codings > 1:
        raise RefusedRequest("ambiguous framing")
    if codings:
        head.length = None


def _judge_host(value: bytes) -> None:
    host = _HOST.fullmatch(value)
    if host is None or int(host["port"] or 1) > _LAST_PORT:
        raise RefusedRequest("Host is no host and port")


def _length(value: bytes) -> int:
    if not value.isdigit() or len(value) > _LENGTH_DIGITS:
        raise RefusedRequest("Content-Length is no number")
    return int(value)
