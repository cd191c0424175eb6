"""The agent's core at honest servers: what it sends, to whom, and how often."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qsl, urlsplit

import pytest

from fapi_as.agent.settings import GrantType
from fapi_as.agent.steps import Answer
from rs_kit.protocol import jws
from tests.support.agent_peer import (
    CLIENT_KEY,
    ISSUER,
    NOW,
    REDIRECT_URI,
    RESOURCE,
    Peer,
    agent_of,
    form,
    header,
    identity,
    opened,
    run_call,
)
from tests.support.agent_scene import back_channel

_ENDPOINTS = {
    "authorization_endpoint": "authorize",
    "token_endpoint": "token",
    "pushed_authorization_request_endpoint": "par",
}


@pytest.mark.requirement("FAPI2-CL-1", proves="holds")
def test_a_call_without_tokens_ends_in_a_call_with_a_token_bound_to_the_agents_key() -> None:
    peer, agent = Peer(), agent_of()

    assert run_call(agent, peer).status == 200

    first, second = peer.calls
    assert first.authorization is None
    assert second.authorization is not None
    head, claims = opened(second.proof or "")
    token = second.authorization.removeprefix("DPoP ")
    digest = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).decode().rstrip("=")
    assert head["typ"] == "dpop+jwt"
    assert {"htm": "POST", "htu": RESOURCE, "ath": digest, "iat": NOW}.items() <= claims.items()
    assert agent.tokens is not None
    assert head["jwk"] == {
        k: v for k, v in agent.tokens.proof_key.public_jwk().items() if k in {"kty", "crv", "x", "y"}
    }


@pytest.mark.requirement("DPOP-CL-1", proves="holds")
@pytest.mark.parametrize("token_type", ["DPoP", "dpop", "DPOP"])
def test_the_name_of_the_token_type_may_have_any_case(token_type: str) -> None:
    peer = Peer(token_document={"token_type": token_type})

    assert run_call(agent_of(), peer).status == 200


def test_a_token_answer_may_leave_out_how_long_the_token_lives() -> None:
    peer, agent = Peer(token_document={"expires_in": None}), agent_of()

    assert run_call(agent, peer).status == 200
    assert agent.tokens is not None
    assert agent.tokens.expires_at is None


@pytest.mark.requirement("FAPI2-CL-12", proves="holds")
def test_every_authorization_pushes_s256_of_a_verifier_of_its_own() -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)
    peer.expire()
    peer.refresh_alive = False
    run_call(agent, peer)

    pushed = [form(request) for request in peer.requests_to("/par")]
    redeemed = [form(request) for request in peer.requests_to("/token") if "code" in form(request)]
    assert len(pushed) == len(redeemed) == 2
    for push, redemption in zip(pushed, redeemed, strict=True):
        digest = hashlib.sha256(redemption["code_verifier"].encode()).digest()
        assert push["code_challenge"] == base64.urlsafe_b64encode(digest).decode().rstrip("=")
        assert push["code_challenge_method"] == "S256"
    assert pushed[0]["code_challenge"] != pushed[1]["code_challenge"]
    assert pushed[0]["state"] != pushed[1]["state"]


def test_the_push_says_everything_and_binds_the_code_to_the_proof_key() -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)

    (request,) = peer.requests_to("/par")
    assert agent.tokens is not None
    assert form(request)["dpop_jkt"] == agent.tokens.proof_key.thumbprint
    assert form(request) | {
        "response_type": "code",
        "client_id": "agent",
        "redirect_uri": REDIRECT_URI,
        "scope": "accounts:read",
        "resource": RESOURCE,
    } == form(request)
    assert opened(header(request, "dpop"))[1]["htu"] == f"{ISSUER}/par"


@pytest.mark.requirement("FAPI2-CL-14", proves="holds")
@pytest.mark.requirement("PAR-21", proves="holds")
def test_the_browser_gets_the_client_id_and_the_request_uri() -> None:
    peer = Peer()
    run_call(agent_of(), peer)

    (url,) = peer.visited
    assert url.startswith(f"{ISSUER}/authorize?")
    assert parse_qsl(urlsplit(url).query) == [("client_id", "agent"), ("request_uri", next(iter(peer.pushed)))]


@pytest.mark.requirement("FAPI2-CL-14", proves="refused")
def test_nothing_that_was_pushed_shows_in_the_browser() -> None:
    peer = Peer(metadata={"authorization_endpoint": f"{ISSUER}/authorize?tenant=1"})
    run_call(agent_of(), peer)

    names = [name for name, _ in parse_qsl(urlsplit(peer.visited[0]).query)]
    assert names == ["tenant", "client_id", "request_uri"]  # the first is the server's own


@pytest.mark.requirement("PAR-21", proves="refused")
def test_a_request_uri_is_never_opened_twice() -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)
    peer.expire()
    peer.refresh_alive = False
    run_call(agent, peer)

    opened_uris = [dict(parse_qsl(urlsplit(url).query))["request_uri"] for url in peer.visited]
    assert len(opened_uris) == len(set(opened_uris)) == 2


@pytest.mark.requirement("FAPI2-CL-2", proves="holds")
def test_every_request_to_the_server_is_signed_with_the_registered_key() -> None:
    peer = Peer()
    run_call(agent_of(), peer)

    for request in back_channel(peer):
        assertion = form(request)["client_assertion"]
        unverified = jws.parse_compact(
            assertion, algorithms=frozenset({"ES256"}), types=frozenset({"client-authentication+jwt"}), max_length=8192
        )
        claims = jws.verify(unverified, [CLIENT_KEY.public]).claims
        assert form(request)["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        assert claims["iss"] == claims["sub"] == form(request)["client_id"] == "agent"


@pytest.mark.requirement("FAPI2-CL-5", proves="holds")
def test_every_assertion_is_for_the_issuer() -> None:
    peer = Peer()
    run_call(agent_of(), peer)

    assert [opened(form(request)["client_assertion"])[1]["aud"] for request in back_channel(peer)] == [ISSUER, ISSUER]


@pytest.mark.requirement("PKJ-13", proves="holds")
def test_assertions_are_new_each_time_live_a_minute_and_say_what_they_are() -> None:
    peer = Peer(server_nonce="n1")
    run_call(agent_of(), peer)

    assertions = [opened(form(request)["client_assertion"]) for request in back_channel(peer)]
    assert len(assertions) == 3  # one push was repeated for its nonce
    assert len({claims["jti"] for _, claims in assertions}) == 3
    assert all(claims["exp"] - claims["iat"] <= 60 for _, claims in assertions)
    assert all(head["typ"] == "client-authentication+jwt" for head, _ in assertions)


@pytest.mark.requirement("PKJ-13", proves="refused")
@pytest.mark.requirement("FAPI2-CL-5", proves="refused")
@pytest.mark.parametrize("grant_type", list(GrantType))
def test_the_audience_of_an_assertion_is_never_a_list(grant_type: GrantType) -> None:
    peer, agent = Peer(server_nonce="n1"), agent_of(grant_type=grant_type)
    run_call(agent, peer)
    peer.expire()
    run_call(agent, peer)

    requests = back_channel(peer)
    assert len(requests) > 2
    assert all(isinstance(opened(form(request)["client_assertion"])[1]["aud"], str) for request in requests)


@pytest.mark.requirement("FAPI2-CL-2", proves="refused")
@pytest.mark.parametrize("grant_type", list(GrantType))
def test_no_shared_secret_is_ever_sent(grant_type: GrantType) -> None:
    peer = Peer(metadata={"token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"]})
    run_call(agent_of(grant_type=grant_type), peer)

    for request in peer.seen:
        assert "authorization" not in dict(request.headers)
        assert b"client_secret" not in request.body


@pytest.mark.requirement("FAPI2-CL-3", proves="holds")
def test_the_access_token_travels_in_the_authorization_header() -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)

    assert agent.tokens is not None
    assert peer.calls[-1].authorization == f"DPoP {agent.tokens.access_token.reveal()}"


@pytest.mark.requirement("FAPI2-CL-3", proves="refused")
def test_the_access_token_is_in_no_address_and_no_body() -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)
    peer.expire()
    run_call(agent, peer)

    for request in peer.seen:
        assert "opaque-" not in request.url
        assert b"opaque-" not in request.body


def test_no_token_goes_to_another_address_than_the_resource() -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)
    before = len(peer.seen)

    for url in (
        "https://other.example/mcp",
        "https://bank.example/mcp/",
        "https://bank.example/",
        "http://bank.example/mcp",
    ):
        peer.resource_answers = [Answer(status=401, headers=(("www-authenticate", peer.challenge),))]
        assert run_call(agent, peer, url=url).status == 401
        assert peer.calls[-1].authorization is None
        assert peer.calls[-1].proof is None
    assert len(peer.seen) == before


def test_the_resource_is_the_same_in_another_spelling() -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)

    assert run_call(agent, peer, url="HTTPS://BANK.example:443/mcp?page=2").status == 200
    assert peer.calls[-1].authorization is not None
    assert opened(peer.calls[-1].proof or "")[1]["htu"] == RESOURCE


@pytest.mark.requirement("RES-5", proves="holds")
@pytest.mark.parametrize("grant_type", list(GrantType))
def test_the_resource_is_named_in_every_request_for_a_token(grant_type: GrantType) -> None:
    peer, agent = Peer(), agent_of(grant_type=grant_type)
    run_call(agent, peer)
    peer.expire()
    run_call(agent, peer)

    requests = back_channel(peer)
    assert len(requests) >= 2
    assert {form(request)["resource"] for request in requests} == {RESOURCE}


@pytest.mark.requirement("FAPI2-CL-8", proves="holds")
@pytest.mark.requirement("DPOP-CL-2", proves="holds")
def test_a_nonce_is_used_where_it_came_from_and_learnt_from_success_too() -> None:
    peer, agent = Peer(server_nonce="from-as", resource_nonce="from-rs"), agent_of()

    assert run_call(agent, peer).status == 200

    proofs = [opened(header(request, "dpop"))[1] for request in back_channel(peer)]
    assert [proof.get("nonce") for proof in proofs] == [None, "from-as", "from-as"]
    assert len({proof["jti"] for proof in proofs}) == 3
    calls = [opened(call.proof)[1] for call in peer.calls if call.proof]
    assert [proof.get("nonce") for proof in calls] == [None, "from-rs"]

    peer.resource_answers = [Answer(status=200, headers=(("dpop-nonce", "newer"),))]
    run_call(agent, peer)
    peer.resource_nonce = "newer"
    run_call(agent, peer)
    assert opened(peer.calls[-1].proof or "")[1]["nonce"] == "newer"
    assert len(peer.calls) == 5  # no round trip was lost


def test_two_nonces_at_once_are_none() -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)
    peer.resource_answers = [Answer(status=200, headers=(("dpop-nonce", "a"), ("dpop-nonce", "b")))]
    run_call(agent, peer)
    run_call(agent, peer)

    assert "nonce" not in opened(peer.calls[-1].proof or "")[1]


@pytest.mark.requirement("DPOP-CL-3", proves="holds")
def test_every_proof_has_a_jti_of_its_own() -> None:
    peer, agent = Peer(server_nonce="n1", resource_nonce="n2"), agent_of()
    for _ in range(5):
        run_call(agent, peer)

    proofs = [header(request, "dpop") for request in peer.seen if "dpop" in dict(request.headers)]
    proofs += [call.proof for call in peer.calls if call.proof]
    jtis = [opened(proof)[1]["jti"] for proof in proofs]
    assert len(jtis) == len(set(jtis)) == 9


@pytest.mark.requirement("DPOP-CL-3", proves="refused")
def test_the_key_of_one_issuer_is_not_used_at_another() -> None:
    other = "https://other-as.example"
    identities = (identity(), identity(issuer=other, client_id="agent-2"))
    peer, agent = Peer(), agent_of(identities=identities)
    run_call(agent, peer)
    assert agent.tokens is not None
    first = agent.tokens.proof_key.thumbprint

    moved = Peer(
        resource_document={"authorization_servers": [other]},
        metadata={"issuer": other, **{n: f"{other}/{p}" for n, p in _ENDPOINTS.items()}},
        response={"iss": other},
    )
    assert run_call(agent, moved).status == 200
    assert agent.tokens.issuer == other
    assert agent.tokens.client_id == "agent-2"
    assert agent.tokens.proof_key.thumbprint != first
    assert not any("refresh_token" in form(request) for request in moved.requests_to("/token"))
