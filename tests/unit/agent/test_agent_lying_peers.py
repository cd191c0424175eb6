"""The agent's core at lying servers: what it will not believe, and that nothing came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fapi_as.agent.agent import Agent
from fapi_as.agent.authorization import checked_response
from fapi_as.agent.errors import (
    AgentError,
    AnswerRejected,
    AuthorizationDenied,
    InsecureAddress,
    IssuerNotAllowed,
    MetadataRejected,
    Misconfigured,
    NonceLoop,
    RedirectRefused,
    ResponseRejected,
    ServerRefused,
    TokenRejected,
)
from fapi_as.agent.exchange import Nonces
from fapi_as.agent.settings import GrantType
from fapi_as.agent.steps import ANSWER_LIMIT, Answer, Request
from tests.support.agent_peer import (
    ISSUER,
    REDIRECT_URI,
    RESOURCE,
    Peer,
    agent_of,
    as_json,
    identity,
    run_call,
    settings,
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


@pytest.mark.requirement("PRM-7", proves="refused")
@pytest.mark.attack("XPA-09")
@pytest.mark.parametrize(
    "resource",
    [
        "https://victim.example/mcp",
        "https://bank.example/mcp/",
        "https://bank.example/",
        "https://bank.example",
        "https://BANK.example/mcp",
        None,
        [RESOURCE],
    ],
)
def test_metadata_that_speaks_for_another_resource_is_not_used(resource: object) -> None:
    peer = Peer(resource_document={"resource": resource})

    refused(MetadataRejected, peer)
    assert len(peer.seen) == 1


@pytest.mark.requirement("PRM-7", proves="holds")
def test_metadata_that_speaks_for_the_address_that_was_called_is_used() -> None:
    peer = Peer()

    assert run_call(agent_of(), peer).status == 200
    assert peer.seen[0].url == "https://bank.example/.well-known/oauth-protected-resource/mcp"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://bank.example/.well-known/oauth-protected-resource/mcp", InsecureAddress),
        ("https://169.254.169.254/latest/meta-data", MetadataRejected),
        ("https://bank.example:8443/.well-known/oauth-protected-resource/mcp", MetadataRejected),
        ("https://bank.example@evil.example/", InsecureAddress),
        ("file:///etc/passwd", InsecureAddress),
        ("https://", InsecureAddress),
        ("https://bank.example:port/", InsecureAddress),
    ],
)
def test_a_resource_cannot_send_the_agent_somewhere_else(address: str, expected: type[AgentError]) -> None:
    peer = Peer(challenge=f'DPoP resource_metadata="{address}"')

    refused(expected, peer)
    assert peer.seen == []


def test_only_https_addresses_are_ever_asked() -> None:
    peer = Peer()
    run_call(agent_of(), peer)

    assert all(request.url.startswith("https://") for request in peer.seen)


@pytest.mark.parametrize("servers", [[], ["https://evil.example"], [f"{ISSUER}/"], ["HTTPS://as.example"]])
def test_an_issuer_without_a_registration_is_not_even_asked(servers: list[str]) -> None:
    peer = Peer(resource_document={"authorization_servers": servers})

    refused(IssuerNotAllowed, peer)
    assert len(peer.seen) == 1


@pytest.mark.requirement("FAPI2-CL-9", proves="holds")
@pytest.mark.requirement("MD-3", proves="holds")
def test_endpoints_come_from_the_metadata_of_the_issuer() -> None:
    endpoint = "https://tokens.as.example/elsewhere"
    peer = Peer(metadata={"token_endpoint": endpoint})
    peer.overrides["/elsewhere"] = lambda _: as_json(400, {"error": "invalid_request"})

    refused(ServerRefused, peer)
    assert peer.seen[-1].url == endpoint


@pytest.mark.requirement("FAPI2-CL-9", proves="refused")
@pytest.mark.requirement("MD-3", proves="refused")
@pytest.mark.parametrize("issuer", [f"{ISSUER}/", "https://evil.example", "https://AS.example", None, [ISSUER]])
def test_metadata_of_another_issuer_is_not_used(issuer: object) -> None:
    peer = Peer(metadata={"issuer": issuer})

    refused(MetadataRejected, peer)
    assert peer.requests_to("/par") == []


@pytest.mark.parametrize(
    "member", ["authorization_endpoint", "token_endpoint", "pushed_authorization_request_endpoint"]
)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("http://as.example/endpoint", InsecureAddress),
        ("https://as.example/end point", InsecureAddress),
        ("https://as.example/x#y", InsecureAddress),
        ("https://user@as.example/x", InsecureAddress),
        ("javascript:alert(1)", InsecureAddress),
        ("", InsecureAddress),
        (7, MetadataRejected),
        (None, MetadataRejected),
    ],
)
def test_an_endpoint_that_is_not_https_is_not_used(member: str, value: object, expected: type[AgentError]) -> None:
    peer = Peer(metadata={member: value})

    refused(expected, peer)
    assert peer.visited == []
    assert peer.requests_to("/par") == []


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("code_challenge_methods_supported", ["plain"]),
        ("code_challenge_methods_supported", "S256"),
        ("code_challenge_methods_supported", [["S256"]]),
        ("code_challenge_methods_supported", ["S256"] * 65),
        ("token_endpoint_auth_methods_supported", ["client_secret_basic"]),
        ("authorization_response_iss_parameter_supported", False),
        ("authorization_response_iss_parameter_supported", "true"),
        ("authorization_response_iss_parameter_supported", None),
    ],
)
def test_a_server_without_the_security_profile_is_not_used(member: str, value: object) -> None:
    refused(MetadataRejected, Peer(metadata={member: value}))


@pytest.mark.requirement("ISS-3", proves="holds")
def test_an_issuer_is_compared_after_form_decoding() -> None:
    url = f"{REDIRECT_URI}?code=c&state=s&iss=https%3A%2F%2Fas.example"

    assert checked_response(url, redirect_uri=REDIRECT_URI, state="s", issuer=ISSUER) == "c"


@pytest.mark.requirement("FAPI2-CL-13", proves="refused")
@pytest.mark.requirement("ISS-3", proves="refused")
@pytest.mark.requirement("BCP-4", proves="refused")
@pytest.mark.parametrize("issuer", ["https://evil.example", f"{ISSUER}/", "https://AS.example", "", f" {ISSUER}"])
def test_a_response_of_another_issuer_is_thrown_away(issuer: str) -> None:
    peer = Peer(response={"iss": issuer})

    refused(ResponseRejected, peer)
    assert peer.requests_to("/token") == []


@pytest.mark.requirement("ISS-4", proves="refused")
def test_a_response_without_an_issuer_is_thrown_away() -> None:
    peer = Peer(response={"iss": None})

    refused(ResponseRejected, peer)
    assert peer.requests_to("/token") == []


@pytest.mark.requirement("ISS-4", proves="holds")
@pytest.mark.requirement("FAPI2-CL-13", proves="holds")
@pytest.mark.requirement("BCP-4", proves="holds")
def test_a_response_that_names_the_issuer_that_was_asked_is_redeemed() -> None:
    peer = Peer()

    assert run_call(agent_of(), peer).status == 200
    assert len(peer.requests_to("/token")) == 1


@pytest.mark.requirement("FAPI2-CL-12", proves="refused")
@pytest.mark.parametrize("state", [None, "", "state-of-another-browser", "secret-\u00e4"])
def test_a_callback_of_another_run_is_thrown_away(state: str | None) -> None:
    peer = Peer(response={"state": state})

    refused(ResponseRejected, peer)
    assert peer.requests_to("/token") == []


@pytest.mark.parametrize(
    "url",
    [
        f"{REDIRECT_URI}?code=c&state=s&iss={ISSUER}&iss=https://evil.example",
        f"{REDIRECT_URI}?code=c&code=d&state=s&iss={ISSUER}",
        f"https://evil.example/callback?code=c&state=s&iss={ISSUER}",
        f"{REDIRECT_URI}2?code=c&state=s&iss={ISSUER}",
        f"{REDIRECT_URI}#code=c&state=s&iss={ISSUER}",
        f"{REDIRECT_URI}?code=&state=s&iss={ISSUER}",
        f"{REDIRECT_URI}?state=s&iss={ISSUER}",
        f"{REDIRECT_URI}?code=%ff&state=s&iss={ISSUER}",
        f"{REDIRECT_URI}?code=c&state=s&iss={ISSUER}&x={'y' * 9000}",
        f"{REDIRECT_URI}?{'a=b&' * 40}code=c&state=s&iss={ISSUER}",
        REDIRECT_URI,
        "",
    ],
)
def test_a_response_that_can_be_read_in_two_ways_is_thrown_away(url: str) -> None:
    with pytest.raises(ResponseRejected):
        checked_response(url, redirect_uri=REDIRECT_URI, state="s", issuer=ISSUER)


def test_a_redirect_uri_may_have_a_query_of_its_own() -> None:
    url = f"{REDIRECT_URI}?app=1&code=c&state=s&iss={ISSUER}"

    assert checked_response(url, redirect_uri=f"{REDIRECT_URI}?app=1", state="s", issuer=ISSUER) == "c"


def test_a_denial_is_told_with_its_code() -> None:
    denial: dict[str, str | None] = {"code": None, "error": "access_denied", "error_description": "not \x1b[31mtoday"}
    error = refused(AuthorizationDenied, Peer(response=denial))

    assert isinstance(error, AuthorizationDenied)
    assert error.error == "access_denied"
    assert str(error) == "the authorization was not given: access_denied: not ?[31mtoday"


def test_the_error_of_a_stranger_is_not_shown() -> None:
    words = {"error": "call_this_number", "code": None, "iss": "https://evil.example"}

    assert "call_this_number" not in str(refused(ResponseRejected, Peer(response={**words})))


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
