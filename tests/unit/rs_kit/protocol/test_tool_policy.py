"""Per-tool scopes, decided on the body."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rs_kit.protocol.errors import InsufficientScope, InvalidRequest, UnknownMethod
from rs_kit.protocol.tool_policy import RpcAnswer, RpcMessage, ToolPolicy, parse_message, parse_message_or_answer

POLICY = ToolPolicy(
    tools={"get_balance": {"accounts:read"}, "transfer": ("accounts:read", "transfers:write"), "ping": ()},
    base=("mcp:use",),
    methods={"resources/read": ("docs:read",), "acme/export": ("export",)},
    implied={"everything": ("transfers:write", "accounts"), "accounts": ("accounts:read",)},
)


def body(method: object = "tools/call", /, **more: Any) -> bytes:
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"name": "get_balance", "arguments": {}}}
    return json.dumps({name: value for name, value in (message | more).items() if value is not ...}).encode()


def call(tool: str) -> RpcMessage:
    return parse_message(body(params={"name": tool}))


def test_a_message_is_read_once_with_what_it_acts_on() -> None:
    assert parse_message(body()) == RpcMessage("tools/call", "get_balance", {"name": "get_balance", "arguments": {}}, 1)
    assert parse_message(body("resources/read", params={"uri": "file:///x"})).target == "file:///x"
    assert parse_message(body("tools/list", params=..., id="a")) == RpcMessage("tools/list", None, {}, "a")
    assert parse_message(body("notifications/initialized", params=None, id=...)).request_id is None


REFUSED = {
    "a batch": b"[" + body() + b"]",
    "an empty batch": b"[]",
    "no JSON": b"name=transfer",
    "nothing": b"",
    "a repeated name": b'{"jsonrpc":"2.0","method":"tools/call","params":{"name":"get_balance","name":"transfer"}}',
    "a repeated method": b'{"jsonrpc":"2.0","method":"tools/list","method":"tools/call","params":{"name":"transfer"}}',
    "utf-16": body().decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + body(),
    "a lone surrogate": body(params={"name": "get_balance", "arguments": {"a": "x"}}).replace(b'"x"', b'"\\ud800"'),
    "1e400": body(params={"name": "get_balance", "arguments": {"a": 7}}).replace(b"7", b"1e400"),
    "depth 65": body(params={"name": "get_balance", "arguments": {"a": "x"}}).replace(b'"x"', b"[" * 62 + b"]" * 62),
    "another version": body(jsonrpc="1.0"),
    "no version": body(jsonrpc=...),
    "a response": json.dumps({"jsonrpc": "2.0", "id": 1, "result": {}}).encode(),
    "a method that is a list": body(["tools/call"]),
    "params that are a list": body(params=["transfer"]),
    "a call without a name": body(params={}),
    "a call without params": body(params=...),
    "an empty name": body(params={"name": ""}),
    "a name that is a list": body(params={"name": ["transfer"]}),
    "a long name": body(params={"name": "t" * 2049}),
    "an id that is true": body(id=True),
    "an id that is an object": body(id={}),
}  # fmt: skip


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.requirement("MCP-6", proves="refused")
def test_what_is_not_one_plain_message_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_message(data)


def test_a_body_may_nest_64_deep() -> None:
    data = body(params={"name": "get_balance", "arguments": {"a": "x"}}).replace(b'"x"', b"[" * 61 + b"]" * 61)
    assert parse_message(data).target == "get_balance"


@pytest.mark.parametrize(
    ("message", "granted"),
    [
        (call("get_balance"), {"accounts:read"}),
        (call("transfer"), {"accounts:read", "transfers:write", "other"}),
        (call("ping"), set()),
        (parse_message(body("tools/list")), {"mcp:use"}),
        (parse_message(body("initialize")), {"mcp:use"}),
        (parse_message(body("notifications/cancelled")), {"mcp:use"}),
        (parse_message(body("resources/read", params={"uri": "x"})), {"docs:read"}),
        (parse_message(body("acme/export")), {"export"}),
    ],
)
def test_the_scopes_of_an_operation_allow_it(message: RpcMessage, granted: set[str]) -> None:
    POLICY.check(message, frozenset(granted))


@pytest.mark.parametrize(
    ("message", "needed"),
    [
        (call("get_balance"), ("accounts:read",)),
        (call("transfer"), ("accounts:read", "transfers:write")),
        (parse_message(body("tools/list")), ("mcp:use",)),
        (parse_message(body("resources/read", params={"uri": "x"})), ("docs:read",)),
    ],
)
@pytest.mark.requirement("RSE-4", proves="refused")
def test_without_them_the_refusal_names_all_that_is_needed(message: RpcMessage, needed: tuple[str, ...]) -> None:
    for granted in (frozenset[str](), frozenset({"transfers:write"}), frozenset(needed[:-1]), frozenset(needed[1:])):
        with pytest.raises(InsufficientScope) as caught:
            POLICY.check(message, granted)
        assert caught.value.scope == needed


@pytest.mark.parametrize(
    "tool",
    ["wire", "TRANSFER", "transfer ", "transfer\u0000", "=?base64?dHJhbnNmZXI=?=", "transf\u0435r"],
)
def test_a_tool_that_is_not_listed_is_refused_whatever_the_token(tool: str) -> None:
    with pytest.raises(InsufficientScope) as caught:
        POLICY.check(call(tool), frozenset({"everything", "accounts:read", "transfers:write", "mcp:use"}))
    assert caught.value.scope == ()


@pytest.mark.parametrize(
    "method",
    ["prompts/get", "completion/complete", "subscriptions/listen"],
)
def test_a_method_that_reads_data_needs_a_policy(method: str) -> None:
    with pytest.raises(InsufficientScope):
        POLICY.check(parse_message(body(method, params={"name": "x", "uri": "x"})), frozenset({"mcp:use"}))


@pytest.mark.parametrize(
    "method",
    ["tools/Call", "tools/call ", "tasks/get", "rpc.discover", "", "notifications/x", "x" * 100],
)
@pytest.mark.requirement("MCP-9", proves="refused")
def test_a_method_outside_the_table_is_unknown(method: str) -> None:
    with pytest.raises(UnknownMethod):
        POLICY.check(parse_message(body(method)), frozenset({"mcp:use"}))


@pytest.mark.parametrize("method", ["resources/subscribe", "resources/unsubscribe"])
@pytest.mark.parametrize("params", [{}, {"uri": "x"}], ids=["names nothing", "names a uri"])
@pytest.mark.requirement("MCP-9", proves="refused")
def test_a_method_that_went_with_sessions_is_unknown_where_no_policy_names_it(
    method: str, params: dict[str, str]
) -> None:
    message = parse_message(body(method, params=params))
    with pytest.raises(UnknownMethod):
        POLICY.check(message, frozenset({"mcp:use"}))
    ToolPolicy(tools={}, methods={method: ["docs:watch"]}).check(message, frozenset({"docs:watch"}))


@pytest.mark.parametrize("scope", ["accounts", "everything"])
@pytest.mark.requirement("MCP-10", proves="holds")
def test_a_broad_scope_includes_the_narrow_one(scope: str) -> None:
    POLICY.check(call("get_balance"), frozenset({scope}))


@pytest.mark.requirement("MCP-10", proves="refused")
def test_a_narrow_scope_does_not_include_the_broad_one() -> None:
    with pytest.raises(InsufficientScope):
        POLICY.check(call("transfer"), frozenset({"accounts"}))


def test_a_policy_without_hierarchy_compares_plainly() -> None:
    policy = ToolPolicy(tools={"t": ("a", "b")}, base=("base",), methods={"tools/list": ("list",)})
    policy.check(call("t"), frozenset({"a", "b"}))
    with pytest.raises(InsufficientScope):
        policy.check(call("t"), frozenset({"a"}))
    with pytest.raises(InsufficientScope):  # what has its own policy does not live on the base scopes
        policy.check(parse_message(body("tools/list")), frozenset({"base"}))


def test_what_has_no_method_of_its_own_needs_the_base_scopes() -> None:
    POLICY.check_base(frozenset({"mcp:use"}))
    with pytest.raises(InsufficientScope) as caught:
        POLICY.check_base(frozenset({"everything"}))
    assert caught.value.scope == ("mcp:use",)
    ToolPolicy(tools={}).check_base(frozenset())


def answer(**more: Any) -> bytes:
    message = {"jsonrpc": "2.0", "id": 1, "result": {}}
    return json.dumps({name: value for name, value in (message | more).items() if value is not ...}).encode()


@pytest.mark.parametrize(
    "data", [answer(), answer(id="a"), answer(result=..., error={"code": 1, "message": "no"})], ids=range(3)
)
def test_where_there_are_sessions_a_client_may_answer(data: bytes) -> None:
    assert isinstance(parse_message_or_answer(data), RpcAnswer)
    with pytest.raises(InvalidRequest):  # and nowhere else
        parse_message(data)


def test_where_there_are_sessions_a_request_is_read_as_everywhere() -> None:
    assert parse_message_or_answer(body()) == parse_message(body())


@pytest.mark.parametrize(
    "data",
    [
        answer(method="tools/call"),
        answer(method=None),
        answer(error={"code": 1, "message": "no"}),
        answer(result=...),
        answer(result=...) + b" ",
        answer(result=[]),
        answer(id=None),
        answer(id=...),
        answer(id=True),
        answer(jsonrpc="1.0"),
        b"[" + answer() + b"]",
        b'{"jsonrpc":"2.0","id":1,"result":{},"result":{}}',
        *(data for name, data in REFUSED.items() if name != "a response"),
    ],
)
def test_no_answer_is_anything_else_to_another_parser(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_message_or_answer(data)


def test_scopes_that_imply_each_other_are_no_endless_loop() -> None:
    policy = ToolPolicy(tools={"t": ("c",)}, implied={"a": ("b",), "b": ("a",)})
    with pytest.raises(InsufficientScope):
        policy.check(call("t"), frozenset({"a"}))


def test_the_base_scopes_are_what_a_first_challenge_asks_for() -> None:
    assert POLICY.base == ("mcp:use",)
    assert ToolPolicy(tools={}).base == ()


def test_a_policy_that_is_written_wrongly_is_refused_at_once() -> None:
    with pytest.raises(TypeError):
        ToolPolicy(tools={"t": "accounts:read"})
    with pytest.raises(ValueError, match="scope-token"):
        ToolPolicy(tools={"t": ("accounts read",)})


@given(
    st.binary(max_size=60)
    | st.dictionaries(
        st.sampled_from(["jsonrpc", "id", "method", "params"]),
        st.none() | st.just("2.0") | st.text() | st.lists(st.none()) | st.dictionaries(st.text(), st.none()),
    ).map(lambda value: json.dumps(value).encode()),
)
def test_any_body_gives_a_message_or_the_one_error(data: bytes) -> None:
    try:
        message = parse_message(data)
    except InvalidRequest:
        return
    assert isinstance(message.method, str)
