"""2.8: the authorization endpoint, redirects, pushed requests and PKCE."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from tests.expectations.answers import Pushed
from tests.expectations.certification import Certification
from tests.expectations.checks import refused
from tests.expectations.conforming_client import ConformingClient
from tests.support.browser import Page

AT_PAR: Final = ("invalid_request", "invalid_request_object")


def error_page(place: Any, *errors: str) -> None:
    """The placeholder that the suite looks for: 400, HTML, the code in #oauth-error."""
    assert isinstance(place, Page), place
    assert place.status == 400, place.text
    assert place.response.headers["content-type"].startswith("text/html")
    assert place.error in errors, place.error


async def refused_at_par(client: ConformingClient, *errors: str, **changes: Any) -> None:
    parameters, _ = client.parameters(**changes)
    refused(await client.push_parameters(parameters), *errors)


async def works_or_is_refused_at_par(suite: Certification, client: ConformingClient, **changes: Any) -> None:
    parameters, verifier = client.parameters(**changes)
    response = await client.push_parameters(parameters)
    if response.status_code != 201:
        refused(response, "invalid_request")
        return
    pushed = client.pushed(response, parameters, verifier)
    assert (await client.authorize(pushed, person=suite.person)).code


@pytest.mark.expectation("ensure-authorization-request-with-long-nonce")
async def test_a_nonce_of_384_characters_works_or_is_refused_when_pushed(
    suite: Certification, client: ConformingClient
) -> None:
    await works_or_is_refused_at_par(suite, client, nonce="n" * 384)


@pytest.mark.expectation("ensure-authorization-request-with-long-state")
async def test_a_state_of_1000_characters_works_or_is_refused_when_pushed(
    suite: Certification, client: ConformingClient
) -> None:
    await works_or_is_refused_at_par(suite, client, state="s" * 1000)


@pytest.mark.expectation("ensure-request-object-without-redirect-uri-fails")
async def test_a_request_without_redirect_uri_is_refused(client: ConformingClient) -> None:
    await refused_at_par(client, *AT_PAR, redirect_uri=...)


@pytest.mark.expectation("plain-fapi-tolerate-unregistered-redirect-uri")
async def test_an_unregistered_redirect_uri_is_refused(client: ConformingClient) -> None:
    await refused_at_par(client, *AT_PAR, redirect_uri=f"{client.redirect_uri}/unregistered")


@pytest.mark.expectation("ensure-redirect-uri-in-authorization-request")
async def test_no_default_redirect_uri_is_used(second: ConformingClient) -> None:
    await refused_at_par(second, *AT_PAR, redirect_uri=...)


@pytest.mark.expectation("ensure-unsigned-authorization-request-without-using-par-fails")
async def test_a_request_that_was_not_pushed_ends_at_an_error_page(client: ConformingClient) -> None:
    parameters, _ = client.parameters()
    url = f"{client.metadata['authorization_endpoint']}?{urlencode(parameters)}"
    error_page(await client.browser.open(url, stop_at=client.redirect_uri), "invalid_request")


@pytest.mark.expectation("ensure-response-type-code-idtoken-fails")
async def test_the_hybrid_flow_is_refused(client: ConformingClient) -> None:
    await refused_at_par(client, "unsupported_response_type", *AT_PAR, response_type="code id_token")


@pytest.mark.expectation("ensure-response-type-token-fails")
async def test_the_implicit_flow_is_refused(client: ConformingClient) -> None:
    await refused_at_par(client, "unsupported_response_type", *AT_PAR, response_type="token")


@pytest.mark.expectation("par-attempt-reuse-request_uri")
async def test_a_completed_request_uri_ends_at_an_error_page(suite: Certification, client: ConformingClient) -> None:
    pushed = await client.push()
    await client.authorize(pushed, person=suite.person)
    again = await client.browser.open(client.authorization_url(pushed), stop_at=pushed.redirect_uri)
    error_page(again, "invalid_request_uri", "invalid_request")


@pytest.mark.expectation("par-attempt-to-use-expired-request_uri")
async def test_an_expired_request_uri_ends_at_an_error_page(suite: Certification, client: ConformingClient) -> None:
    pushed = await client.push()
    suite.clock.advance(timedelta(seconds=pushed.expires_in + 1))
    late = await client.browser.open(client.authorization_url(pushed), stop_at=pushed.redirect_uri)
    error_page(late, "invalid_request_uri", "invalid_request")


@pytest.mark.expectation("par-attempt-to-use-request_uri-for-different-client")
async def test_the_request_uri_of_another_client_ends_at_an_error_page(
    suite: Certification, client: ConformingClient, second: ConformingClient
) -> None:
    pushed = await client.push()
    stolen = second.authorization_url(pushed)
    place = await second.browser.open(stolen, stop_at=pushed.redirect_uri)
    error_page(place, "invalid_request_uri", "invalid_request", "invalid_request_object")
    assert (await client.authorize(pushed, person=suite.person)).code  # its owner is not harmed


@pytest.mark.expectation("par-authorization-request-containing-request_uri-form-param")
async def test_a_pushed_request_uri_is_refused(client: ConformingClient) -> None:
    parameters, _ = client.parameters()
    form = {"request_uri": "urn:ietf:params:oauth:request_uri:" + "u" * 43}
    if client.variant.is_signed:
        form["request"] = client.request_object(parameters)
    else:
        form = parameters | form
    response = await client.post("pushed_authorization_request_endpoint", form)
    refused(response, "request_uri_not_supported", *AT_PAR)


@pytest.mark.expectation("par-attempt-invalid-http-method")
async def test_put_is_not_allowed_at_par(client: ConformingClient) -> None:
    parameters, _ = client.parameters()
    response = await client.push_parameters(parameters, method="PUT")
    assert response.status_code == 405


@pytest.mark.expectation("par-ensure-pkce-required")
async def test_a_request_without_pkce_is_refused(client: ConformingClient) -> None:
    await refused_at_par(client, "invalid_request", code_challenge=..., code_challenge_method=...)


@pytest.mark.expectation("par-plain-pkce-rejected")
async def test_plain_pkce_is_refused(client: ConformingClient) -> None:
    await refused_at_par(client, "invalid_request", code_challenge="v" * 43, code_challenge_method="plain")


async def _with_verifier(suite: Certification, client: ConformingClient, verifier: Any) -> None:
    pushed: Pushed = await client.push()
    authorized = await client.authorize(pushed, person=suite.person)
    refused(await client.redeem(authorized, pushed, form={"code_verifier": verifier}), "invalid_grant")


@pytest.mark.expectation("ensure-pkce-code-verifier-required")
async def test_a_code_without_its_verifier_is_refused(suite: Certification, client: ConformingClient) -> None:
    await _with_verifier(suite, client, ...)


@pytest.mark.expectation("incorrect-pkce-code-verifier-rejected")
async def test_a_code_with_another_verifier_is_refused(suite: Certification, client: ConformingClient) -> None:
    await _with_verifier(suite, client, "w" * 64)
