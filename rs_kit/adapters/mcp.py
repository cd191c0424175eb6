"""The admitted caller as the MCP SDK knows it, so that tools ask `get_access_token()` and sessions keep to one owner.

The MCP application is built without authentication of its own and wrapped: `protect(mcp.streamable_http_app(), guard)`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

from mcp.server.auth.middleware.auth_context import auth_context_var, get_access_token
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.context import ServerMiddleware
from mcp.shared.exceptions import MCPError
from mcp_types import METHOD_NOT_FOUND
from starlette.authentication import AuthCredentials

from rs_kit.adapters.asgi import CALL, RsKit
from rs_kit.adapters.asgi_exchange import Application, Receive, Scope, Send
from rs_kit.guard import Guard
from rs_kit.ports import AuthorizedCall
from rs_kit.protocol.access_token import VerifiedAccessToken
from rs_kit.protocol.errors import InsufficientScope, UnknownMethod
from rs_kit.protocol.frozen_json import thawed
from rs_kit.protocol.tool_policy import RpcMessage, ToolPolicy

_REFUSED: Final = -32001  # a server error of JSON-RPC 2.0 §5.1


def protect(
    app: Application,
    guard: Guard,
    *,
    path: str | None = None,
    public_paths: Collection[str] = (),
    allowed_origins: Collection[str] = (),
) -> RsKit:
    """An unmodified MCP application behind the guard; the options are those of RsKit."""
    return RsKit(McpIdentity(app), guard, path=path, public_paths=public_paths, allowed_origins=allowed_origins)


class McpIdentity:
    """Stands between RsKit and an MCP application and hands the caller over, never the token's value."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection; without an admitted call it passes through without an identity."""
        call = scope.get(CALL)
        if not isinstance(call, AuthorizedCall):
            await self._app(scope, receive, send)
            return
        user = AuthenticatedUser(sdk_access_token(call.token, call.resource))
        scope["user"], scope["auth"] = user, AuthCredentials(user.scopes)
        reset = auth_context_var.set(user)
        try:
            await self._app(scope, receive, send)
        finally:
            auth_context_var.reset(reset)


def second_line(tools: ToolPolicy) -> ServerMiddleware[Any]:
    """The same policy once more inside the SDK, after its own parsing: `MCPServer(name, middleware=[second_line(p)])`.

    It cannot send HTTP 403, so it is no substitute for the guard; it holds when the application is mounted without,
    and where there are no callers to know, as on stdio, it refuses everything.
    """

    async def check(
        ctx: Any, call_next: Callable[[Any], Awaitable[Any]]
    ) -> Any:  # the SDK's own types are generic here
        name = (ctx.params or {}).get("name")
        try:
            require_grant(tools, ctx.method, name if isinstance(name, str) else None)
        except MCPError:
            if ctx.request_id is None:
                return None  # a notification has no answer, and an error would be a traceback in the log for each
            raise
        return await call_next(ctx)

    return check


def require_grant(tools: ToolPolicy, method: str, tool: str | None) -> None:
    """The caller that the SDK knows may do this; for code that runs where no HTTP answer can be given any more.

    Raises:
        MCPError: nobody calls, the scopes do not cover it, or no policy knows the method; `data` names the scopes.
    """
    token = get_access_token()
    try:
        if token is None:
            raise InsufficientScope("no identity", scope=())
        tools.check(RpcMessage(method, tool, {}, None), frozenset(token.scopes))
    except InsufficientScope as error:
        scope = {"scope": " ".join(error.scope)} if error.scope else None
        raise MCPError(code=_REFUSED, message=error.error, data=scope) from None
    except UnknownMethod as error:
        raise MCPError(code=METHOD_NOT_FOUND, message=error.description) from None


def sdk_access_token(token: VerifiedAccessToken, resource: str) -> AccessToken:
    """What the SDK tells tools about a caller; the token's value is not in it, so nothing can be passed on (MCP-2)."""
    return AccessToken(
        token="",
        client_id=token.client_id,
        scopes=sorted(token.scope),
        expires_at=token.expires_at,
        resource=resource,
        subject=token.subject,
        claims=thawed(token.claims),
    )
