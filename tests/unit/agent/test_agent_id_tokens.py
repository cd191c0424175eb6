"""ID tokens at the agent: every claim is looked at, and the signature too, although the token came over TLS."""

from __future__ import annotations

from typing import Any

import pytest

from fapi_as.agent.agent import Agent
from fapi_as.agent.errors import TokenRejected
from fapi_as.agent.steps import Answer
from tests.support.agent_peer import NOW, Peer, agent_of, form, identity, run_call
from tests.support.agent_refusals import refused
from tests.support.agent_scene import insufficient
from tests.support.signing_peer import ED25519_KEY, JWKS, OTHER_KEY, SigningPeer

OPENID = ("accounts:read", "openid")
STEP_UP = 'DPoP error="insufficient_user_authentication", max_age="60", acr_values="urn:example:gold urn:example:top"'


def openid_agent(**changes: Any) -> Agent:
    return agent_of(scope=OPENID, **changes)


@pytest.mark.requirement("OIDC-37", proves="holds")
def test_an_id_token_that_is_right_names_the_person() -> None:
    peer, agent = SigningPeer(), openid_agent()

    assert run_call(agent, peer).status == 200

    assert agent.tokens is not None
    assert agent.tokens.subject == "alice"
    assert len(peer.requests_to(JWKS)) == 1


@pytest.mark.requirement("OIDC-37", proves="refused")
@pytest.mark.parametrize(
    ("lies", "why"),
    [
        ({"iss": "https://evil.example"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"aud": "another-agent"}, "another client"),
        ({"aud": None}, "another client"),
        ({"aud": []}, "another client"),
        ({"aud": ["agent", "https://evil.example"]}, "more than this one"),
        ({"azp": "another-agent"}, "azp"),
        ({"azp": 7}, "azp"),
        ({"exp": NOW - 11}, "expired"),
        ({"exp": None}, "expired"),
        ({"exp": "1"}, "expired"),
        ({"iat": NOW + 31}, "just now"),
        ({"iat": NOW - 601}, "just now"),
        ({"iat": None}, "just now"),
        ({"nonce": "of-another-request"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"nonce": 7}, "nonce"),
        ({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, "at_hash"),
        ({"at_hash": 7}, "at_hash"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": "a" * 256}, "sub"),
        ({"sub": "\u00e4"}, "sub"),
        ({"sub": 7}, "sub"),
    ],
)
def test_an_id_token_with_a_wrong_claim_takes_the_tokens_with_it(lies: dict[str, Any], why: str) -> None:
    error = refused(TokenRejected, SigningPeer(id_token_lies=lies), scope=OPENID)
    assert why in str(error)
    assert "alice" not in str(error)


@pytest.mark.requirement("MSG-IDT-2", proves="holds")
@pytest.mark.parametrize("typ", ["JWT", "jwt", None])
def test_an_id_token_that_the_issuer_signed_is_taken(typ: str | None) -> None:
    assert run_call(openid_agent(), SigningPeer(header_lies={"typ": typ})).status == 200


@pytest.mark.requirement("MSG-IDT-2", proves="refused")
@pytest.mark.parametrize(
    "change",
    [
        {"id_token_key": OTHER_KEY},
        {"id_token_key": ED25519_KEY},
        {"header_lies": {"alg": "none"}},
        {"header_lies": {"alg": "HS256"}},
        {"header_lies": {"kid": "as-2"}},
        {"header_lies": {"typ": "at+jwt"}},
        {"header_lies": {"typ": "logout+jwt"}},
        {"published": [ED25519_KEY]},
    ],
)
def test_an_id_token_whose_signature_is_not_the_issuers_is_refused_though_it_came_over_tls(
    change: dict[str, Any],
) -> None:
    refused(TokenRejected, SigningPeer(**change), scope=OPENID)


@pytest.mark.requirement("FAPI2-CL-16", proves="holds")
@pytest.mark.parametrize("audience", ["agent", ["agent"]])
def test_an_audience_may_be_a_list_of_one_and_a_lifetime_may_be_missing(audience: object) -> None:
    peer = SigningPeer(id_token_lies={"aud": audience}, token_document={"expires_in": None, "token_type": "dpop"})
    assert run_call(openid_agent(), peer).status == 200


@pytest.mark.requirement("FAPI2-CL-16", proves="refused")
@pytest.mark.parametrize("document", [{"id_token": None}, {"id_token": "a.b.c"}, {"id_token": 7}, {"id_token": ""}])
def test_an_answer_without_the_id_token_that_was_asked_for_is_thrown_away(document: dict[str, object]) -> None:
    refused(TokenRejected, SigningPeer(token_document=document), scope=OPENID)


@pytest.mark.requirement("FAPI2-CL-15", proves="holds")
def test_each_request_for_an_id_token_has_a_nonce_of_its_own() -> None:
    peer, agent = SigningPeer(), openid_agent()
    run_call(agent, peer)
    peer.expire()
    peer.refresh_alive = False
    run_call(agent, peer)

    nonces = [form(request)["nonce"] for request in peer.requests_to("/par")]
    assert len(set(nonces)) == 2


@pytest.mark.requirement("FAPI2-CL-15", proves="refused")
@pytest.mark.parametrize("scope", [OPENID, ("accounts:read",)])
def test_no_nonce_is_longer_than_64_characters_and_none_is_sent_for_nothing(scope: tuple[str, ...]) -> None:
    peer = SigningPeer()
    run_call(agent_of(scope=scope), peer)

    nonces = [form(request).get("nonce") for request in peer.requests_to("/par")]
    assert [nonce is not None for nonce in nonces] == ["openid" in scope]
    assert all(len(nonce) <= 64 for nonce in nonces if nonce is not None)


@pytest.mark.attack("XPA-16")
def test_an_id_token_of_an_earlier_request_is_none_of_this_one() -> None:
    peer, agent = SigningPeer(), openid_agent()
    run_call(agent, peer)
    peer.expire()
    peer.refresh_alive = False
    peer.token_document = {"id_token": peer.id_tokens[0]}

    with pytest.raises(TokenRejected, match="another request"):
        run_call(agent, peer)
    assert agent.tokens is None


def test_without_openid_no_id_token_is_looked_at() -> None:
    peer = SigningPeer(token_document={"id_token": "nonsense"})
    agent = agent_of()
    assert run_call(agent, peer).status == 200
    assert agent.tokens is not None
    assert agent.tokens.subject is None
    assert peer.requests_to(JWKS) == []


def test_openid_that_was_not_granted_needs_no_id_token() -> None:
    peer = SigningPeer(token_document={"scope": "accounts:read", "id_token": None})
    assert run_call(openid_agent(), peer).status == 200


def test_a_server_need_not_name_openid_in_the_scope_of_a_token_for_a_resource() -> None:
    peer, agent = SigningPeer(token_document={"scope": "accounts:read"}), openid_agent()
    run_call(agent, peer)
    assert agent.tokens is not None
    assert (agent.tokens.scope, agent.tokens.subject) == (("accounts:read",), "alice")

    peer.resource_answers = [
        insufficient("payments:write"),
        Answer(status=401, headers=(("www-authenticate", STEP_UP),)),
    ]
    run_call(agent, peer)
    assert [form(request)["scope"] for request in peer.requests_to("/par")[1:]] == [
        "accounts:read openid payments:write",
        "accounts:read openid",
    ]


def test_an_at_hash_of_ed25519_is_half_of_sha_512() -> None:
    peer = SigningPeer(id_token_key=ED25519_KEY)
    known = (identity(id_token_signed_response_alg="Ed25519"),)
    assert run_call(openid_agent(identities=known), peer).status == 200
    assert run_call(openid_agent(), SigningPeer(id_token_lies={"at_hash": None})).status == 200


# --- what a step-up asked for


def stepped_up(lies: dict[str, Any]) -> SigningPeer:
    peer, agent = SigningPeer(), openid_agent()
    run_call(agent, peer)
    peer.resource_answers = [Answer(status=401, headers=(("www-authenticate", STEP_UP),))]
    peer.id_token_lies = lies
    run_call(agent, peer)
    return peer


def test_a_sign_in_that_is_recent_and_strong_enough_is_taken() -> None:
    assert len(stepped_up({}).visited) == 2
    assert len(stepped_up({"acr": "urn:example:top", "auth_time": NOW - 70}).visited) == 2


@pytest.mark.parametrize(
    "lies",
    [
        {"auth_time": NOW - 71},
        {"auth_time": NOW + 31},
        {"auth_time": None},
        {"auth_time": "now"},
        {"acr": "urn:example:silver"},
        {"acr": None},
        {"acr": ["urn:example:gold"]},
    ],
)
def test_a_sign_in_that_is_not_what_was_asked_for_is_refused(lies: dict[str, Any]) -> None:
    with pytest.raises(TokenRejected, match="sign in"):
        stepped_up(lies)


@pytest.mark.parametrize("again", [Answer(status=401, headers=(("www-authenticate", STEP_UP),)), insufficient("pay")])
@pytest.mark.parametrize("another", [{"id_token_lies": {"sub": "bob"}}, {"token_document": {"id_token": None}}])
def test_a_call_that_began_as_one_persons_does_not_go_on_as_anothers(again: Answer, another: dict[str, Any]) -> None:
    peer, agent = SigningPeer(token_document={"scope": "accounts:read"}), openid_agent()
    run_call(agent, peer)
    held = agent.tokens
    peer.resource_answers = [again]
    for name, lie in another.items():
        setattr(peer, name, {**getattr(peer, name), **lie})
    with pytest.raises(TokenRejected):
        run_call(agent, peer)
    assert agent.tokens is held


# --- refreshed


def renewed(agent: Agent, peer: Peer) -> None:
    peer.expire()
    run_call(agent, peer)


@pytest.mark.parametrize("lies", [{}, {"nonce": None}])
def test_a_refreshed_id_token_about_the_same_person_is_taken(lies: dict[str, Any]) -> None:
    peer, agent = SigningPeer(), openid_agent()
    run_call(agent, peer)
    peer.id_token_lies = lies
    renewed(agent, peer)
    assert agent.tokens is not None
    assert agent.tokens.subject == "alice"
    assert len(peer.id_tokens) == 2


def test_a_refresh_without_an_id_token_keeps_the_person() -> None:
    peer, agent = SigningPeer(), openid_agent()
    run_call(agent, peer)
    peer.token_document = {"id_token": None}
    renewed(agent, peer)
    assert agent.tokens is not None
    assert agent.tokens.subject == "alice"


@pytest.mark.parametrize("lies", [{"sub": "mallory"}, {"aud": "another-agent"}, {"iat": NOW - 601}])
def test_a_refreshed_id_token_about_somebody_else_is_refused(lies: dict[str, Any]) -> None:
    peer, agent = SigningPeer(), openid_agent()
    run_call(agent, peer)
    held = agent.tokens
    peer.id_token_lies = lies
    peer.expire()
    with pytest.raises(TokenRejected):
        run_call(agent, peer)
    assert agent.tokens is held
