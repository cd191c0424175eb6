"""2.1: what every module of the certification suite does and checks on its way."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from time import time
from typing import Any
from uuid import uuid4

import pytest

from tests.expectations.certification import CALLBACK, Certification
from tests.expectations.checks import is_secret_enough, refused
from tests.expectations.conforming_client import ConformingClient
from tests.expectations.id_tokens import id_token_of
from tests.expectations.variants import Variant
from tests.support.fapi_client import error_of
from tests.support.peer_keys import PeerKey, unb64

YEAR = 365 * 24 * 3600
ALLOWED = {"PS256", "ES256", "EdDSA", "Ed25519"}


@pytest.mark.expectation("discovery-document")
async def test_the_discovery_document_names_the_endpoints(suite: Certification, variant: Variant) -> None:
    name = "openid-configuration" if variant.is_openid else "oauth-authorization-server"
    response = await suite.http.get(f"{suite.issuer}/.well-known/{name}")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/json")
    document = response.json()
    assert {"authorization_endpoint", "token_endpoint"} <= document.keys()
    assert document["issuer"] == suite.issuer


@pytest.mark.expectation("jwks")
async def test_published_keys_are_public_named_and_strong(suite: Certification, variant: Variant) -> None:
    response = await suite.http.get(suite.metadata["jwks_uri"])
    assert response.status_code == 200
    keys = response.json()["keys"]
    assert keys
    for key in keys:
        assert not {"d", "p", "q", "dp", "dq", "qi", "oth", "k"} & key.keys()
        assert key["kid"].strip()
        assert key.get("alg", "Ed25519") in ALLOWED  # absent where one algorithm has two names
        assert key["use"] == "sig"
        if key["kty"] == "RSA":
            assert len(unb64(key["n"])) >= 256
        else:
            assert {"EC": "P-256", "OKP": "Ed25519"}[key["kty"]] == key["crv"]
    assert len({key["kid"] for key in keys}) == len(keys)


@pytest.mark.expectation("client-keys")
async def test_the_two_clients_have_keys_of_their_own(client: ConformingClient, second: ConformingClient) -> None:
    assert {client.key.alg, second.key.alg} <= ALLOWED
    assert client.key.thumbprint != second.key.thumbprint
    if client.certificate is not None and second.certificate is not None:
        assert client.certificate.thumbprint != second.certificate.thumbprint
    for peer in (client, second):
        assert (await peer.push()).request_uri


@pytest.mark.expectation("second-client-request")
async def test_a_long_state_and_nonce_in_another_order_are_taken(
    suite: Certification, second: ConformingClient
) -> None:
    pushed = await second.push()
    assert len(pushed.parameters["state"]) == 128
    authorized = await second.authorize(pushed, person=suite.person)
    assert authorized.parameters["state"] == pushed.parameters["state"]


@pytest.mark.expectation("redirect-uri-with-query")
async def test_the_query_of_the_redirect_uri_is_preserved(suite: Certification, second: ConformingClient) -> None:
    authorized = await second.authorize(await second.push(), person=suite.person)
    assert authorized.location.startswith(f"{CALLBACK}?dummy1=lorem&dummy2=ipsum&")
    assert authorized.location.count("?") == 1


@pytest.mark.expectation("signed-form-has-only-request")
async def test_a_signed_request_needs_no_other_parameter(suite: Certification, client: ConformingClient) -> None:
    parameters, verifier = client.parameters()
    response = await client.push_object(client.request_object(parameters))
    pushed = client.pushed(response, parameters, verifier)
    assert (await client.authorize(pushed, person=suite.person)).code


@pytest.mark.expectation("request-object-typ")
@pytest.mark.parametrize("typ", [..., "oauth-authz-req+jwt", "OautH-auThZ-REQ+jWt", "JWT"], ids=str)
async def test_the_typ_of_a_request_object_may_be_absent_or_in_any_case(client: ConformingClient, typ: Any) -> None:
    assert (await client.push(header={"typ": typ})).request_uri


@pytest.mark.expectation("par-response")
async def test_a_pushed_request_is_created(client: ConformingClient, second: ConformingClient) -> None:
    for peer in (client, second):
        pushed = await peer.push()
        assert pushed.response.status_code == 201
        assert pushed.response.headers["content-type"].startswith("application/json")
        assert ":" in pushed.request_uri
        assert is_secret_enough(pushed.request_uri)
        assert isinstance(pushed.expires_in, int)
        assert 5 <= pushed.expires_in < YEAR


@pytest.mark.expectation("duplicates-on-the-authorization-url")
async def test_other_values_on_the_authorization_url_mean_nothing(
    suite: Certification, client: ConformingClient
) -> None:
    pushed = await client.push()
    url = client.authorization_url(pushed, scope="payments:write", redirect_uri="https://evil.example/", state="other")
    authorized = client.came_back(await client.visit(pushed, person=suite.person, url=url), pushed)
    tokens = client.tokens(await client.redeem(authorized, pushed))
    assert "payments:write" not in tokens.answer.get("scope", "")


@pytest.mark.expectation("authorization-response")
async def test_the_response_has_code_state_and_iss_and_nothing_else(
    suite: Certification, client: ConformingClient, second: ConformingClient
) -> None:
    for peer in (client, second):
        authorized = await peer.authorize(await peer.push(), person=suite.person)
        assert set(authorized.parameters) == {"code", "state", "iss"}
        assert is_secret_enough(authorized.code)
        assert len(authorized.code) * 6 >= 128


@pytest.mark.expectation("token-response")
async def test_the_token_response_is_complete(
    suite: Certification, client: ConformingClient, second: ConformingClient
) -> None:
    for peer in (client, second):
        tokens = await peer.obtain(person=suite.person)
        answer = tokens.answer
        assert tokens.response.headers["content-type"].startswith("application/json")
        assert "no-store" in tokens.response.headers["cache-control"]
        assert answer["token_type"].lower() == ("dpop" if peer.variant.sender == "dpop" else "bearer")
        assert isinstance(answer["expires_in"], int)
        assert 0 < answer["expires_in"] <= YEAR
        for secret in (tokens.access_token, tokens.refresh_token):
            assert len(secret) >= 16
            assert is_secret_enough(secret)


@pytest.mark.expectation("no-id-token")
async def test_plain_oauth_brings_no_id_token(suite: Certification, client: ConformingClient) -> None:
    assert "id_token" not in (await suite.tokens(client)).answer


@pytest.mark.expectation("id-token")
async def test_an_id_token_says_what_was_asked_for_and_nothing_else(
    suite: Certification, client: ConformingClient, second: ConformingClient
) -> None:
    for peer in (client, second):
        pushed = await peer.push()
        authorized = await peer.authorize(pushed, person=suite.person)
        tokens = peer.tokens(await peer.redeem(authorized, pushed))
        assert id_token_of(peer, tokens, nonce=pushed.parameters["nonce"])


@pytest.mark.expectation("client-credentials-without-refresh-token")
async def test_a_client_for_itself_gets_no_refresh_token(client: ConformingClient) -> None:
    response = await client.token("client_credentials", {"scope": "accounts:read"})
    assert response.status_code == 200, response.text
    assert "refresh_token" not in response.json()


@pytest.mark.expectation("resource-request")
async def test_the_resource_answers_with_a_date(suite: Certification, client: ConformingClient) -> None:
    interaction = str(uuid4())
    headers = [
        ("x-fapi-auth-date", "Tue, 11 Sep 2012 19:43:31 GMT"),
        ("x-fapi-customer-ip-address", "198.51.100.119"),
        ("x-fapi-interaction-id", interaction),
        ("accept", "application/json"),
    ]
    response = await client.call(await suite.tokens(client), headers=headers)
    assert response.status_code == 200, response.text
    assert abs(parsedate_to_datetime(response.headers["date"]).timestamp() - time()) < 300
    assert response.headers.get("x-fapi-interaction-id", interaction) == interaction


@pytest.mark.expectation("error-responses")
async def test_errors_have_the_form_of_rfc_6749(client: ConformingClient) -> None:
    parameters, _ = client.parameters(response_type='none"\\\r\n')
    refused(
        await client.push_parameters(parameters),
        "unsupported_response_type",
        "invalid_request",
        "invalid_request_object",
    )
    refused(await client.token("password", {}), "unsupported_grant_type")
    refused(await client.token("authorization_code", {"code": 'no"\\code', "code_verifier": "v" * 43}), "invalid_grant")
    nobody = {"client_id": "nobody"} if client.variant.client_auth == "mtls" else {"client_id": client.client_id}
    refused(await client.token("authorization_code", {}, authentication=nobody), "invalid_client", "invalid_request")


# --- DPoP


@pytest.mark.expectation("dpop-algorithms")
async def test_proofs_with_ps256_and_with_the_first_listed_algorithm_work(
    suite: Certification, client: ConformingClient
) -> None:
    listed = suite.metadata["dpop_signing_alg_values_supported"]
    assert set(listed) & ALLOWED
    for algorithm in ("PS256", listed[0]):
        key = PeerKey.of(algorithm)
        tokens = client.tokens(await client.refresh(await suite.tokens(client), key=key), key=key)
        assert (await client.call(tokens)).status_code == 200


@pytest.mark.expectation("dpop-nonce-at-the-server")
async def test_the_server_asks_for_a_nonce_with_400_and_one_header(client: ConformingClient) -> None:
    key = PeerKey.es256()
    asked = await client.token(
        "client_credentials", {"scope": "accounts:read"}, key=key, proof=lambda url: client.proof("POST", url, key=key)
    )
    assert asked.status_code == 400
    assert error_of(asked) == "use_dpop_nonce"
    (nonce,) = asked.headers.get_list("dpop-nonce")
    assert nonce
    assert all(
        character == "\x21" or "\x23" <= character <= "\x5b" or "\x5d" <= character <= "\x7e" for character in nonce
    )
    again = await client.token(
        "client_credentials", {"scope": "accounts:read"}, key=key, proof=lambda url: client.proof("POST", url, key=key)
    )
    assert again.status_code == 200, again.text


@pytest.mark.expectation("dpop-nonce-at-the-resource")
async def test_the_resource_asks_for_a_nonce_with_401_and_a_challenge(
    suite: Certification, client: ConformingClient
) -> None:
    key = PeerKey.es256()
    tokens = client.tokens(await client.refresh(await suite.tokens(client), key=key), key=key)

    def proof(url: str) -> list[str]:
        return [client.proof("GET", url, access_token=tokens.access_token, key=tokens.key)]

    asked = await client.call(tokens, proof=proof)
    assert asked.status_code == 401
    challenge = asked.headers["www-authenticate"]
    assert challenge.startswith("DPoP ")
    assert 'error="use_dpop_nonce"' in challenge
    assert len(asked.headers.get_list("dpop-nonce")) == 1
    assert (await client.call(tokens, proof=proof)).status_code == 200


@pytest.mark.expectation("dpop-nonce-is-shared")
async def test_a_nonce_of_par_works_at_the_token_endpoint(suite: Certification, client: ConformingClient) -> None:
    key = PeerKey.es256()
    how = {"key": key, "proves": True}
    pushed = await client.push(how=how)
    assert pushed.response.headers.get_list("dpop-nonce"), "none comes with a 2xx"
    authorized = await client.authorize(pushed, person=suite.person)
    response = await client.redeem(
        authorized, pushed, key=key, proof=lambda url: client.proof("POST", url, key=key)
    )  # no second attempt
    assert response.status_code == 200, response.text


# --- mTLS endpoints


@pytest.mark.expectation("dpop-htu-is-the-url-called")
async def test_a_proof_names_the_alias_that_is_called(client: ConformingClient) -> None:
    normal, alias = client.metadata["token_endpoint"], client.endpoint("token_endpoint")
    assert normal != alias
    response = await client.token("client_credentials", {"scope": "accounts:read"})
    assert response.status_code == 200, response.text
    nonces = dict(client.nonces)
    refusal = await client.token(
        "client_credentials",
        {"scope": "accounts:read"},
        proof=lambda url: client.proof("POST", url, htu=normal),
    )
    assert nonces
    refused(refusal, "invalid_dpop_proof")


@pytest.mark.expectation("mtls-aliases")
async def test_par_and_token_endpoint_have_aliases_that_take_the_certificate(
    suite: Certification, client: ConformingClient
) -> None:
    aliases = suite.metadata["mtls_endpoint_aliases"]
    assert {"token_endpoint", "pushed_authorization_request_endpoint"} <= aliases.keys()
    tokens = await client.obtain(person=suite.person)
    assert (await client.call(tokens)).status_code == 200


@pytest.mark.expectation("par-without-certificate")
async def test_a_private_key_jwt_client_pushes_without_a_certificate(
    suite: Certification, client: ConformingClient
) -> None:
    assert (
        client.endpoint("pushed_authorization_request_endpoint")
        == suite.metadata["pushed_authorization_request_endpoint"]
    )
    pushed = await client.push()
    authorized = await client.authorize(pushed, person=suite.person)
    assert client.endpoint("token_endpoint") != suite.metadata["token_endpoint"]
    assert client.tokens(await client.redeem(authorized, pushed)).answer["token_type"].lower() == "bearer"


@pytest.mark.expectation("resource-without-certificate")
async def test_a_token_that_is_bound_to_a_dpop_key_needs_no_certificate_at_the_resource(
    suite: Certification, client: ConformingClient
) -> None:
    tokens = await suite.tokens(client)
    assert (await client.call(tokens, shows_certificate=False)).status_code == 200
