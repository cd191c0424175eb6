"""Signed requests and responses at the agent: what it signs, and what it throws away before it looks at it."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from fapi_as.agent.authorization import is_of_this_request
from fapi_as.agent.errors import (
    AuthorizationDenied,
    MetadataRejected,
    Misconfigured,
    ResponseRejected,
)
from fapi_as.agent.steps import Answer
from rs_kit.protocol.jws import SigningKey
from tests.support.agent_peer import ISSUER, NOW, Hands, agent_of, form, identity, run_call
from tests.support.agent_refusals import refused
from tests.support.signing_peer import (
    ED25519_KEY,
    JWKS,
    OTHER_KEY,
    SigningPeer,
    segment_of,
    signing_identity,
    verified_by_client_key,
)

SIGNED = (signing_identity(),)
AUTHENTICATION = {"client_id", "client_assertion", "client_assertion_type"}


def signed_agent(**changes: Any) -> Any:
    return agent_of(identities=SIGNED, **changes)


# --- request objects


@pytest.mark.requirement("MSG-REQ-15", proves="holds")
def test_a_pushed_request_is_one_signed_object_for_the_issuer_that_lives_minutes() -> None:
    peer = SigningPeer()

    assert run_call(signed_agent(scope=("accounts:read", "openid")), peer).status == 200

    (header, claims), (request,) = peer.request_objects[0], peer.requests_to("/par")
    assert header == {"alg": "ES256", "typ": "oauth-authz-req+jwt", "kid": "agent-1"}
    assert claims == verified_by_client_key(form(request)["request"], ["oauth-authz-req+jwt"])
    assert (claims["aud"], claims["iss"], claims["client_id"]) == (ISSUER, "agent", "agent")
    assert (claims["nbf"], claims["iat"]) == (NOW, NOW)
    assert 0 < claims["exp"] - NOW <= 300
    assert {"response_type", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method"} | {
        "resource",
        "dpop_jkt",
        "response_mode",
        "jti",
    } <= claims.keys()
    assert "sub" not in claims  # or it would be an assertion


@pytest.mark.requirement("MSG-REQ-15", proves="refused")
@pytest.mark.parametrize("scope", [("accounts:read",), ("accounts:read", "openid"), ()])
@pytest.mark.parametrize("nonce", [None, "n1"])
def test_no_parameter_is_left_outside_of_the_signature(scope: tuple[str, ...], nonce: str | None) -> None:
    peer = SigningPeer(server_nonce=nonce)
    run_call(signed_agent(scope=scope), peer)

    pushes = peer.requests_to("/par")
    assert len(pushes) == (1 if nonce is None else 2)
    assert all(form(push).keys() == {*AUTHENTICATION, "request"} for push in pushes)


def test_a_step_up_is_signed_as_well_and_its_age_is_a_number() -> None:
    peer, agent = SigningPeer(), signed_agent()
    run_call(agent, peer)
    challenge = 'DPoP error="insufficient_user_authentication", max_age="60", acr_values="urn:example:gold"'
    peer.resource_answers = [Answer(status=401, headers=(("www-authenticate", challenge),))]

    run_call(agent, peer)

    assert peer.request_objects[-1][1]["max_age"] == 60
    assert peer.request_objects[-1][1]["acr_values"] == "urn:example:gold"


def test_a_server_that_takes_signed_requests_only_gets_no_other() -> None:
    peer = SigningPeer(metadata={"require_signed_request_object": True})
    refused(MetadataRejected, peer)
    assert peer.requests_to("/par") == []


@pytest.mark.parametrize(
    "metadata",
    [
        {"request_object_signing_alg_values_supported": ["PS256"]},
        {"authorization_signing_alg_values_supported": ["PS256"]},
        {"response_modes_supported": ["query"]},
        {"request_object_signing_alg_values_supported": "ES256"},
    ],
)
def test_a_server_that_cannot_do_what_is_registered_is_not_asked(metadata: dict[str, Any]) -> None:
    peer = SigningPeer(metadata=metadata)
    refused(MetadataRejected, peer, identities=SIGNED)
    assert peer.requests_to("/par") == []


@pytest.mark.parametrize(
    "changes",
    [
        {"request_object_signing_alg": "PS256"},
        {"request_object_signing_alg": "none"},
        {"request_object_signing_alg": "RS256"},
        {"authorization_signed_response_alg": "none"},
        {"authorization_signed_response_alg": "RS256"},
        {"id_token_signed_response_alg": "none"},
        {"id_token_signed_response_alg": "HS256"},
        {"key": None},
    ],
)
def test_algorithms_that_may_not_be_and_keys_that_do_not_fit_are_refused_at_start(changes: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        identity(**changes)


def test_a_request_object_is_signed_with_the_algorithm_that_is_registered() -> None:
    key = SigningKey.from_private_key(ed25519.Ed25519PrivateKey.generate(), kid="agent-ed")
    peer = SigningPeer()
    known = (identity(key=key, request_object_signing_alg="EdDSA"),)
    peer.metadata["request_object_signing_alg_values_supported"] = ["EdDSA"]

    assert run_call(agent_of(identities=known), peer).status == 200
    assert peer.request_objects[0][0]["alg"] == "Ed25519"


# --- signed responses


@pytest.mark.requirement("MSG-RSP-6", proves="holds")
@pytest.mark.requirement("JARM-7", proves="holds")
def test_a_signed_response_of_the_issuer_is_redeemed() -> None:
    peer = SigningPeer()
    agent = signed_agent()

    assert run_call(agent, peer).status == 200

    assert peer.request_objects[0][1]["response_mode"] == "jwt"
    assert "response=" in peer.callback(peer.visited[-1]).url
    assert len(peer.requests_to(JWKS)) == 1


@pytest.mark.parametrize(
    ("lies", "sentence"),
    [
        ({"iss": "https://evil.example"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"aud": "another-agent"}, "another client"),
        ({"aud": None}, "another client"),
        ({"aud": ["agent", "another-agent"]}, "another client"),
        ({"exp": NOW - 11}, "expired"),
        ({"exp": None}, "expired"),
        ({"exp": "never"}, "expired"),
        ({"exp": True}, "expired"),
        ({"state": "of-another-request"}, "state"),
        ({"state": None}, "state"),
        ({"code": None}, "no code"),
        ({"code": 7}, "no code"),
    ],
)
@pytest.mark.requirement("JARM-7", proves="refused")
def test_a_response_with_a_wrong_claim_is_thrown_away(lies: dict[str, Any], sentence: str) -> None:
    peer = SigningPeer(response_lies=lies)
    error = refused(ResponseRejected, peer, identities=SIGNED)
    assert sentence in str(error)
    assert peer.requests_to("/token") == []


@pytest.mark.parametrize("lies", [{"iss": "https://evil.example"}, {"aud": "another-agent"}, {"exp": NOW - 11}])
def test_no_key_is_fetched_for_a_response_of_somebody_else(lies: dict[str, Any]) -> None:
    peer = SigningPeer(response_lies=lies)
    refused(ResponseRejected, peer, identities=SIGNED)
    assert peer.requests_to(JWKS) == []


@pytest.mark.requirement("MSG-RSP-6", proves="refused")
@pytest.mark.parametrize(
    "change",
    [
        {"response_key": OTHER_KEY},  # the kid of the issuer's key, and another key
        {"response_key": ED25519_KEY},  # the issuer's, and another algorithm than the registered one
        {"header_lies": {"alg": "none"}},
        {"header_lies": {"alg": "HS256"}},
        {"header_lies": {"kid": "as-2"}},
        {"header_lies": {"typ": "at+jwt"}},
        {"header_lies": {"typ": "oauth-authz-req+jwt"}},
        {"header_lies": {"jwk": OTHER_KEY.public_jwk()}, "response_key": OTHER_KEY},
        {"header_lies": {"crit": ["exp"]}},
        {"published": []},
    ],
)
def test_a_response_that_the_issuer_did_not_sign_is_dropped_unread(change: dict[str, Any]) -> None:
    peer = SigningPeer(response_lies={"error": "access_denied", "code": None}, **change)
    error = refused(ResponseRejected, peer, identities=SIGNED)
    assert "access_denied" not in str(error)
    assert peer.requests_to("/token") == []


@pytest.mark.parametrize(
    "change",
    [
        {"plain": True},
        {"outside": {"state": "x"}},
        {"outside": {"code": "c", "iss": ISSUER}},
        {"outside": {"error": "access_denied"}},
    ],
)
def test_what_is_not_signed_counts_for_nothing_where_signatures_were_asked_for(change: dict[str, Any]) -> None:
    peer = SigningPeer(**change)
    assert "one signed JWT" in str(refused(ResponseRejected, peer, identities=SIGNED))
    assert peer.requests_to("/token") == []


@pytest.mark.requirement("JARM-11", proves="refused")
@pytest.mark.parametrize("lies", [{}, {"code": "planted", "state": "secret-2"}])
def test_an_id_token_in_the_place_of_a_response_is_refused(lies: dict[str, Any]) -> None:
    peer = SigningPeer(swapped=True, id_token_lies=lies)
    hands = Hands()
    agent = agent_of(hands, identities=SIGNED, scope=("openid",))
    assert "another kind" in str(refused(ResponseRejected, peer, agent))
    assert peer.requests_to("/token") == []


@pytest.mark.attack("XPA-16")
def test_a_signed_response_of_an_earlier_request_is_none_of_this_one() -> None:
    peer, agent = SigningPeer(), signed_agent()
    run_call(agent, peer)
    earlier = dict(parse_qsl(urlsplit(peer.callback(peer.visited[0]).url).query))["response"]
    peer.expire()
    peer.refresh_alive = False
    peer.plain, peer.response = True, {"code": None, "state": None, "iss": None, "response": earlier}
    redeemed = len(peer.requests_to("/token"))

    with pytest.raises(ResponseRejected, match="another request"):
        run_call(agent, peer)
    assert [form(request)["grant_type"] for request in peer.requests_to("/token")[redeemed:]] == ["refresh_token"]


def test_a_denial_is_believed_once_its_signature_was_checked() -> None:
    peer = SigningPeer(response_lies={"error": "access_denied", "error_description": "not today", "code": None})
    error = refused(AuthorizationDenied, peer, identities=SIGNED)
    assert "not today" in str(error)


@pytest.mark.parametrize("algorithm", ["Ed25519", "EdDSA"])
def test_a_response_in_another_registered_algorithm_is_taken(algorithm: str) -> None:
    peer = SigningPeer(response_key=ED25519_KEY)
    peer.metadata["authorization_signing_alg_values_supported"] = [algorithm]
    known = (signing_identity(authorization_signed_response_alg=algorithm),)
    assert run_call(agent_of(identities=known), peer).status == 200


def test_a_signed_response_without_a_kid_is_verified_with_the_only_key_of_its_algorithm() -> None:
    assert run_call(signed_agent(), SigningPeer(header_lies={"kid": None})).status == 200


def test_a_response_in_parts_that_are_none_is_refused_by_a_sentence() -> None:
    for odd in ("", "a.b", "a.b.c", "....", f"{segment_of({'alg': 'ES256'})}..{'A' * 86}", "x" * 9000):
        peer = SigningPeer(plain=True, response={"code": None, "state": None, "iss": None, "response": odd})
        refused(ResponseRejected, peer, identities=SIGNED)


def test_a_stranger_at_the_loopback_address_is_told_by_the_state_of_a_signed_response_too() -> None:
    def response(claims: object) -> str:
        middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        return "http://127.0.0.1:1/callback?" + urlencode({"response": f"e30.{middle}.c2ln"})

    assert is_of_this_request(response({"state": "s3cret"}), "s3cret")
    for odd in ({"state": "other"}, {"state": 7}, {}, [], "x"):
        assert not is_of_this_request(response(odd), "s3cret")
    assert not is_of_this_request("http://127.0.0.1:1/callback?response=%C3%A4.%C3%A4.x", "s3cret")
