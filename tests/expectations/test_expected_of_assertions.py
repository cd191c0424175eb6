"""2.6: client assertions, and ids that are not one's own."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.expectations.certification import Certification
from tests.expectations.checks import refused
from tests.expectations.conforming_client import ASSERTION_TYPE, ConformingClient
from tests.support.peer_keys import PeerKey

EITHER: Final = ("invalid_client", "invalid_request")
GRANT: Final = {"scope": "accounts:read"}


def shown(assertion: str) -> dict[str, Any]:
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}


async def at_the_token_endpoint(client: ConformingClient, assertion: str) -> Any:
    return await client.token("client_credentials", GRANT, authentication=shown(assertion))


async def at_par(client: ConformingClient, assertion: str) -> Any:
    parameters, _ = client.parameters()
    return await client.push_parameters(parameters, authentication=shown(assertion))


@pytest.mark.expectation("ensure-signed-client-assertion-with-RS256-fails")
async def test_an_assertion_with_rs256_is_refused(client: ConformingClient) -> None:
    assert client.key.alg == "PS256"  # else the suite skips the module
    rs256 = PeerKey(client.key.private, "RS256")
    refused(await at_the_token_endpoint(client, client.assertion(key=rs256)), "invalid_client")
    assert (await at_the_token_endpoint(client, client.assertion())).status_code == 200


@pytest.mark.expectation("ensure-client-assertion-in-token-endpoint")
async def test_a_client_id_alone_authenticates_nobody(client: ConformingClient) -> None:
    response = await client.token("client_credentials", GRANT, authentication={"client_id": client.client_id})
    refused(response, *EITHER)


@pytest.mark.expectation("ensure-client-assertion-with-exp-is-5-minutes-in-past-fails")
async def test_an_assertion_that_ended_5_minutes_ago_is_refused(client: ConformingClient) -> None:
    refused(await at_the_token_endpoint(client, client.assertion(exp=client.now() - 300)), *EITHER)


@pytest.mark.expectation("ensure-client-assertion-with-wrong-aud-fails")
async def test_an_assertion_for_somebody_else_is_refused(client: ConformingClient) -> None:
    assertion = client.assertion(aud="https://fapidev-rs.authlete.net/api/userinfo")
    refused(await at_the_token_endpoint(client, assertion), *EITHER)


@pytest.mark.expectation("ensure-client-assertion-with-no-sub-fails")
async def test_an_assertion_without_sub_is_refused(client: ConformingClient) -> None:
    refused(await at_the_token_endpoint(client, client.assertion(sub=...)), *EITHER)


@pytest.mark.expectation("par-ensure-jwt-client-assertions-nbf-8-seconds-in-the-future-is-accepted")
async def test_an_assertion_from_a_clock_8_seconds_ahead_is_taken(client: ConformingClient) -> None:
    ahead = client.now() + 8
    response = await at_par(client, client.assertion(iat=ahead, nbf=ahead, exp=ahead + 60))
    assert response.status_code == 201, response.text


@pytest.mark.expectation("par-ensure-jwt-client-assertions-nbf-over-60-seconds-in-the-future-fails")
async def test_an_assertion_from_a_clock_62_seconds_ahead_is_refused(client: ConformingClient) -> None:
    ahead = client.now() + 62
    refused(await at_par(client, client.assertion(iat=ahead, nbf=ahead, exp=ahead + 60)), *EITHER)


@pytest.mark.expectation("par-test-array-as-audience-fails")
async def test_a_list_is_no_audience_at_par_and_nowhere_else(client: ConformingClient) -> None:
    for audience in ([client.issuer, client.metadata["token_endpoint"]], [client.issuer]):
        refused(await at_par(client, client.assertion(aud=audience)), *EITHER)
        refused(await at_the_token_endpoint(client, client.assertion(aud=audience)), *EITHER)


@pytest.mark.expectation("par-test-par-endpoint-url-as-audience-fails")
async def test_the_url_of_par_is_no_audience(client: ConformingClient) -> None:
    for url in {
        client.metadata["pushed_authorization_request_endpoint"],
        client.endpoint("pushed_authorization_request_endpoint"),
    }:
        refused(await at_par(client, client.assertion(aud=url)), *EITHER)


@pytest.mark.expectation("par-test-token-endpoint-url-as-audience-fails")
async def test_the_url_of_the_token_endpoint_is_no_audience(client: ConformingClient) -> None:
    for url in {client.metadata["token_endpoint"], client.endpoint("token_endpoint")}:
        refused(await at_par(client, client.assertion(aud=url)), *EITHER)
        refused(await at_the_token_endpoint(client, client.assertion(aud=url)), *EITHER)


@pytest.mark.expectation("ensure-client-id-in-token-endpoint")
async def test_the_id_of_another_client_with_ones_own_credentials_is_refused(
    suite: Certification, client: ConformingClient, second: ConformingClient
) -> None:
    pushed = await client.push()
    authorized = await client.authorize(pushed, person=suite.person)
    authentication = client.authentication() | {"client_id": second.client_id}
    response = await client.redeem(authorized, pushed, authentication=authentication)
    refused(response, "invalid_client", "invalid_grant")
