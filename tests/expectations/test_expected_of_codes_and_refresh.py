"""2.9: codes, the holder of a key, and refresh tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import pytest

from tests.expectations.answers import Authorized, Pushed, Tokens
from tests.expectations.certification import Certification
from tests.expectations.checks import refused
from tests.expectations.conforming_client import ConformingClient
from tests.expectations.id_tokens import id_token_of
from tests.support.peer_keys import PeerKey

NO_PROOF: Final = ("invalid_request", "invalid_grant", "invalid_dpop_proof")
NO_CERTIFICATE: Final = ("invalid_client", "invalid_request", "invalid_grant")


async def authorized_by(suite: Certification, client: ConformingClient) -> tuple[Authorized, Pushed]:
    pushed = await client.push()
    return await client.authorize(pushed, person=suite.person), pushed


async def obtained(suite: Certification, client: ConformingClient) -> Tokens:
    """Tokens with a refresh token that is good still: it is not rotated, so one serves many tests."""
    return await suite.tokens(client)


@pytest.mark.expectation("ensure-holder-of-key-required")
async def test_nobody_gets_a_token_that_is_bound_to_nothing(suite: Certification, client: ConformingClient) -> None:
    authorized, pushed = await authorized_by(suite, client)
    if client.variant.sender == "dpop":
        refused(await client.redeem(authorized, pushed, proof=lambda url: None), *NO_PROOF)
    if "mtls" in (client.variant.client_auth, client.variant.sender):
        # stricter than the suite: the handshake completes, and the answer says what is missing
        refused(await client.redeem(authorized, pushed, shows_certificate=False), *NO_CERTIFICATE)


@pytest.mark.expectation("ensure-authorization-code-is-bound-to-client")
async def test_the_code_of_another_client_is_refused(
    suite: Certification, client: ConformingClient, second: ConformingClient
) -> None:
    authorized, pushed = await authorized_by(suite, client)
    refused(await second.redeem(authorized, pushed), "invalid_grant")
    assert (await client.redeem(authorized, pushed)).status_code == 200  # its owner is not harmed


@pytest.mark.expectation("attempt-reuse-authorization-code-after-one-second")
async def test_a_code_works_once_and_its_reuse_ends_what_it_brought(
    suite: Certification, client: ConformingClient
) -> None:
    authorized, pushed = await authorized_by(suite, client)
    tokens = client.tokens(await client.redeem(authorized, pushed))
    suite.clock.advance(timedelta(seconds=1))
    refused(await client.redeem(authorized, pushed), "invalid_grant")
    # deviation: a JWT that is out in the world works at the MCP server until it expires; nothing follows it there
    assert (await client.call(tokens)).status_code in (200, 401)
    refused(await client.refresh(tokens), "invalid_grant")


@pytest.mark.expectation("ended-at-userinfo")
async def test_the_reuse_of_a_code_ends_its_token_at_userinfo(suite: Certification, client: ConformingClient) -> None:
    pushed = await client.push(scope="openid", resource=suite.issuer)
    authorized = await client.authorize(pushed, person=suite.person)
    tokens = client.tokens(await client.redeem(authorized, pushed))
    userinfo = client.endpoint("userinfo_endpoint")
    assert (await client.call(tokens, url=userinfo)).status_code == 200
    suite.clock.advance(timedelta(seconds=1))
    refused(await client.redeem(authorized, pushed), "invalid_grant")
    assert (await client.call(tokens, url=userinfo)).status_code == 401


@pytest.mark.expectation("ensure-token-endpoint-fails-with-expired-auth-code")
async def test_a_code_is_over_after_62_seconds(suite: Certification, client: ConformingClient) -> None:
    authorized, pushed = await authorized_by(suite, client)
    suite.clock.advance(timedelta(seconds=62))
    refused(await client.redeem(authorized, pushed), "invalid_grant")


@pytest.mark.expectation("refresh-token")
async def test_a_refresh_token_is_issued_and_its_grant_is_listed(
    suite: Certification, client: ConformingClient, second: ConformingClient
) -> None:
    for peer in (client, second):
        assert (await obtained(suite, peer)).refresh_token
    assert "refresh_token" in suite.metadata["grant_types_supported"]


@pytest.mark.expectation("refresh-token-with-offline-access")
async def test_offline_access_is_asked_for_with_consent(suite: Certification, client: ConformingClient) -> None:
    scope = f"{client.scope} offline_access"
    tokens = await client.obtain(person=suite.person, scope=scope, prompt="consent")
    assert client.tokens(await client.refresh(tokens)).access_token


@pytest.mark.expectation("refresh-token-with-a-new-key")
async def test_a_refresh_token_is_not_bound_to_a_dpop_key(
    suite: Certification, client: ConformingClient, second: ConformingClient
) -> None:
    for peer in (client, second):
        key = PeerKey.es256() if peer.variant.sender == "dpop" else None
        scope = {"scope": peer.scope} if not peer.is_second else {}
        response = await peer.refresh(await obtained(suite, peer), key=key, form=scope)
        renewed = peer.tokens(response, key=key)
        assert renewed.answer["token_type"].lower() == ("dpop" if key else "bearer")
        assert "no-store" in response.headers["cache-control"]
        assert (await peer.call(renewed)).status_code == 200


@pytest.mark.expectation("refresh-token-after-30-seconds")
async def test_the_old_refresh_token_works_still_after_30_seconds(
    suite: Certification, client: ConformingClient
) -> None:
    tokens = await obtained(suite, client)
    assert (await client.refresh(tokens)).status_code == 200
    suite.clock.advance(timedelta(seconds=31))
    assert (await client.refresh(tokens)).status_code == 200


@pytest.mark.expectation("refresh-token-without-client-authentication")
async def test_a_refresh_token_alone_is_worth_nothing(suite: Certification, client: ConformingClient) -> None:
    tokens = await obtained(suite, client)
    nobody: dict[str, Any] = {"client_id": client.client_id}
    response = await client.refresh(tokens, authentication=nobody, shows_certificate=False)
    refused(response, "invalid_client", "invalid_grant", "invalid_request")


@pytest.mark.expectation("refresh-token-without-proof-of-possession")
async def test_a_refresh_needs_its_proof_of_possession(suite: Certification, client: ConformingClient) -> None:
    tokens = await obtained(suite, client)
    if client.variant.sender == "dpop":
        refused(await client.refresh(tokens, proof=lambda url: None), *NO_PROOF)
    else:
        refused(await client.refresh(tokens, shows_certificate=False), *NO_CERTIFICATE)


@pytest.mark.expectation("refresh-token-of-another-client")
async def test_the_refresh_token_of_another_client_is_refused(
    suite: Certification, client: ConformingClient, second: ConformingClient
) -> None:
    tokens = await obtained(suite, second)
    refused(await client.refresh(tokens), "invalid_grant")
    assert (await second.refresh(tokens)).status_code == 200


@pytest.mark.expectation("refresh-token-id-token")
async def test_an_id_token_of_a_refresh_is_for_the_same_sign_in(suite: Certification, client: ConformingClient) -> None:
    pushed = await client.push()
    authorized = await client.authorize(pushed, person=suite.person)
    tokens = client.tokens(await client.redeem(authorized, pushed))
    first = id_token_of(client, tokens, nonce=pushed.parameters["nonce"])
    suite.clock.advance(timedelta(seconds=2))
    renewed = client.tokens(await client.refresh(tokens))
    if "id_token" not in renewed.answer:
        return  # OpenID Connect Core §12.2 leaves it to the server
    _, second = client.verified(renewed.answer["id_token"])
    for name in ("iss", "sub", "aud", "auth_time", "azp"):
        assert second.get(name) == first.get(name), name
    assert second["iat"] > first["iat"]
