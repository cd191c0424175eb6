"""How the call of an agent at a hostile server ends, and what such a server says."""

from __future__ import annotations

from typing import Any

import pytest

from fapi_as.agent.errors import AgentError
from fapi_as.agent.steps import Answer
from tests.support.hostile_place import STRANGER, Place

METADATA = "/.well-known/oauth-authorization-server"
RESOURCE_METADATA = "/.well-known/oauth-protected-resource/mcp"


async def stopped(place: Place, expected: type[AgentError], **changes: Any) -> str:
    """The first call of an agent ends with this error, and the stranger has seen nothing of ours."""
    async with place.agent(**changes) as client:
        with pytest.raises(expected) as caught:
            await client.post(place.resource)
    assert place.at(STRANGER) == []
    sentence = str(caught.value)
    assert len(sentence.split()) > 4
    return sentence


async def signed_in(place: Place, client: Any) -> None:
    assert (await client.post(place.resource)).status_code == 200


def refused(error: str, **parameters: str) -> Answer:
    challenge = ", ".join(f'{name}="{value}"' for name, value in {"error": error, **parameters}.items())
    return Answer(status=401, headers=(("www-authenticate", f"DPoP {challenge}"),))
