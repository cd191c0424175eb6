"""5: details that fail most often, as far as no other row states them."""

from __future__ import annotations

import asyncio
import socket
import ssl
from functools import cache
from typing import Any

import pytest

from tests.expectations.certification import Certification, port_of
from tests.expectations.compact_jws import decoded
from tests.expectations.conforming_client import ConformingClient
from tests.expectations.variants import Variant
from tests.support.peer_keys import PeerKey

CERTIFICATE_REQUEST = 13  # of the handshake protocol, RFC 8446 §4


@pytest.mark.expectation("iss-equals-the-issuer")
async def test_iss_is_the_issuer_on_success_and_on_errors(suite: Certification, client: ConformingClient) -> None:
    pushed = await client.push()
    denied = client.came_back(await client.visit(pushed, person=suite.person, approve=False), pushed)
    authorized = await client.authorize(await client.push(), person=suite.person)
    assert denied.parameters["iss"] == authorized.parameters["iss"] == suite.issuer
    assert not suite.issuer.endswith("/")


@pytest.mark.expectation("state-survives-url-encoding")
async def test_a_state_with_every_unreserved_character_survives(suite: Certification, second: ConformingClient) -> None:
    pushed = await second.push()
    state = pushed.parameters["state"]
    assert len(state) == 128
    assert state.endswith("-._~")
    assert (await second.authorize(pushed, person=suite.person)).parameters["state"] == state


@pytest.mark.expectation("request-object-without-jti")
async def test_a_request_object_needs_no_jti(client: ConformingClient) -> None:
    parameters, verifier = client.parameters()
    request = client.request_object(parameters)
    header, claims = decoded(request)
    assert "typ" not in header
    assert "jti" not in claims
    assert client.pushed(await client.push_object(request), parameters, verifier).request_uri


@pytest.mark.expectation("no-alias-of-the-authorization-endpoint")
async def test_aliases_are_of_endpoints_that_exist_and_not_of_the_authorization_endpoint(
    suite: Certification, variant: Variant
) -> None:
    aliases = suite.metadata["mtls_endpoint_aliases"]
    assert aliases.keys() <= suite.metadata.keys() - {"authorization_endpoint"}
    assert all(port_of(url) != port_of(suite.issuer) for url in aliases.values())


@pytest.mark.expectation("fresh-nonce-is-accepted")
async def test_a_nonce_may_be_used_again_and_again(client: ConformingClient) -> None:
    key = PeerKey.es256()
    grant = {"scope": "accounts:read"}
    assert (await client.token("client_credentials", grant, key=key)).status_code == 200
    url = client.endpoint("token_endpoint")
    nonce = next(value for (origin, thumb), value in client.nonces.items() if thumb == key.thumbprint)

    def proof(called: str) -> str:
        return client.proof("POST", url, key=key, nonce=nonce)

    for _ in range(3):
        assert (await client.token("client_credentials", grant, key=key, proof=proof)).status_code == 200


@pytest.mark.expectation("bearer-downgrade")
async def test_a_token_works_in_no_other_hands(suite: Certification, client: ConformingClient) -> None:
    tokens = await suite.tokens(client)
    response = await client.call(tokens, scheme="Bearer", proof=lambda url: [], shows_certificate=False)
    assert response.status_code == 401


@pytest.mark.expectation("no-certificate-on-the-normal-port")
async def test_the_normal_port_asks_for_no_certificate(suite: Certification, variant: Variant) -> None:
    assert CERTIFICATE_REQUEST not in await asyncio.to_thread(
        handshake_messages, suite.authority, port_of(suite.issuer)
    )
    if "mtls" in variant:
        alias = suite.metadata["mtls_endpoint_aliases"]["token_endpoint"]
        assert CERTIFICATE_REQUEST in await asyncio.to_thread(handshake_messages, suite.authority, port_of(alias))


@cache
def handshake_messages(authority: str, port: int) -> frozenset[int]:
    """The types of what the server sent in one handshake; a place that several variants share is asked once."""
    seen: set[int] = set()

    def note(*told: Any) -> None:
        _, direction, _, content, kind, _ = told
        if direction == "read" and int(content) == 22:
            seen.add(int(kind))

    context = ssl.create_default_context(cafile=authority)
    context._msg_callback = note  # type: ignore[attr-defined] # the only way that the library tells
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname="localhost") as line,
    ):
        assert isinstance(line, ssl.SSLSocket)
    return frozenset(seen)


@pytest.mark.expectation("token-responses-are-not-stored")
async def test_no_answer_of_the_token_endpoint_is_stored(suite: Certification, client: ConformingClient) -> None:
    good = await client.token("client_credentials", {"scope": "accounts:read"})
    bad = await client.token("refresh_token", {"refresh_token": "unknown"})
    assert (good.status_code, bad.status_code) == (200, 400)
    assert "no-store" in good.headers["cache-control"]
    assert "no-store" in bad.headers["cache-control"]


@pytest.mark.expectation("id-token-algorithm")
async def test_an_id_token_is_never_signed_with_rs256(suite: Certification, client: ConformingClient) -> None:
    header, _ = decoded((await suite.tokens(client)).answer["id_token"])
    assert header["alg"] != "RS256"
    assert "RS256" not in suite.metadata["id_token_signing_alg_values_supported"]
