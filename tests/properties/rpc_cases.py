"""Generated tool calls and what could be taken for one: bodies and headers that two parsers might read differently.

A case begins honest and is bent by up to three hands. `honest` says that only such hands were at it as every conforming
client may have: there the kit may refuse nothing that the grant covers.
"""

from __future__ import annotations

import base64
import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from tests.properties.rpc_bytes import BYTES

MODERN: Final = "2026-07-28"
LEGACY: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
SESSION: Final = b"{session}"  # stands for the session of whichever server is asked
METHODS: Final = (
    "tools/call", "tools/list", "prompts/get", "resources/read", "resources/list", "initialize", "ping",
    "server/discover", "completion/complete", "logging/setLevel", "subscriptions/listen", "resources/subscribe",
    "notifications/cancelled", "notifications/initialized", "notifications/tools/call", "tasks/get", "rpc.discover",
    "tools/Call", "TOOLS/CALL", "tools/call ", " tools/call", "tools//call", "tools\\call", "tools/call\x00", "",
)  # fmt: skip
NUMBERS: Final = ("0", "-0", "-1", "1.0", "1e0", "1E400", "NaN", "Infinity", "007", "0x1", str(2**53 + 1), "1" * 400)
SPACES: Final = ("", " ", "\t", "\n", "\r\n", "  \n\t")


class Members(list[tuple[str, Any]]):
    """A JSON object that may name a member twice."""

    def put(self, key: str, value: Any) -> None:
        """Replace a member, or add it."""
        self[:] = [pair for pair in self if pair[0] != key]
        self.append((key, value))

    def value(self, key: str) -> Any:
        """Its first value."""
        return next((value for name, value in self if name == key), None)


class Raw(str):
    """JSON as it stands."""

    __slots__ = ()


@dataclass
class Case:
    """One request; `said` tells which hands were at it."""

    tool: str
    era: str
    message: Any
    headers: list[tuple[bytes, bytes]]
    method: str = "POST"
    escapes: float = 0.0
    space: str = ""
    body: bytes = b""
    honest: bool = True
    said: list[str] = field(default_factory=list)

    def header(self, name: bytes, *values: bytes) -> None:
        """These values of a header, in the place of those that were."""
        self.headers = [pair for pair in self.headers if pair[0].lower() != name] + [(name, value) for value in values]


def cases(seed: int, names: Sequence[str]) -> Any:
    """Cases without end; the same for the same seed."""
    draw = Random(seed)
    while True:
        yield _case(draw, names)


def _case(draw: Random, names: Sequence[str]) -> Case:
    era = draw.choice(("modern", "modern", "legacy", "session", "silent"))
    case = _honest(draw, draw.choice(names), era)
    for kind in draw.choices((HARMLESS, SHAPES, HEADERS), weights=(4, 3, 3), k=draw.choice((0, 1, 1, 2, 3))):
        hand = draw.choice(kind)
        case.said.append(hand.__name__)
        case.honest = case.honest and kind is HARMLESS
        hand(case, draw, names)
    case.body = _written(case.message, draw, case).encode("utf-8", "surrogatepass")
    if draw.random() < 0.2:
        bend = draw.choice(BYTES)
        case.said.append(bend.__name__)
        case.honest = False
        case.body = bend(case.body, draw)
    return case


def _honest(draw: Random, tool: str, era: str) -> Case:
    params = Members([("name", tool), ("arguments", Members([("amount", draw.randrange(100))]))])
    headers = [(b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream")]
    if era == "modern":
        meta = Members(
            [
                ("io.modelcontextprotocol/protocolVersion", MODERN),
                ("io.modelcontextprotocol/clientCapabilities", Members()),
            ]
        )
        params.append(("_meta", meta))
        headers += [
            (b"mcp-protocol-version", MODERN.encode()),
            (b"mcp-method", b"tools/call"),
            (b"mcp-name", _field(tool)),
        ]
    elif era == "legacy":
        headers.append((b"mcp-protocol-version", draw.choice(LEGACY).encode()))
    elif era == "session":
        headers += [(b"mcp-protocol-version", LEGACY[0].encode()), (b"mcp-session-id", SESSION)]
    message = Members(
        [("jsonrpc", "2.0"), ("id", draw.randrange(1, 2**31)), ("method", "tools/call"), ("params", params)]
    )
    return Case(tool, era, message, headers)


def _field(value: str) -> bytes:
    """As the SDK's client writes it."""
    if value.isascii() and value.isprintable() and not value.startswith("=?"):
        return value.encode()
    return _encoded(value)


def _encoded(value: str) -> bytes:
    return b"=?base64?" + base64.b64encode(value.encode("utf-8", "surrogatepass")) + b"?="


def _params(case: Case) -> Members:
    value = case.message.value("params") if isinstance(case.message, Members) else None
    return value if isinstance(value, Members) else Members()


# --- what any client may do


def escaped(case: Case, draw: Random, _names: Sequence[str]) -> None:
    """Characters of names and members as \\u escapes."""
    case.escapes = draw.choice((0.2, 1.0))


def spaced(case: Case, draw: Random, _names: Sequence[str]) -> None:
    """JSON's whitespace."""
    case.space = draw.choice(SPACES)


def shuffled(case: Case, draw: Random, _names: Sequence[str]) -> None:
    """Members in another order."""
    if isinstance(case.message, Members):
        draw.shuffle(case.message)
        draw.shuffle(_params(case))


def text_id(case: Case, draw: Random, _names: Sequence[str]) -> None:
    """An id that is a string."""
    if isinstance(case.message, Members):
        case.message.put("id", f"call-{draw.randrange(10**9)}")


def other_type_parameter(case: Case, draw: Random, _names: Sequence[str]) -> None:
    """A parameter of the media type."""
    case.header(b"content-type", draw.choice((b"application/json; charset=utf-8", b"application/json;charset=UTF-16")))


def encoded_name(case: Case, _draw: Random, _names: Sequence[str]) -> None:
    """The header's base64 form, where it is not needed."""
    if case.era == "modern":
        case.header(b"mcp-name", _encoded(case.tool))


def decoys(case: Case, draw: Random, names: Sequence[str]) -> None:
    """Other tools' names where they mean nothing."""
    other = draw.choice(names)
    _params(case).put("Name", other)
    _params(case).put("params", Members([("name", other)]))
    if isinstance(case.message, Members):
        case.message.put("Method", "tools/list")
        case.message.put("name", other)


# --- other shapes


def twice(case: Case, draw: Random, names: Sequence[str]) -> None:
    """A member that is there twice, with two values."""
    other: Any = draw.choice(
        (draw.choice(names), "tools/list", "tools/call", None, 1, Members([("name", draw.choice(names))]))
    )
    where = draw.choice((case.message, _params(case)))
    if isinstance(where, Members) and where:
        where.insert(draw.randrange(len(where) + 1), (draw.choice([key for key, _ in where]), other))


def other_name(case: Case, draw: Random, names: Sequence[str]) -> None:
    """A name that looks like another."""
    name = draw.choice(names)
    _params(case).put("name", draw.choice((
        name.upper(), f"{name} ", f" {name}", f"{name}\x00", f"{name}\u200b", f"\ufeff{name}", name[:-1], f"{name}/",
        unicodedata.normalize("NFD", name), name.replace("a", "\u0430"), _encoded(name).decode(), f"tools/{name}",
        f"__0123456789ab_{name}", f"{name}@1", "", "x" * 3000, name,
    )))  # fmt: skip


def other_name_type(case: Case, draw: Random, names: Sequence[str]) -> None:
    """A name that is no string."""
    name = draw.choice(names)
    _params(case).put("name", draw.choice((
        Raw(draw.choice(NUMBERS)), None, True, [name], [], Members([("name", name)]), Raw(f'"{name}'), Raw(f"'{name}'"),
    )))  # fmt: skip


def other_id(case: Case, draw: Random, _names: Sequence[str]) -> None:
    """An id of another kind, or none."""
    if not isinstance(case.message, Members):
        return
    if draw.random() < 0.2:
        case.message[:] = [pair for pair in case.message if pair[0] != "id"]
    else:
        case.message.put("id", draw.choice((Raw(draw.choice(NUMBERS)), None, True, "", [], Members(), "\ud800")))


def other_method(case: Case, draw: Random, names: Sequence[str]) -> None:
    """Another method, and its headers with it or not."""
    method = draw.choice(METHODS)
    if isinstance(case.message, Members):
        case.message.put("method", draw.choice((method, method, method, [method], None, Raw(draw.choice(NUMBERS)))))
    if draw.random() < 0.6 and case.era == "modern":
        case.header(b"mcp-method", method.encode())
    if draw.random() < 0.5:
        _params(case).put("uri", draw.choice(("notes://one", draw.choice(names))))


def other_version_member(case: Case, draw: Random, _names: Sequence[str]) -> None:
    """Another JSON-RPC, or another protocol version in the body."""
    if isinstance(case.message, Members) and draw.random() < 0.5:
        case.message.put("jsonrpc", draw.choice(("1.0", "2", Raw("2.0"), None, "2.0 ", ["2.0"])))
    else:
        _params(case).put(
            "_meta", Members([("io.modelcontextprotocol/protocolVersion", draw.choice((LEGACY[0], 1, None)))])
        )


def other_params(case: Case, draw: Random, names: Sequence[str]) -> None:
    """params that are no object."""
    if isinstance(case.message, Members):
        name = draw.choice(names)
        case.message.put("params", draw.choice(([name], name, None, [], 1, [Members([("name", name)])])))


def outcome_too(case: Case, draw: Random, _names: Sequence[str]) -> None:
    """A request that is an answer as well."""
    if isinstance(case.message, Members):
        outcome: tuple[str, Any] = ("result", Members())
        if draw.random() < 0.5:
            outcome = ("error", Members([("code", 1), ("message", "no")]))
        case.message.insert(draw.randrange(len(case.message) + 1), outcome)
        if draw.random() < 0.3:
            case.message[:] = [pair for pair in case.message if pair[0] != "method"]


def batch(case: Case, draw: Random, names: Sequence[str]) -> None:
    """An array of messages."""
    other = _honest(draw, draw.choice(names), case.era).message
    case.message = draw.choice(([case.message], [case.message, other], [[other]], [], [other, case.message]))


def deep(case: Case, draw: Random, _names: Sequence[str]) -> None:
    """Arguments that nest."""
    depth = draw.choice((30, 61, 64, 200, 3000))
    _params(case).put("arguments", Members([("amount", Raw("[" * depth + "]" * depth))]))


def odd_arguments(case: Case, draw: Random, _names: Sequence[str]) -> None:
    """Arguments of another kind."""
    value = draw.choice((None, [], "", 1, Members([("amount", Raw(draw.choice(NUMBERS)))]), Members([("amount", "7")])))
    _params(case).put("arguments", value)


# --- other headers


def other_name_header(case: Case, draw: Random, names: Sequence[str]) -> None:
    """Mcp-Name says something else, or says it in another form."""
    name = draw.choice(names)
    whole = _encoded(name)
    case.header(b"mcp-name", *draw.choice((
        (_field(name),), (whole,), (), (b"",), (_field(case.tool), _field(name)), (_field(name), _field(case.tool)),
        (whole.replace(b"base64", b"BASE64"),), (whole.replace(b"=?=", b"?="),), (whole[:-2],), (whole + b" ",),
        (base64.urlsafe_b64encode(name.encode()),), (b"=?base64?!!!?=",), (b"=?base64?/w==?=",),
        (b"=?utf-8?b?" + base64.b64encode(name.encode()) + b"?=",), (name.encode(),), (_encoded(whole.decode()),),
        (_encoded(case.tool)[:-4] + b"?=",), (b" " + _field(case.tool),),
    )))  # fmt: skip


def other_method_header(case: Case, draw: Random, _names: Sequence[str]) -> None:
    """Mcp-Method says something else."""
    case.header(b"mcp-method", *draw.choice((
        (draw.choice(METHODS).encode(),), (), (b"tools/call", b"tools/list"), (b"tools/list", b"tools/call"),
        (b"tools/call", b"tools/call"), (_encoded("tools/call"),), (_encoded("tools/list"),),
    )))  # fmt: skip


def other_version_header(case: Case, draw: Random, _names: Sequence[str]) -> None:
    """Another protocol version, none, or two."""
    old, new = draw.choice(LEGACY).encode(), MODERN.encode()
    case.header(b"mcp-protocol-version", *draw.choice((
        (old,), (new,), (), (old, new), (new, old), (new, new), (old + b", " + new,), (new + b", " + old,), (b"",),
        (b"9999-01-01",), (b" " + new,), (new + b" ",), (_encoded(MODERN),), (b"2026-07-28x",), (b"DRAFT-2026",),
    )))  # fmt: skip


def other_case(case: Case, draw: Random, names: Sequence[str]) -> None:
    """A routing header in capitals, beside the one that is there or instead of it."""
    value = draw.choice((_field(draw.choice(names)), _field(case.tool)))
    name = draw.choice((b"Mcp-Name", b"MCP-NAME", b"mcp_name", b"x-mcp-name"))
    if draw.random() < 0.5:
        case.header(b"mcp-name")
    case.headers.insert(draw.randrange(len(case.headers) + 1), (name, value))


def other_media_type(case: Case, draw: Random, _names: Sequence[str]) -> None:
    """Another media type, none, or two."""
    case.header(b"content-type", *draw.choice((
        (b"text/plain",), (), (b"application/json", b"text/plain"), (b"application/json, text/plain",),
        (b"application/jsonp",), (b"text/plain;application/json",), (b"APPLICATION/JSON",), (b"application/json ;x",),
    )))  # fmt: skip


def other_encoding_header(case: Case, draw: Random, _names: Sequence[str]) -> None:
    """A content coding, or what a client accepts."""
    if draw.random() < 0.5:
        case.header(b"content-encoding", draw.choice((b"gzip", b"identity", b"")))
    else:
        case.header(b"accept", draw.choice((b"application/json", b"*/*", b"text/event-stream", b"")))


def other_session(case: Case, draw: Random, _names: Sequence[str]) -> None:
    """A session that is not there, or two."""
    case.header(b"mcp-session-id", *draw.choice(((b"0" * 32,), (SESSION,), (SESSION, SESSION), (b"",), ())))


def parameter_header(case: Case, draw: Random, _names: Sequence[str]) -> None:
    """Mcp-Param headers."""
    case.header(b"mcp-param-amount", *draw.choice(((b"1",), (b"1", b"2"), (b"=?base64?MQ==?=",))))


def other_http_method(case: Case, draw: Random, _names: Sequence[str]) -> None:
    """The same message by another HTTP method."""
    case.method = draw.choice(("GET", "DELETE", "PUT", "PATCH", "post", "HEAD", "OPTIONS"))


HARMLESS: Final[Sequence[Callable[..., None]]] = (
    escaped, spaced, shuffled, text_id, other_type_parameter, encoded_name, decoys,
)  # fmt: skip
SHAPES: Final[Sequence[Callable[..., None]]] = (
    twice, twice, other_name, other_name_type, other_id, other_method, other_version_member, other_params, outcome_too,
    batch, deep, odd_arguments,
)  # fmt: skip
HEADERS: Final[Sequence[Callable[..., None]]] = (
    other_name_header, other_method_header, other_version_header, other_case, other_media_type, other_encoding_header,
    other_session, parameter_header, other_http_method,
)  # fmt: skip


def _written(value: Any, draw: Random, case: Case) -> str:
    if isinstance(value, Raw):
        return value
    space = case.space
    if isinstance(value, Members):
        members = (f"{_text(key, draw, case)}{space}:{space}{_written(one, draw, case)}" for key, one in value)
        return f"{{{space}{f'{space},{space}'.join(members)}{space}}}"
    if isinstance(value, list):
        return f"[{space}{','.join(_written(one, draw, case) for one in value)}{space}]"
    if isinstance(value, str):
        return _text(value, draw, case)
    return json.dumps(value)


def _text(value: str, draw: Random, case: Case) -> str:
    return '"' + "".join(_character(one, draw, case) for one in value) + '"'


def _character(one: str, draw: Random, case: Case) -> str:
    if draw.random() < case.escapes:
        units = one.encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
    return json.dumps(one, ensure_ascii=False)[1:-1]
