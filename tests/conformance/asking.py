"""What the everything-server asks its client: forms within a session, and questions as results (2026-07-28)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.prompts.base import UserMessage
from mcp.types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    SamplingMessage,
    TextContent,
)
from pydantic import BaseModel, Field

_TITLED: Final = [
    {"const": "low", "title": "Low Priority"},
    {"const": "medium", "title": "Medium Priority"},
    {"const": "high", "title": "High Priority"},
]
_SEVERAL_TITLED: Final = [
    {"const": "bug", "title": "Bug"},
    {"const": "feature", "title": "Feature"},
    {"const": "docs", "title": "Documentation"},
]


Function = TypeVar("Function", bound=Callable[..., Any])


def tool(server: MCPServer) -> Callable[[Function], Function]:
    """A tool with a description, which the suite wants and a name gives."""
    return lambda function: server.tool(description=_said(function))(function)


def prompt(server: MCPServer) -> Callable[[Function], Function]:
    """A prompt with a description."""
    return lambda function: server.prompt(description=_said(function))(function)


def _said(function: Callable[..., Any]) -> str:
    return function.__name__.replace("_", " ")


class Response(BaseModel):
    response: str = Field(description="User's response")


class Defaults(BaseModel):
    """A default for every primitive type (SEP-1034)."""

    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: str = Field(default="active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = True


class Enums(BaseModel):
    """Every form of an enumeration (SEP-1330)."""

    untitledSingle: str = Field(json_schema_extra={"enum": ["active", "inactive", "pending"]})  # noqa: N815 - the suite's
    titledSingle: str = Field(json_schema_extra={"oneOf": _TITLED})  # noqa: N815 - the suite's
    untitledMulti: list[str] = Field(  # noqa: N815 - the suite's
        json_schema_extra={"items": {"type": "string", "enum": ["read", "write", "execute"]}}
    )
    titledMulti: list[str] = Field(json_schema_extra={"items": {"anyOf": _SEVERAL_TITLED}})  # noqa: N815 - the suite's
    legacyEnum: str = Field(  # noqa: N815 - the suite's
        json_schema_extra={"enum": ["small", "medium", "large"], "enumNames": ["Small", "Medium", "Large"]}
    )


FORMS: Final[Mapping[str, type[BaseModel]]] = MappingProxyType(
    {"response": Response, "defaults": Defaults, "enums": Enums}
)


def _form(message: str, member: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {member: {"type": kind}}, "required": [member]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _name(message: str = "What is your name?") -> ElicitRequest:
    return _form(message, "name")


def _sampling(text: str) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(type="text", text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=100))


def _told(answer: object, member: str) -> str:
    content = answer.content if isinstance(answer, ElicitResult) else None
    return str(content.get(member, "?")) if content else "?"


def add_questions(server: MCPServer) -> None:
    """Every tool and the prompt that answer with an InputRequiredResult first."""
    _add_one_question(server)
    _add_several_rounds(server)
    _add_guarded_questions(server)


def _add_one_question(server: MCPServer) -> None:
    @tool(server)
    async def test_input_required_result_elicitation(ctx: Context) -> str | InputRequiredResult:
        answers = ctx.input_responses
        if answers and "user_name" in answers:
            return f"Hello, {_told(answers['user_name'], 'name')}!"
        return InputRequiredResult(input_requests={"user_name": _name()})

    @tool(server)
    async def test_input_required_result_sampling(ctx: Context) -> str | InputRequiredResult:
        answer = (ctx.input_responses or {}).get("capital_question")
        if isinstance(answer, CreateMessageResult) and answer.content.type == "text":
            return f"Model said: {answer.content.text}"
        return InputRequiredResult(input_requests={"capital_question": _sampling("What is the capital of France?")})

    @tool(server)
    async def test_input_required_result_list_roots(ctx: Context) -> str | InputRequiredResult:
        answer = (ctx.input_responses or {}).get("client_roots")
        if isinstance(answer, ListRootsResult):
            return f"Client exposed {len(answer.roots)} root(s)."
        return InputRequiredResult(input_requests={"client_roots": ListRootsRequest()})

    @prompt(server)
    async def test_input_required_result_prompt(ctx: Context) -> list[UserMessage] | InputRequiredResult:
        answers = ctx.input_responses
        if answers and "user_context" in answers:
            told = _told(answers["user_context"], "context")
            return [UserMessage(content=TextContent(type="text", text=f"Use the following context: {told}"))]
        return InputRequiredResult(
            input_requests={"user_context": _form("What context should the prompt use?", "context")}
        )


def _add_several_rounds(server: MCPServer) -> None:
    @tool(server)
    async def test_input_required_result_multiple_inputs(ctx: Context) -> str | InputRequiredResult:
        if {"user_name", "greeting", "client_roots"} <= (ctx.input_responses or {}).keys():
            return "All inputs received."
        asked: dict[str, InputRequest] = {
            "user_name": _name(),
            "greeting": _sampling("Generate a greeting"),
            "client_roots": ListRootsRequest(),
        }
        return InputRequiredResult(input_requests=asked, request_state="multiple-inputs")

    @tool(server)
    async def test_input_required_result_multi_round(ctx: Context) -> str | InputRequiredResult:
        state: dict[str, Any] = json.loads(ctx.request_state) if ctx.request_state else {"round": 0}
        answers = ctx.input_responses or {}
        if state["round"] == 1 and "step1" in answers:
            name = _told(answers["step1"], "name")
            return InputRequiredResult(
                input_requests={"step2": _form("Step 2: What is your favorite color?", "color")},
                request_state=json.dumps({"round": 2, "name": name}),
            )
        if state["round"] == 2 and "step2" in answers:
            return f"{state['name']} likes {_told(answers['step2'], 'color')}."
        return InputRequiredResult(
            input_requests={"step1": _name("Step 1: What is your name?")}, request_state=json.dumps({"round": 1})
        )


def _add_guarded_questions(server: MCPServer) -> None:
    confirmation = _form("Please confirm", "ok", "boolean")

    @tool(server)
    async def test_input_required_result_request_state(ctx: Context) -> str | InputRequiredResult:
        if "confirm" in (ctx.input_responses or {}) and ctx.request_state == "request-state-nonce":
            return "state-ok: confirmation received"
        return InputRequiredResult(input_requests={"confirm": confirmation}, request_state="request-state-nonce")

    @tool(server)
    async def test_input_required_result_tampered_state(ctx: Context) -> str | InputRequiredResult:
        if ctx.request_state is None:  # what was tampered with is refused by the SDK before it gets here
            return InputRequiredResult(input_requests={"confirm": confirmation}, request_state="round-1")
        return f"state-ok: {ctx.request_state}"

    @tool(server)
    async def test_input_required_result_capabilities(ctx: Context) -> InputRequiredResult:
        can = ctx.client_capabilities
        asked: dict[str, InputRequest] = {}
        if can is None or can.sampling is not None:
            asked["sample"] = _sampling("Say hello")
        if can is None or can.elicitation is not None:
            asked["ask"] = _name()
        return InputRequiredResult(input_requests=asked, request_state="capability-gated")
