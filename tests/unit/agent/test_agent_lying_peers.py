"""The agent's core at lying servers: what it will not believe, and that nothing came of it."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from fapi_as.agent.authorization import checked_response
from fapi_as.agent.errors import (
    AgentError,
    AuthorizationDenied,
    InsecureAddress,
    IssuerNotAllowed,
    MetadataRejected,
    ResponseRejected,
    ServerRefused,
)
from fapi_as.agent.steps import Answer, Request
from tests.support.agent_peer import (
    ISSUER,
    REDIRECT_URI,
    RESOURCE,
    Peer,
    agent_of,
    as_json,
    form,
    identity,
    run_call,
)
from tests.support.agent_refusals import METADATA, RESOURCE_METADATA, refused


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
    endpoint = f"{ISSUER}/elsewhere"
    peer = Peer(metadata={"token_endpoint": endpoint})
    peer.overrides["/elsewhere"] = lambda _: as_json(400, {"error": "invalid_request"})

    refused(ServerRefused, peer)
    assert peer.seen[-1].url == endpoint


@pytest.mark.parametrize("member", ["token_endpoint", "pushed_authorization_request_endpoint"])
@pytest.mark.parametrize(
    "url",
    ["https://evil.example/x", "https://as.example:444/x", "https://as.example.evil.example/x", "https://10.0.0.1/"],
)
def test_an_endpoint_on_another_server_than_the_issuer_gets_nothing(member: str, url: str) -> None:
    peer = Peer(metadata={member: url})

    refused(MetadataRejected, peer)
    assert {urlsplit(request.url).path for request in peer.seen} == {METADATA, RESOURCE_METADATA}


def test_an_endpoint_on_another_server_is_used_when_the_agent_was_told_so() -> None:
    endpoint = "https://tokens.example/token"
    peer = Peer(metadata={"token_endpoint": endpoint, "pushed_authorization_request_endpoint": f"{ISSUER}:443/par"})
    known = identity(endpoint_origins=("https://tokens.example",))

    assert run_call(agent_of(identities=(known,)), peer).status == 200
    assert [request.url for request in peer.requests_to("/token")] == [endpoint]


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


@pytest.mark.parametrize("secret", ["code", "code_verifier", "refresh_token"])
@pytest.mark.parametrize("where", ["error", "error_description"])
def test_what_a_server_repeats_of_a_secret_is_not_shown(secret: str, where: str) -> None:
    peer, agent = Peer(), agent_of()
    if secret == "refresh_token":
        run_call(agent, peer)
        peer.expire()

    def repeated(request: Request) -> Answer:
        value = form(request)[secret]
        return as_json(400, {"error": "invalid_request", where: f"{'x' * (195 - len(value))} {value} is unknown"})

    peer.overrides["/token"] = repeated
    with pytest.raises(ServerRefused) as caught:
        run_call(agent, peer)

    sent = form(peer.requests_to("/token")[-1])[secret]
    assert sent[:8] not in f"{caught.value} {caught.value.error} {caught.value.description}"
    assert "*** is" in str(caught.value)


def test_the_error_of_a_stranger_is_not_shown() -> None:
    words = {"error": "call_this_number", "code": None, "iss": "https://evil.example"}

    assert "call_this_number" not in str(refused(ResponseRejected, Peer(response={**words})))
