"""Which scopes one MCP message needs, decided on the JSON-RPC body and nothing else (TOOL-10, MCP-8)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from rs_kit.protocol.errors import InsufficientScope, InvalidRequest, UnknownMethod
from rs_kit.protocol.strict_json import WIDE_INTEGER, InvalidJson, parse

BODY_DEPTH: Final = 64  # MCP-20
NAME_LIMIT: Final = 2048  # characters of a tool's name or a resource's uri

# what a method acts on; each of these needs a policy of its own
_TARGETS: Final[Mapping[str, str | None]] = MappingProxyType(
    {
        "tools/call": "name",
        "prompts/get": "name",
        "resources/read": "uri",
        "resources/subscribe": "uri",
        "resources/unsubscribe": "uri",
        "subscriptions/listen": None,
        "completion/complete": None,
    }
)
# 2026-07-28 has no such methods, and a server without a policy for them has none either
_OF_SESSIONS: Final = frozenset({"resources/subscribe", "resources/unsubscribe"})
# what reads no data and changes none: the base scopes are enough
_HARMLESS: Final = frozenset(
    {
        "initialize",
        "ping",
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "logging/setLevel",
        "notifications/initialized",
        "notifications/cancelled",
        "notifications/progress",
        "notifications/roots/list_changed",
    }
)
_SCOPE_TOKEN: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+\Z")
_OUTCOMES: Final = frozenset({"result", "error"})
_NOTHING: Final[Mapping[str, Collection[str]]] = MappingProxyType({})


class RpcMessage(NamedTuple):
    """One JSON-RPC request or notification; `target` is the tool, prompt or uri that it names."""

    method: str
    target: str | None
    params: Mapping[str, object]
    request_id: str | int | None


class RpcAnswer(NamedTuple):
    """A client's answer to a request of the server, in a session of an older protocol version; it names no target."""

    request_id: str | int


def parse_message(body: bytes) -> RpcMessage:
    """Read the one message of a POST, before anybody else reads it (MCP-6, TOOL-12).

    Raises:
        InvalidRequest: no strict JSON, a batch, a response, or a call that does not name its target as a string.
    """
    return _request(_object(body))


def parse_message_or_answer(body: bytes) -> RpcMessage | RpcAnswer:
    """As `parse_message`, where the protocol has sessions: a client answers there what its server asks.

    Raises:
        InvalidRequest: no strict JSON, a batch, neither one request nor one answer.
    """
    message = _object(body)
    return _request(message) if "method" in message else _answer(message)


def target_of(method: str, params: Mapping[str, object]) -> str | None:
    """What a message acts on: the tool, the prompt or the uri that it names; None where its method names nothing.

    Raises:
        InvalidRequest: it must name a target, and does not as a string.
    """
    member = _TARGETS.get(method)
    if member is None or (method in _OF_SESSIONS and member not in params):
        return None
    value = params.get(member)
    if not isinstance(value, str) or not 0 < len(value) <= NAME_LIMIT:
        raise InvalidRequest(f"body: params.{member}", "the call does not name its target")
    return value


def _object(body: bytes) -> dict[str, object]:
    try:
        message = parse(body, max_depth=BODY_DEPTH, max_integer=WIDE_INTEGER)
    except InvalidJson as error:
        raise InvalidRequest(f"body: {error}", "the body must be one strict JSON-RPC message") from None
    if not isinstance(message, dict):
        raise InvalidRequest("body: a batch or no object", "the body must be one JSON-RPC message")
    return message


def _request(message: Mapping[str, object]) -> RpcMessage:
    method, params = message.get("method"), message.get("params")
    # what is a request to one parser and a response to another is decided on as one and handled as the other
    if message.get("jsonrpc") != "2.0" or not isinstance(method, str) or not _OUTCOMES.isdisjoint(message):
        raise InvalidRequest("body: no JSON-RPC request", "the body must be one JSON-RPC request or notification")
    if params is None:
        params = {}
    if not isinstance(params, dict):
        raise InvalidRequest("body: params", "params must be an object")
    request_id = _request_id(message) if "id" in message else None
    return RpcMessage(method, target_of(method, params), params, request_id)


def _answer(message: Mapping[str, object]) -> RpcAnswer:
    outcomes = [message[name] for name in _OUTCOMES if name in message]
    if message.get("jsonrpc") != "2.0" or len(outcomes) != 1 or not isinstance(outcomes[0], dict):
        raise InvalidRequest("body: no JSON-RPC message", "the body must be one JSON-RPC message")
    return RpcAnswer(_request_id(message))


def _request_id(message: Mapping[str, object]) -> str | int:
    request_id = message.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, str | int):
        raise InvalidRequest("body: id", "id must be a string or an integer")  # else a parser may see a notification
    return request_id


class ToolPolicy:
    """The scopes of each tool; what is not listed is refused.

    Args:
        tools: the scopes of each tool by its exact name; an empty collection is a tool for every token.
        base: the scopes of the methods that read no data (initialize, ping, lists, notifications) and of streams.
        methods: the scopes of other methods, resources/read or prompts/get or an extension's, by method.
        implied: what a broad scope includes, directly (MCP-10).

    Raises:
        TypeError: one string where a collection of scopes belongs.
        ValueError: a scope that is no scope-token.
    """

    __slots__ = ("_base", "_implied", "_methods", "_tools")

    def __init__(
        self,
        *,
        tools: Mapping[str, Collection[str]],
        base: Collection[str] = (),
        methods: Mapping[str, Collection[str]] = _NOTHING,
        implied: Mapping[str, Collection[str]] = _NOTHING,
    ) -> None:
        self._base = _scopes(base)
        self._tools = {name: _scopes(scopes) for name, scopes in tools.items()}
        self._methods = {name: _scopes(scopes) for name, scopes in methods.items()}
        self._implied = {name: _scopes(scopes) for name, scopes in implied.items()}

    @property
    def base(self) -> tuple[str, ...]:
        """The base scopes, in order: what a first challenge asks for (RS6)."""
        return tuple(sorted(self._base))

    def required(self, message: RpcMessage) -> frozenset[str]:
        """All scopes of this message (RS8).

        Raises:
            InsufficientScope: a tool or method that is known to MCP and has no policy here.
            UnknownMethod: a method outside the closed table, or one that went with sessions and has no policy here.
        """
        if message.method == "tools/call":
            scopes = self._tools.get(message.target or "")
        else:
            scopes = self._methods.get(message.method)
            if scopes is None and message.method in _HARMLESS:
                scopes = self._base
        if scopes is not None:
            return scopes
        if message.method in _TARGETS and message.method not in _OF_SESSIONS:
            raise InsufficientScope("nothing here may be called without a policy", scope=())
        raise UnknownMethod("no such method")

    def check(self, message: RpcMessage, granted: frozenset[str]) -> None:
        """The token's scopes, and what they imply, cover this message.

        Raises:
            InsufficientScope: they do not; the error names all that is needed (RSE-4).
            UnknownMethod: a method outside the closed table.
        """
        self._covers(self.required(message), granted)

    def check_base(self, granted: frozenset[str]) -> None:
        """As `check`, for what carries no method of its own: a stream, the end of a session, an answer.

        Raises:
            InsufficientScope: the base scopes are not covered.
        """
        self._covers(self._base, granted)

    def _covers(self, required: frozenset[str], granted: frozenset[str]) -> None:
        if required <= granted or (self._implied and required <= self._with_implied(granted)):
            return
        raise InsufficientScope("scope", scope=tuple(sorted(required)))

    def _with_implied(self, granted: frozenset[str]) -> frozenset[str]:
        reached: set[str] = set()
        left = list(granted)
        while left:
            scope = left.pop()
            if scope not in reached:
                reached.add(scope)
                left.extend(self._implied.get(scope, ()))
        return frozenset(reached)


def _scopes(scopes: Collection[str]) -> frozenset[str]:
    if isinstance(scopes, str):
        raise TypeError("scopes are a collection of strings, not one string")
    if not all(_SCOPE_TOKEN.match(scope) for scope in scopes):
        raise ValueError("a scope is not a scope-token (RFC 6749 §3.3)")
    return frozenset(scopes)
