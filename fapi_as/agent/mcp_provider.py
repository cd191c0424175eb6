"""The agent in the place where an MCP client has the SDK's `OAuthClientProvider`, with the handlers of that class.

The SDK's own flow is not run: it knows bearer tokens only, and drops the endpoints of an authorization server that it
does not know. What stays is what an application wrote for it: how a person is sent to a browser and comes back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol
from urllib.parse import urlencode, urlsplit

import httpx2

from fapi_as.agent.auth import AgentAuth, Authorize
from fapi_as.agent.errors import Misconfigured
from fapi_as.agent.ports import RegistrationStore, TokenStore
from fapi_as.agent.settings import AgentSettings

RedirectHandler = Callable[[str], Awaitable[None]]


class CodeResult(Protocol):
    """What a callback handler gives back: the SDK's `AuthorizationCodeResult`."""

    @property
    def code(self) -> str:
        """The authorization code."""
        ...

    @property
    def state(self) -> str | None:
        """What the response carried as `state`."""
        ...

    @property
    def iss(self) -> str | None:
        """What the response carried as `iss`; without it no code is redeemed (RFC 9207)."""
        ...


CallbackHandler = Callable[[], Awaitable[CodeResult]]


class McpProviderAuth(AgentAuth):
    """An `AgentAuth` for `streamable_http_client`, `sse_client` and FastMCP's `Client(auth=...)`.

    Args:
        settings: who the agent is and where; the resource is what the SDK calls `server_url`.
        back_channel: as for AgentAuth.
        redirect_handler: sends the person's browser to an address.
        callback_handler: waits until the browser has come back, and gives what it brought.
        store: where tokens outlive this object; the SDK's `TokenStorage` has no place for a key.
        registrations: as for AgentAuth; the SDK's own registration is not run either.

    Raises:
        Misconfigured: the identities have different redirect URIs, of which the handlers cannot tell which it was, or
            want signed responses, which the handlers have no place for.
    """

    def __init__(  # noqa: PLR0913 - the ports of one agent, named at every call
        self,
        settings: AgentSettings,
        *,
        back_channel: httpx2.AsyncClient,
        redirect_handler: RedirectHandler,
        callback_handler: CallbackHandler,
        store: TokenStore | None = None,
        registrations: RegistrationStore | None = None,
    ) -> None:
        redirect_uris = {identity.redirect_uri for identity in settings.everybody}
        redirect_uri = redirect_uris.pop()
        if redirect_uris or redirect_uri is None:
            raise Misconfigured("the handlers of an MCP client need one redirect_uri for all identities")
        if any(identity.authorization_signed_response_alg is not None for identity in settings.everybody):
            raise Misconfigured("the handlers of an MCP client bring no signed response: use AgentAuth with authorize")
        authorize = _by_handlers(redirect_uri, redirect_handler, callback_handler)
        super().__init__(
            settings, back_channel=back_channel, authorize=authorize, store=store, registrations=registrations
        )


def _by_handlers(redirect_uri: str, redirect: RedirectHandler, callback: CallbackHandler) -> Authorize:
    """The SDK's two handlers as one: what came back is put together again, so that all of it is checked."""

    async def authorize(url: str) -> str:
        await redirect(url)
        result = await callback()
        response = {"code": result.code, "state": result.state, "iss": result.iss}
        present = urlencode({name: value for name, value in response.items() if value is not None})
        return f"{redirect_uri}{'&' if urlsplit(redirect_uri).query else '?'}{present}"

    return authorize
