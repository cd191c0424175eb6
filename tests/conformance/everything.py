"""An MCP server on the official SDK with all that the conformance suite calls: names and texts are the suite's."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Annotated, Any, Final

from mcp.server import ServerRequestContext
from mcp.server.mcpserver import Context, MCPServer, RequestStateSecurity
from mcp.server.mcpserver.prompts.base import Prompt, UserMessage
from mcp.shared.exceptions import MCPError
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    Completion,
    CompletionArgument,
    CompletionContext,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    PromptReference,
    ResourceTemplateReference,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import Field

from tests.conformance.asking import FORMS, add_questions, prompt, tool

PIXEL: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
SILENCE: Final = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
_PAUSE_SECONDS: Final = 0.05
_STATE_KEY: Final = b"a key of tests that seals the state of a question"


def everything() -> MCPServer:
    """A new server."""
    server = MCPServer("everything", version="1.0.0", request_state_security=RequestStateSecurity(keys=[_STATE_KEY]))
    _add_contents(server)
    _add_running_tools(server)
    _add_asking_tools(server)
    _add_changing_tools(server)
    add_questions(server)
    _add_resources(server)
    _add_prompts(server)
    _add_subscriptions(server)
    return server


def _text(text: str) -> TextContent:
    return TextContent(type="text", text=text)


def _resource(uri: str, text: str, mime_type: str = "text/plain") -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))


def _image() -> ImageContent:
    return ImageContent(type="image", data=PIXEL, mime_type="image/png")


def _add_contents(server: MCPServer) -> None:
    @tool(server)
    def test_simple_text() -> str:
        return "This is a simple text response for testing."

    @tool(server)
    def test_image_content() -> list[ImageContent]:
        return [_image()]

    @tool(server)
    def test_audio_content() -> list[AudioContent]:
        return [AudioContent(type="audio", data=SILENCE, mime_type="audio/wav")]

    @tool(server)
    def test_embedded_resource() -> list[EmbeddedResource]:
        return [_resource("test://embedded-resource", "This is an embedded resource content.")]

    @tool(server)
    def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
        mixed = _resource("test://mixed-content-resource", '{"test": "data", "value": 123}', "application/json")
        return [_text("Multiple content types test:"), _image(), mixed]


def _add_running_tools(server: MCPServer) -> None:
    @tool(server)
    async def test_tool_with_logging(ctx: Context) -> str:
        for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await ctx.info(line)
            await asyncio.sleep(_PAUSE_SECONDS)
        return "Tool with logging executed successfully"

    @tool(server)
    async def test_tool_with_progress(ctx: Context) -> str:
        for step in (0, 50, 100):
            await ctx.report_progress(progress=step, total=100, message=f"Completed step {step} of 100")
            await asyncio.sleep(_PAUSE_SECONDS)
        return "done"

    @tool(server)
    async def test_streaming_elicitation(ctx: Context) -> str:
        await ctx.report_progress(progress=50, total=100, message="half")
        return "Streaming complete"

    @tool(server)
    async def test_logging_tool(ctx: Context) -> str:
        await ctx.info("Diagnostic trace")
        return "Logging evaluated"

    @tool(server)
    def test_error_handling() -> str:
        raise RuntimeError("This tool intentionally returns an error for testing")

    @tool(server)
    def test_x_mcp_header(
        region: Annotated[str, Field(description="where", json_schema_extra={"x-mcp-header": "Region"})] = "<none>",
    ) -> str:
        return f"region={region}"

    @tool(server)
    async def test_missing_capability(ctx: Context) -> str:
        capabilities = ctx.session.client_capabilities
        if capabilities is None or capabilities.sampling is None:
            raise MCPError(
                code=MISSING_REQUIRED_CLIENT_CAPABILITY,
                message="the client's sampling is needed",
                data={"requiredCapabilities": {"sampling": {}}},
            )
        return "the client can sample"

    @tool(server)
    async def test_reconnection(ctx: Context) -> str:
        await ctx.info("Before disconnect")
        await ctx.close_sse_stream()
        await asyncio.sleep(4 * _PAUSE_SECONDS)
        await ctx.info("After reconnect")
        return "Reconnection test completed"


def _add_asking_tools(server: MCPServer) -> None:
    """What asks the client in the middle of a call, as revisions with sessions do."""

    @tool(server)
    async def test_sampling(prompt: str, ctx: Context) -> str:
        asked = await ctx.session.create_message(
            messages=[SamplingMessage(role="user", content=_text(prompt))],
            max_tokens=100,
            related_request_id=ctx.request_id,  # else it goes to a stream that may not be open yet
        )
        return f"LLM response: {asked.content.text if asked.content.type == 'text' else 'No response'}"

    @tool(server)
    async def test_elicitation(message: str, ctx: Context) -> str:
        return await _elicited(ctx, message, "response")

    @tool(server)
    async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
        return await _elicited(ctx, "Please provide user information", "defaults")

    @tool(server)
    async def test_elicitation_sep1330_enums(ctx: Context) -> str:
        return await _elicited(ctx, "Please select values", "enums")


async def _elicited(ctx: Context, message: str, form: str) -> str:
    told = await ctx.elicit(message=message, schema=FORMS[form])
    content = told.data.model_dump_json() if told.action == "accept" else "{}"
    return f"User response: action={told.action}, content={content}"


def _add_changing_tools(server: MCPServer) -> None:
    def dynamic() -> str:
        return "dynamic"

    @tool(server)
    async def test_trigger_tool_change(ctx: Context) -> str:
        server.add_tool(dynamic, name="test_dynamic_tool")
        server.remove_tool("test_dynamic_tool")
        await ctx.notify_tools_changed()
        return "tool list changed"

    @tool(server)
    async def test_trigger_prompt_change(ctx: Context) -> str:
        server.add_prompt(Prompt.from_function(dynamic, name="test_dynamic_prompt", description="dynamic"))
        server.remove_prompt("test_dynamic_prompt")
        await ctx.notify_prompts_changed()
        return "prompt list changed"


def _add_resources(server: MCPServer) -> None:
    @server.resource("test://static-text")
    def static_text() -> str:
        return "This is the content of the static text resource."

    @server.resource("test://static-binary")
    def static_binary() -> bytes:
        return base64.b64decode(PIXEL)

    @server.resource("test://template/{id}/data")
    def template(id: str) -> str:  # noqa: A002 - the suite names the variable of the template
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    @server.resource("test://watched-resource")
    def watched() -> str:
        return "Watched resource content"


def _add_prompts(server: MCPServer) -> None:
    @prompt(server)
    def test_simple_prompt() -> list[UserMessage]:
        return [UserMessage(content=_text("This is a simple prompt for testing."))]

    @prompt(server)
    def test_prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
        return [UserMessage(content=_text(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"))]

    @prompt(server)
    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803 - the suite's name
        embedded = _resource(resourceUri, "Embedded resource content for testing.")
        return [
            UserMessage(content=embedded),
            UserMessage(content=_text("Please process the embedded resource above.")),
        ]

    @prompt(server)
    def test_prompt_with_image() -> list[UserMessage]:
        return [UserMessage(content=_image()), UserMessage(content=_text("Please analyze the image above."))]

    @server.completion()
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion:
        return Completion(values=[], total=0, has_more=False)


def _add_subscriptions(server: MCPServer) -> None:
    """Three methods that MCPServer has no decorator for; they do nothing but answer."""

    async def answer(ctx: ServerRequestContext, params: Any) -> EmptyResult:
        return EmptyResult()

    inner = server._lowlevel_server
    inner.add_request_handler("logging/setLevel", SetLevelRequestParams, answer)
    inner.add_request_handler("resources/subscribe", SubscribeRequestParams, answer)
    inner.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, answer)
