"""The per-tool rules inside FastMCP, and its hook for tokens where a server cannot be wrapped.

A FastMCP application is wrapped as any other: `protect(server.http_app(path="/mcp"), guard)`.
"""

# typing.override came with Python 3.12
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastmcp.server.auth import AccessToken, TokenVerifier
from fastmcp.server.middleware import CallNext, Middleware, MiddlewareContext
from mcp.shared.exceptions import MCPError

from rs_kit.adapters.mcp import require_grant
from rs_kit.adapters.mcp_bearer import BearerTokenVerifier
from rs_kit.protocol.tool_policy import ToolPolicy


class SecondLine(Middleware):
    """The same policy once more inside FastMCP: `FastMCP(name, middleware=[SecondLine(policy)])`.

    It judges the names that its own server knows: of a mounted server those with their namespace. It cannot send HTTP
    403, so it is no substitute for the guard; where there are no callers to know, as on stdio, it refuses everything.
    """

    def __init__(self, tools: ToolPolicy) -> None:
        self._tools = tools

    async def on_message(self, context: MiddlewareContext[Any], call_next: CallNext[Any, Any]) -> Any:
        """Every request and notification, before anything of it is done.

        Raises:
            MCPError: the caller may not.
        """
        try:
            require_grant(self._tools, context.method or "", _tool(context.message))
        except MCPError:
            if context.type == "notification":
                return None  # it has no answer, and an error would be a traceback in the log for each
            raise
        return await call_next(context)


class FastMcpTokenVerifier(TokenVerifier):
    """A BearerTokenVerifier as FastMCP takes one: `FastMCP(name, auth=FastMcpTokenVerifier(verifier))`."""

    def __init__(self, verifier: BearerTokenVerifier, *, base_url: str | None = None) -> None:
        super().__init__(base_url=base_url)
        self._verifier = verifier

    async def verify_token(self, token: str) -> AccessToken | None:
        """Who calls, or None: FastMCP answers 401."""
        verified = await self._verifier.verify_token(token)
        return None if verified is None else AccessToken(**verified.model_dump())


def _tool(message: object) -> str | None:
    """The name in what FastMCP has parsed, or not yet."""
    name = message.get("name") if isinstance(message, Mapping) else getattr(message, "name", None)
    return name if isinstance(name, str) else None
