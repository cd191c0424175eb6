"""2.10: signed authorization responses."""

from __future__ import annotations

import pytest

from tests.expectations.certification import Certification
from tests.expectations.conforming_client import ConformingClient


@pytest.mark.expectation("jarm-response")
async def test_the_response_is_one_signed_parameter_in_the_query(
    suite: Certification, client: ConformingClient, second: ConformingClient
) -> None:
    for peer in (client, second):
        authorized = await peer.authorize(await peer.push(), person=suite.person)  # verifies and checks on its way
        assert {"iss", "aud", "exp", "code", "state"} <= authorized.parameters.keys()
        assert "error" not in authorized.parameters


@pytest.mark.expectation("jarm-error-response")
async def test_an_error_is_signed_as_well(suite: Certification, client: ConformingClient) -> None:
    pushed = await client.push()
    denied = client.came_back(await client.visit(pushed, person=suite.person, approve=False), pushed)
    assert denied.parameters["error"] == "access_denied"
    assert "code" not in denied.parameters
