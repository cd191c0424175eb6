"""A server that lies at its token endpoint, never has enough, or fails; and settings that would let it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fapi_as.agent.errors import (
    AgentError,
    AnswerRejected,
    InsecureAddress,
    Misconfigured,
    NonceLoop,
    RedirectRefused,
    ServerRefused,
    TokenRejected,
)
from fapi_as.agent.exchange import Nonces
from fapi_as.agent.settings import GrantType
from fapi_as.agent.steps import ANSWER_LIMIT, Answer, Request
from tests.support.agent_peer import (
    ISSUER,
    Peer,
    agent_of,
    as_json,
    identity,
    run_call,
    settings,
)
from tests.support.agent_refusals import METADATA, RESOURCE_METADATA, refused


@pytest.mark.requirement("FAPI2-CL-1", proves="refused")
@pytest.mark.requirement("DPOP-CL-1", proves="refused")
@pytest.mark.parametrize("token_type", ["Bearer", "bearer", "DPoP2", "", None, 7])
@pytest.mark.parametrize("grant_type", list(GrantType))
def test_a_token_that_is_not_bound_is_thrown_away(token_type: object, grant_type: GrantType) -> None:
    refused(TokenRejected, Peer(token_document={"token_type": token_type}), grant_type=grant_type)


@pytest.mark.parametrize(
    "changes",
    [
        {"access_token": None},
        {"access_token": ""},
        {"access_token": "two words"},
        {"access_token": "line\r\nbreak"},
        {"access_token": 7},
        {"refresh_token": ""},
        {"refresh_token": ["r"]},
        {"refresh_token": "\u00e4"},
        {"scope": ["accounts:read"]},
        {"expires_in": "300"},
        {"expires_in": True},
        {"expires_in": -1},
    ],
)
def test_a_token_answer_with_an_impossible_member_is_thrown_away(changes: dict[str, object]) -> None:
    refused(TokenRejected, Peer(token_document=changes))


@pytest.mark.requirement("FAPI2-CL-8", proves="refused")
@pytest.mark.requirement("DPOP-CL-2", proves="refused")
def test_an_authorization_server_that_never_has_enough_nonces_is_given_up() -> None:
    peer = Peer()
    numbers = iter(range(100))

    def another(_: Request) -> Answer:
        return as_json(400, {"error": "use_dpop_nonce"}, (("dpop-nonce", f"n{next(numbers)}"),))

    peer.overrides["/par"] = another
    refused(NonceLoop, peer)
    assert len(peer.requests_to("/par")) == 2


def test_a_resource_that_never_has_enough_nonces_is_given_up() -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)
    before = len(peer.calls)
    peer.resource_answers = [
        Answer(status=401, headers=(("www-authenticate", 'DPoP error="use_dpop_nonce"'), ("dpop-nonce", f"n{number}")))
        for number in range(10)
    ]

    with pytest.raises(NonceLoop):
        run_call(agent, peer)
    assert len(peer.calls) == before + 2


@pytest.mark.parametrize("nonce", ["", "two words", "n" * 1025, 'quote"', "caf\u00e9"])
def test_a_demand_without_a_usable_nonce_is_a_refusal(nonce: str) -> None:
    peer = Peer()
    peer.overrides["/par"] = lambda _: as_json(400, {"error": "use_dpop_nonce"}, (("dpop-nonce", nonce),))

    refused(ServerRefused, peer)
    assert len(peer.requests_to("/par")) == 1


@pytest.mark.parametrize("path", [RESOURCE_METADATA, METADATA, "/par", "/token"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(path: str, status: int) -> None:
    peer = Peer()
    peer.overrides[path] = lambda _: Answer(status=status, headers=(("location", f"{ISSUER}/other"),))

    refused(RedirectRefused, peer)
    assert peer.seen[-1].url.endswith(path)


@pytest.mark.parametrize("path", [RESOURCE_METADATA, METADATA, "/par", "/token"])
@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=200, body=b"{}" + b" " * ANSWER_LIMIT, headers=(("content-type", "application/json"),)),
        Answer(status=200, body=b"{}", headers=(("content-type", "text/html"),)),
        Answer(status=200, body=b'{"issuer": 1, "issuer": 2}', headers=(("content-type", "application/json"),)),
        Answer(status=200, body=b"[" * 50_000, headers=(("content-type", "application/json"),)),
        Answer(status=200, body=b"[]", headers=(("content-type", "application/json"),)),
        Answer(status=500, body=b"oops"),
        Answer(status=503, body=b"{}", headers=(("content-type", "application/json"),)),
    ],
)
def test_an_answer_of_the_wrong_kind_is_not_used(path: str, answer: Answer) -> None:
    peer = Peer()
    peer.overrides[path] = lambda _: answer

    refused(AnswerRejected, peer)


@pytest.mark.parametrize("document", [{}, {"request_uri": ""}, {"request_uri": 7}])
def test_a_push_that_brings_no_request_uri_sends_nobody_to_a_browser(document: dict[str, object]) -> None:
    peer = Peer()
    peer.overrides["/par"] = lambda _: as_json(201, document)

    refused(AnswerRejected, peer)
    assert peer.visited == []


def test_a_refusal_with_a_nonce_and_without_json_is_no_demand() -> None:
    peer = Peer()
    peer.overrides["/par"] = lambda _: Answer(status=400, headers=(("dpop-nonce", "n1"),), body=b"use_dpop_nonce")

    refused(AnswerRejected, peer)
    assert len(peer.requests_to("/par")) == 1


def test_the_memory_for_nonces_is_bounded() -> None:
    nonces = Nonces()
    for number in range(200):
        nonces.learn(f"https://server-{number}.example/x", Answer(status=200, headers=(("dpop-nonce", "n"),)))

    remembered = [nonces.of(f"https://server-{number}.example/y") for number in range(200)]
    assert remembered[-1] == "n"
    assert len([nonce for nonce in remembered if nonce]) <= 64


def test_a_server_without_metadata_is_not_guessed_at() -> None:
    peer = Peer()
    peer.overrides[METADATA] = lambda _: Answer(status=404)

    refused(AnswerRejected, peer)
    assert peer.requests_to("/token") == []


@pytest.mark.requirement("RES-5", proves="refused")
def test_a_refused_target_is_told_with_what_its_operator_needs() -> None:
    peer = Peer()
    peer.overrides["/par"] = lambda _: as_json(
        400,
        {"error": "invalid_target", "error_description": "no such resource"},
        (("x-correlation-id", "abc123"),),
    )

    error = refused(ServerRefused, peer)
    assert isinstance(error, ServerRefused)
    assert (error.status, error.error, error.correlation_id) == (400, "invalid_target", "abc123")
    assert str(error) == (
        "the authorization server refused with 400 invalid_target: no such resource (correlation id abc123)"
    )


def test_a_server_that_fails_during_a_refresh_does_not_cost_the_tokens() -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)
    held = agent.tokens
    peer.expire()
    peer.overrides["/token"] = lambda _: as_json(503, {"error": "temporarily_unavailable"})

    with pytest.raises(ServerRefused):
        run_call(agent, peer)
    assert agent.tokens is held
    assert held is not None


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: settings(identities=()), Misconfigured),
        (lambda: settings(scope=("accounts:*",)), Misconfigured),
        (lambda: settings(identities=(identity(redirect_uri=None),)), Misconfigured),
        (lambda: settings(resource="http://bank.example/mcp"), InsecureAddress),
        (lambda: identity(issuer="http://as.example"), InsecureAddress),
        (lambda: identity(issuer="https://as.example?x"), InsecureAddress),
        (lambda: identity(redirect_uri="http://agent.example/callback"), InsecureAddress),
        (lambda: identity(redirect_uri="agent:/callback"), InsecureAddress),
        (lambda: identity(redirect_uri="https://agent.example/callback#f"), InsecureAddress),
    ],
)
def test_settings_that_are_not_safe_are_refused_at_start(
    make: Callable[[], object], expected: type[AgentError]
) -> None:
    with pytest.raises(expected):
        make()


@pytest.mark.requirement("FAPI2-CL-11", proves="refused")
def test_a_wildcard_scope_is_refused_at_start() -> None:
    with pytest.raises(Misconfigured, match="wildcard"):
        settings(scope=("*",))


@pytest.mark.requirement("FAPI2-CL-11", proves="holds")
def test_an_agent_asks_for_the_scopes_it_was_told_and_no_more() -> None:
    peer, agent = Peer(resource_document={"scopes_supported": ["accounts:read", "payments:write"]}), agent_of()
    run_call(agent, peer)

    assert next(iter(peer.pushed.values()))["scope"] == "accounts:read"


@pytest.mark.requirement("ISS-5", proves="refused")
def test_two_identities_for_one_issuer_are_refused_at_start() -> None:
    with pytest.raises(Misconfigured, match="same issuer"):
        settings(identities=(identity(), identity(client_id="agent-2")))


@pytest.mark.requirement("ISS-5", proves="holds")
def test_each_issuer_has_its_own_identity() -> None:
    both = settings(identities=(identity(), identity(issuer="https://other-as.example", client_id="agent-2")))

    assert [known.client_id for known in both.identities] == ["agent", "agent-2"]


@pytest.mark.parametrize("uri", ["http://127.0.0.1:8400/cb", "http://localhost:8400/cb", "http://[::1]:8400/cb"])
def test_a_redirect_to_this_machine_needs_no_tls(uri: str) -> None:
    assert identity(redirect_uri=uri).redirect_uri == uri
