"""2.7: request objects, and what stands inside and outside of a pushed request."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.expectations.certification import Certification
from tests.expectations.checks import refused
from tests.expectations.conforming_client import ConformingClient
from tests.expectations.id_tokens import id_token_of
from tests.support.peer_keys import PeerKey, as_json, b64

OBJECT: Final = "invalid_request_object"


async def pushed_object(client: ConformingClient, **changes: Any) -> Any:
    parameters, _ = client.parameters()
    return await client.push_object(client.request_object(parameters, **changes))


@pytest.mark.expectation("ensure-request-object-without-exp-fails")
async def test_a_request_object_without_exp_is_refused(client: ConformingClient) -> None:
    refused(await pushed_object(client, exp=...), OBJECT)


@pytest.mark.expectation("ensure-request-object-without-nbf-fails")
async def test_a_request_object_without_nbf_is_refused(client: ConformingClient) -> None:
    refused(await pushed_object(client, nbf=...), OBJECT)


@pytest.mark.expectation("ensure-expired-request-object-fails")
async def test_an_expired_request_object_is_refused(client: ConformingClient) -> None:
    refused(await pushed_object(client, exp=client.now() - 3600, nbf=client.now() - 3700), OBJECT)
    refused(await pushed_object(client, exp=client.now() - 3600), OBJECT)


@pytest.mark.expectation("ensure-request-object-with-bad-aud-fails")
@pytest.mark.parametrize("aud", ["https://other.example", "", [], ["https://other.example"], ...], ids=str)
async def test_a_request_object_for_somebody_else_is_refused(client: ConformingClient, aud: Any) -> None:
    refused(await pushed_object(client, aud=aud), OBJECT)


@pytest.mark.expectation("ensure-request-object-with-exp-over-60-fails")
async def test_a_request_object_that_ends_in_70_minutes_is_refused(client: ConformingClient) -> None:
    refused(await pushed_object(client, exp=client.now() + 4200), OBJECT)


@pytest.mark.expectation("ensure-request-object-with-nbf-over-60-fails")
async def test_a_request_object_that_began_70_minutes_ago_is_refused(client: ConformingClient) -> None:
    refused(await pushed_object(client, nbf=client.now() - 4200), OBJECT)


@pytest.mark.expectation("ensure-signed-request-object-with-RS256-fails")
async def test_a_request_object_with_rs256_is_refused(client: ConformingClient) -> None:
    assert client.key.alg == "PS256"  # else the suite skips the module
    refused(await pushed_object(client, key=PeerKey(client.key.private, "RS256")), OBJECT)


@pytest.mark.expectation("ensure-request-object-signature-algorithm-is-not-none")
async def test_an_unsigned_request_object_is_refused(client: ConformingClient) -> None:
    parameters, _ = client.parameters()
    _, claims, _ = client.request_object(parameters).split(".")
    refused(await client.push_object(f"{b64(as_json({'alg': 'none'}))}.{claims}."), OBJECT)


@pytest.mark.expectation("ensure-request-object-with-invalid-signature-fails")
async def test_a_request_object_with_a_broken_signature_is_refused(client: ConformingClient) -> None:
    parameters, _ = client.parameters()
    header, claims, signature = client.request_object(parameters).split(".")
    turned = ("B" if signature[5] == "A" else "A").join((signature[:5], signature[6:]))
    refused(await client.push_object(f"{header}.{claims}.{turned}"), OBJECT)


@pytest.mark.expectation("par-authorization-request-containing-request_uri")
async def test_a_request_object_that_holds_a_request_uri_is_refused(client: ConformingClient) -> None:
    uri = "urn:ietf:params:oauth:request_uri:" + "u" * 43
    refused(await pushed_object(client, request_uri=uri), OBJECT)


@pytest.mark.expectation("ensure-matching-key-in-authorization-request")
async def test_a_request_object_by_the_key_of_another_client_is_refused(
    client: ConformingClient, second: ConformingClient
) -> None:
    refused(await pushed_object(client, key=second.key), "invalid_request", OBJECT)
    named = {"header": {"kid": second.kid}}
    refused(await pushed_object(client, key=second.key, **named), "invalid_request", OBJECT)


@pytest.mark.expectation("ensure-unsigned-request-at-par-endpoint-fails")
async def test_a_client_that_must_sign_may_not_push_parameters(client: ConformingClient) -> None:
    parameters, _ = client.parameters()
    refused(await client.post("pushed_authorization_request_endpoint", parameters), "invalid_request")


# --- inside and outside: what stands on the authorization URL means nothing


@pytest.mark.expectation("ensure-different-nonce-inside-and-outside-request-object")
async def test_the_pushed_nonce_counts(suite: Certification, client: ConformingClient) -> None:
    pushed = await client.push()
    url = client.authorization_url(pushed, nonce="outside")
    authorized = client.came_back(await client.visit(pushed, person=suite.person, url=url), pushed)
    tokens = client.tokens(await client.redeem(authorized, pushed))
    assert id_token_of(client, tokens, nonce=pushed.parameters["nonce"])


@pytest.mark.expectation("ensure-different-state-inside-and-outside-request-object")
async def test_the_pushed_state_counts(suite: Certification, client: ConformingClient) -> None:
    pushed = await client.push()
    url = client.authorization_url(pushed, state="outside")
    authorized = client.came_back(await client.visit(pushed, person=suite.person, url=url), pushed)
    assert authorized.parameters["state"] == pushed.parameters["state"] != "outside"


@pytest.mark.expectation("state-only-outside-request-object-not-used")
async def test_a_state_that_was_not_pushed_does_not_come_back(suite: Certification, client: ConformingClient) -> None:
    pushed = await client.push(state=...)
    url = client.authorization_url(pushed, state="outside")
    authorized = client.came_back(await client.visit(pushed, person=suite.person, url=url), pushed)
    assert "state" not in authorized.parameters
    tokens = client.tokens(await client.redeem(authorized, pushed))
    if client.variant.is_openid:
        assert "s_hash" not in id_token_of(client, tokens, nonce=pushed.parameters["nonce"])
