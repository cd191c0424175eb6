"""How the agent refuses what a lying peer says."""

from __future__ import annotations

from typing import Any

import pytest

from fapi_as.agent.agent import Agent
from fapi_as.agent.errors import (
    AgentError,
)
from tests.support.agent_peer import (
    Peer,
    agent_of,
    run_call,
)

METADATA = "/.well-known/oauth-authorization-server"
RESOURCE_METADATA = "/.well-known/oauth-protected-resource/mcp"


def refused(expected: type[AgentError], peer: Peer, agent: Agent | None = None, **changes: Any) -> AgentError:
    """The call fails with this error, no token is held and none was sent to the resource."""
    agent = agent or agent_of(**changes)
    with pytest.raises(expected) as caught:
        run_call(agent, peer)
    assert agent.tokens is None
    assert all(call.authorization is None for call in peer.calls)
    return caught.value
