"""2.4: what must work."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.expectations.answers import Tokens
from tests.expectations.certification import Certification
from tests.expectations.conforming_client import ConformingClient
from tests.expectations.id_tokens import id_token_of
from tests.support.browser import Page
from tests.support.peer_keys import PeerKey


@pytest.mark.expectation("happy-flow")
async def test_two_clients_complete_the_flow_and_a_token_works_in_their_hands_only(
    suite: Certification, client: ConformingClient, second: ConformingClient
) -> None:
    first_tokens = await client.obtain(person=suite.person)
    second_tokens = await second.obtain(
        person=suite.person, **({"dpop_jkt": second.dpop_key.thumbprint} if second.variant.sender == "dpop" else {})
    )
    accepts = [
        [("accept", "application/json;charset=UTF-8"), ("accept-charset", "UTF-8")],
        [("accept", "application/json, application/*+json, */*")],
    ]
    for peer, tokens in ((client, first_tokens), (second, second_tokens)):
        for headers in accepts:
            assert (await peer.call(tokens, headers=headers)).status_code == 200
        in_the_query = await peer.call(tokens, query=f"?access_token={tokens.access_token}", authorization=False)
        assert in_the_query.status_code in (400, 401, 414)
    thief = await client.call(
        Tokens(answer=second_tokens.answer, key=first_tokens.key, response=second_tokens.response)
    )
    assert thief.status_code == 401


@pytest.mark.expectation("user-rejects-authentication")
async def test_a_person_who_says_no_is_told_to_the_client(
    suite: Certification, client: ConformingClient, second: ConformingClient
) -> None:
    for peer in (client, second):
        pushed = await peer.push()
        denied = peer.came_back(await peer.visit(pushed, person=suite.person, approve=False), pushed)
        assert denied.parameters["error"] == "access_denied"
        allowed = {"error", "error_description", "error_uri", "state", "session_state", "iss"}
        assert set(denied.parameters) <= allowed | ({"aud", "exp"} if peer.variant.is_jarm else set())


@pytest.mark.expectation("ensure-request-object-with-multiple-aud-succeeds")
async def test_a_request_object_may_have_several_audiences(suite: Certification, client: ConformingClient) -> None:
    pushed = await client.push(more={"aud": [client.issuer, "https://other1.example.com", "invalid"]})
    url = client.authorization_url(pushed, duplicates=False)
    assert client.came_back(await client.visit(pushed, person=suite.person, url=url), pushed).code


@pytest.mark.expectation("ensure-authorization-request-without-state-success")
async def test_without_state_none_comes_back(suite: Certification, client: ConformingClient) -> None:
    authorized = await client.authorize(await client.push(state=...), person=suite.person)
    assert "state" not in authorized.parameters


@pytest.mark.expectation("ensure-authorization-request-without-nonce-success")
async def test_without_nonce_the_id_token_has_none(suite: Certification, client: ConformingClient) -> None:
    tokens = await client.obtain(person=suite.person, nonce=...)
    assert "nonce" not in id_token_of(client, tokens, nonce=None)


@pytest.mark.expectation("ensure-authorization-request-with-64-char-nonce-success")
async def test_a_nonce_of_64_characters_works(suite: Certification, client: ConformingClient) -> None:
    tokens = await client.obtain(person=suite.person, nonce="n" * 64)
    assert id_token_of(client, tokens, nonce="n" * 64)


@pytest.mark.expectation("ensure-other-scope-order-succeeds")
async def test_scopes_in_another_order_work(suite: Certification, client: ConformingClient) -> None:
    backwards = " ".join(reversed(client.scope.split()))
    assert backwards != client.scope
    tokens = await client.obtain(person=suite.person, scope=backwards)
    assert "id_token" in tokens.answer


@pytest.mark.expectation("access-token-type-header-case-sensitivity")
async def test_the_scheme_in_inverted_case_works(suite: Certification, client: ConformingClient) -> None:
    tokens = await suite.tokens(client)
    scheme = "dPOP" if client.variant.sender == "dpop" else "bEARER"
    assert (await client.call(tokens, scheme=scheme)).status_code == 200


@pytest.mark.expectation("ensure-request-object-with-nbf-8-seconds-in-the-future-is-accepted")
async def test_a_request_object_from_a_clock_that_is_8_seconds_ahead_is_taken(client: ConformingClient) -> None:
    now = client.now()
    assert (await client.push(more={"nbf": now + 8, "exp": now + 308})).request_uri


@pytest.mark.expectation("par-without-duplicate-parameters")
async def test_the_url_needs_client_id_and_request_uri_only(suite: Certification, client: ConformingClient) -> None:
    pushed = await client.push()
    url = client.authorization_url(pushed, duplicates=False)
    assert client.came_back(await client.visit(pushed, person=suite.person, url=url), pushed).code


@pytest.mark.expectation("par-ensure-reused-request-uri-prior-to-auth-completion-succeeds")
async def test_a_first_visit_without_a_login_spends_nothing(suite: Certification, client: ConformingClient) -> None:
    pushed = await client.push()
    other = client.new_browser()
    first = await other.open(client.authorization_url(pushed))
    assert isinstance(first, Page)
    assert first.has("login-submit")
    assert (await client.authorize(pushed, person=suite.person, browser=other)).code


# --- DPoP


async def _complete(suite: Certification, client: ConformingClient, key: PeerKey, **claims: Any) -> None:
    """PAR, token and resource with proofs that say this as well."""

    def proof(method: str, url: str, **more: Any) -> str:
        return client.proof(method, url, key=key, **claims, **more)

    async def with_nonce(send: Any) -> Any:
        response = await send()
        return await send() if response.headers.get("dpop-nonce") and response.status_code in (400, 401) else response

    parameters, verifier = client.parameters()
    how = {"key": key, "proof": lambda url: proof("POST", url)}
    pushed = client.pushed(await with_nonce(lambda: client.push_parameters(parameters, **how)), parameters, verifier)
    authorized = await client.authorize(pushed, person=suite.person)
    tokens = client.tokens(await with_nonce(lambda: client.redeem(authorized, pushed, **how)), key=key)

    def shown(url: str) -> list[str]:
        return [proof("GET", url, access_token=tokens.access_token)]

    assert (await with_nonce(lambda: client.call(tokens, proof=shown))).status_code == 200


@pytest.mark.expectation("check-dpop-proof-nbf-exp")
async def test_a_proof_with_nbf_and_exp_works(suite: Certification, client: ConformingClient) -> None:
    await _complete(suite, client, PeerKey.es256(), nbf=client.now(), exp=client.now() + 300)


@pytest.mark.expectation("ensure-dpopproof-with-iat-10seconds-before-succeeds")
async def test_a_proof_from_10_seconds_ago_works(suite: Certification, client: ConformingClient) -> None:
    await _complete(suite, client, PeerKey.es256(), iat=client.now() - 10)


@pytest.mark.expectation("ensure-dpopproof-with-iat-10seconds-after-succeeds")
@pytest.mark.parametrize("seconds", [8, 10])
async def test_a_proof_from_a_clock_ahead_works(suite: Certification, client: ConformingClient, seconds: int) -> None:
    await _complete(suite, client, PeerKey.es256(), iat=client.now() + seconds)


@pytest.mark.expectation("ensure-dpopproof-at-par-endpoint-binding-success")
async def test_a_code_bound_by_a_proof_at_par_is_redeemed_with_that_key(
    suite: Certification, client: ConformingClient
) -> None:
    await _complete(suite, client, PeerKey.es256())


@pytest.mark.expectation("ensure-dpop-auth-code-binding-success")
async def test_dpop_jkt_and_a_proof_of_the_same_key_at_par_work(suite: Certification, client: ConformingClient) -> None:
    key = PeerKey.es256()
    pushed = await client.push(how={"key": key, "proves": True}, dpop_jkt=key.thumbprint)
    authorized = await client.authorize(pushed, person=suite.person)
    tokens = client.tokens(await client.redeem(authorized, pushed, key=key), key=key)
    assert (await client.call(tokens)).status_code == 200


# --- claims


@pytest.mark.expectation("test-claims-parameter-identity-claims")
async def test_claims_that_are_asked_for_are_in_userinfo(suite: Certification, client: ConformingClient) -> None:
    standard = {"name", "given_name", "family_name", "email", "phone_number", "birthdate"}
    known = sorted(standard & set(suite.metadata["claims_supported"]))
    assert suite.metadata["claims_parameter_supported"] is True  # else the suite skips the module
    assert known
    wanted = {"userinfo": dict.fromkeys(known[:-1]) | {known[-1]: {"essential": True}}}
    claims = wanted if client.variant.is_signed else json.dumps(wanted)
    # userinfo is the issuer's own resource: the token is for it, not for the MCP server
    tokens = await client.obtain(person=suite.person, claims=claims, scope="openid", resource=suite.issuer)
    response = await client.call(tokens, url=client.endpoint("userinfo_endpoint"))
    assert response.status_code == 200, response.text
    told = response.json()
    assert told.keys() >= {"sub", *known}
    assert told["sub"] == id_token_of(client, tokens, nonce=...)["sub"]
