"""The agent for callers of httpx, whose client takes no `httpx2.Auth`: the same flow under the other library's name.

httpx is imported when this is asked for and by nothing else: an agent that does not use it does not need it.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator, Generator
from typing import Any

from fapi_as.agent.auth import AgentAuth
from fapi_as.agent.errors import Misconfigured


def for_httpx(auth: AgentAuth) -> Any:
    """An `httpx.Auth` that does what this agent does; `httpx.AsyncClient(auth=for_httpx(agent_auth))`.

    Raises:
        Misconfigured: httpx is not installed.
    """
    try:
        base = importlib.import_module("httpx").Auth
    except ImportError:
        raise Misconfigured("httpx is not installed") from None
    return type("HttpxAgentAuth", (_Flow, base), {})(auth)


class _Flow:
    """What an Auth of either library is asked for; requests and responses of both have the same members."""

    def __init__(self, auth: AgentAuth) -> None:
        self._auth = auth

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any]:
        """Refuse, as AgentAuth does.

        Raises:
            Misconfigured: always.
        """
        return self._auth.sync_auth_flow(request)

    def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Send the request, as often as the agent says and with what it says."""
        return self._auth.async_auth_flow(request)
