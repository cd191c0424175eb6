"""What a trace shows of a registration: what was asked for and said, and nothing that opens it or another one."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from fapi_as.agent.registrar import Registrar
from fapi_as.agent.token_store import MemoryRegistrationStore
from fapi_as.agent.tracing import Step, Tracing
from rs_kit.protocol.secret import Secret
from tests.support.agent_peer import ISSUER
from tests.support.registering_peer import RegisteringPeer, registrant, statement, transport


async def traced(peer: RegisteringPeer, **changes: Any) -> tuple[str, MemoryRegistrationStore]:
    """Everything that is told of registering, reading, updating and deleting."""
    steps, store = list[Step](), MemoryRegistrationStore()
    tracing, asking = Tracing(steps.append), registrant(**changes)
    async with httpx2.AsyncClient(transport=tracing.transport(transport(peer))) as back_channel:
        clerk = Registrar(back_channel=back_channel, store=store)
        await clerk.introduced(asking)
        await clerk.read(asking)
        await clerk.update(asking)
        await clerk.unregister(asking)
    return "\n".join(line for step in steps for line in (step.asked, *step.request, *step.answer)), store


@pytest.mark.parametrize("signed", [False, True])
async def test_neither_the_statement_nor_the_tokens_of_a_registration_are_shown(signed: bool) -> None:
    peer = RegisteringPeer(lies={"client_secret": "a-secret-of-nobody"})
    told, _ = await traced(peer, signed=signed)
    assert f"POST {ISSUER}/register" in told
    assert "client-1-of-as.example" in told
    assert "authorization: DPoP ***" in told
    for secret in ("registration-token-", statement(aud=ISSUER).split(".")[1], "a-secret-of-nobody"):
        assert secret not in told
    for request in peer.seen:
        assert dict(request.headers).get("dpop", "no-proof") not in told


async def test_a_token_of_the_operator_is_not_shown() -> None:
    told, _ = await traced(
        RegisteringPeer(), software_statement=None, initial_access_token=Secret("initial-token-of-the-operator")
    )
    assert "authorization: Bearer ***" in told
    assert "initial-token-of-the-operator" not in told
