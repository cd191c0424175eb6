"""rs_kit.testing as the author of an MCP server uses it."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from rs_kit import HttpRequest, ProtocolError, SenderConstraint, ToolPolicy, assemble_guard
from rs_kit.adapters.peer_certificate import peer_certificate
from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.protocol.errors import InsufficientScope, InvalidToken, UseDpopNonce
from rs_kit.testing import NONCE_KEY, RecordingObserver, TestAgent, TestIssuer, new_certificate

BODY = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_balance"}}'


def request(headers: dict[str, str]) -> HttpRequest:
    return HttpRequest("POST", "/mcp", tuple((name.encode(), value.encode()) for name, value in headers.items()), BODY)


async def test_a_tool_is_tested_in_five_lines() -> None:
    issuer = TestIssuer(resource="https://mcp.example/mcp")
    guard = issuer.guard(tools=ToolPolicy(tools={"get_balance": ["accounts:read"]}))
    agent = issuer.agent(scope="accounts:read", sub="alice")
    call = await guard.admit(request(agent.headers()))
    assert (call.target, call.token.subject) == ("get_balance", "alice")


async def test_refusals_are_as_easy() -> None:
    observer = RecordingObserver()
    issuer = TestIssuer()
    guard = issuer.guard(tools=ToolPolicy(tools={"get_balance": ["accounts:read"]}), observer=observer)
    cases: list[tuple[TestAgent, dict[str, Any], type[ProtocolError]]] = [
        (issuer.agent(scope="other"), {}, InsufficientScope),
        (issuer.agent(scope="accounts:read", aud="https://other.example"), {}, InvalidToken),
        (issuer.agent(scope="accounts:read"), {"nonce": "stale"}, UseDpopNonce),
        (issuer.agent(scope="accounts:read", cnf=None), {}, InvalidToken),
    ]
    for agent, options, error in cases:
        with pytest.raises(error):
            await guard.admit(request(agent.headers(**options)))
    assert [type(refusal.error) for refusal in observer.refusals] == [error for _, _, error in cases]


async def test_a_guard_is_assembled_from_what_a_server_chooses() -> None:
    issuer = TestIssuer()
    guard = assemble_guard(
        resource=issuer.resource,
        issuer=issuer.issuer,
        keys=issuer.keys(),
        tools=ToolPolicy(tools={"get_balance": []}),
        used_once=MemoryUsedOnce(),
        nonce_key=NONCE_KEY,
        resource_name="A bank",
    )
    assert (await guard.admit(request(issuer.agent().headers()))).target == "get_balance"
    assert guard.metadata.document()["resource_name"] == "A bank"


def test_without_keys_of_its_own_an_assembled_guard_wants_an_https_issuer() -> None:
    with pytest.raises(ValueError, match="https"):
        assemble_guard(
            resource="https://mcp.example/mcp",
            issuer="http://as.example",
            tools=ToolPolicy(tools={}),
            used_once=MemoryUsedOnce(),
            nonce_key=NONCE_KEY,
        )


async def test_an_agent_with_a_certificate_is_as_easy() -> None:
    issuer = TestIssuer(resource="https://mcp.example/mcp")
    tools = ToolPolicy(tools={"get_balance": ["accounts:read"]})
    guard = issuer.guard(tools=tools, sender_constraint=SenderConstraint.CERTIFICATE)
    agent, thief = issuer.certificate_agent(scope="accounts:read", sub="alice"), issuer.certificate_agent()
    call = await guard.admit(request(agent.headers())._replace(peer_certificate=agent.certificate.der))
    assert (call.target, call.token.subject) == ("get_balance", "alice")
    for shown in (thief.certificate.der, None):
        with pytest.raises(InvalidToken):
            await guard.admit(request(agent.headers())._replace(peer_certificate=shown))


async def test_an_application_hears_the_certificate_of_an_agent_as_from_a_listener() -> None:
    agent = TestIssuer().certificate_agent()
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)

    asked = {"type": "http", "state": {"of_the_lifespan": 1}, "extensions": None}
    await agent.connected(app)(asked, None, None)  # type: ignore[arg-type] # nothing is received or sent
    assert peer_certificate(scopes[0]) == agent.certificate.der
    assert scopes[0]["state"]["of_the_lifespan"] == 1
    assert asked == {"type": "http", "state": {"of_the_lifespan": 1}, "extensions": None}
    lifespan = {"type": "lifespan", "state": {}}
    await agent.connected(app)(lifespan, None, None)  # type: ignore[arg-type]
    assert scopes[1] is lifespan


def test_a_certificate_for_tests_is_one(tmp_path: Path) -> None:
    made = new_certificate("alice's agent")
    (tmp_path / "both.pem").write_text(made.pem + made.key_pem)
    ssl.create_default_context().load_cert_chain(tmp_path / "both.pem")
    assert ssl.PEM_cert_to_DER_cert(made.pem) == made.der
    assert made.key_pem not in repr(made)
    assert new_certificate().der != made.der
