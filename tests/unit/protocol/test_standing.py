"""Whether a pushed request still stands, and to whom the answer may be told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fapi_as.protocol.authorization_request import ValidatedAuthorizationRequest
from fapi_as.protocol.authorization_response import AuthorizationFailed
from fapi_as.protocol.client import ClientLimits, RegisteredClient
from fapi_as.protocol.errors import InvalidRequest, ProtocolError, UnauthorizedClient
from fapi_as.protocol.resource import RegisteredResource
from fapi_as.protocol.standing import require_standing

BANK = RegisteredResource(resource="https://bank.example/mcp", version=1, resource_name="Bank", scopes={"a": "A"})
SHOP = RegisteredResource(
    resource="https://shop.example/mcp", version=1, resource_name="Shop", scopes={"b": "B", "a": "A"}
)
RESOURCES = {BANK.resource: BANK, SHOP.resource: SHOP}
CLIENT = RegisteredClient(
    client_id="agent",
    version=7,
    client_name="Agent",
    token_endpoint_auth_method="private_key_jwt",
    token_endpoint_auth_signing_alg=None,
    redirect_uris=("https://client.example/cb",),
    grant_types=frozenset({"authorization_code"}),
    scope=frozenset({"a", "b", "c"}),
    keys=(),
)
VALIDATED = ValidatedAuthorizationRequest(
    client_id="agent",
    client_version=1,
    redirect_uri="https://client.example/cb",
    scope=("b", "a"),
    resources=(SHOP.resource, BANK.resource),
    code_challenge="c" * 43,
    state=None,
    nonce=None,
    dpop_jkt=None,
)


def test_a_request_that_stands_has_its_client_and_its_resources_in_the_order_asked() -> None:
    standing = require_standing(VALIDATED, CLIENT, RESOURCES)
    assert (standing.validated, standing.client, standing.resources) == (VALIDATED, CLIENT, (SHOP, BANK))
    assert (standing.scopes_of(SHOP), standing.scopes_of(BANK)) == (("b", "a"), ("a",))
    covered = replace(CLIENT, limits=ClientLimits(resources=frozenset({SHOP.resource})))
    beside = {SHOP.resource: SHOP, BANK.resource: replace(BANK, built_in=True)}  # the issuer needs no approval
    assert require_standing(VALIDATED, covered, beside).client == covered


@pytest.mark.parametrize(
    ("client", "error"),
    [
        (None, UnauthorizedClient),
        (replace(CLIENT, redirect_uris=()), InvalidRequest),
        (replace(CLIENT, redirect_uris=("https://client.example/cb/",)), InvalidRequest),
        (replace(CLIENT, redirect_uris=(), grant_types=frozenset(), scope=frozenset()), InvalidRequest),
    ],
)
def test_nobody_is_redirected_to_who_is_not_registered(
    client: RegisteredClient | None, error: type[ProtocolError]
) -> None:
    with pytest.raises(error) as refused:
        require_standing(VALIDATED, client, RESOURCES)
    assert not isinstance(refused.value, AuthorizationFailed)


@pytest.mark.parametrize("redirect_uri", ["javascript:alert(1)", "http://client.example/cb", "data:,x"])
def test_a_planted_redirect_uri_is_refused_though_it_is_registered(redirect_uri: str) -> None:
    planted = replace(CLIENT, redirect_uris=(redirect_uri,))
    with pytest.raises(InvalidRequest):
        require_standing(replace(VALIDATED, redirect_uri=redirect_uri), planted, RESOURCES)


def test_a_native_client_keeps_the_port_it_asked_for() -> None:
    native = replace(CLIENT, redirect_uris=("http://127.0.0.1/cb",), application_type="native")
    asked = replace(VALIDATED, redirect_uri="http://127.0.0.1:50123/cb")
    assert require_standing(asked, native, RESOURCES).validated == asked


@pytest.mark.parametrize(
    ("client", "resources", "error"),
    [
        ({"grant_types": frozenset({"client_credentials"})}, RESOURCES, "unauthorized_client"),
        ({}, {SHOP.resource: SHOP}, "invalid_target"),
        ({}, {}, "invalid_target"),
        ({"limits": ClientLimits(resources=frozenset({SHOP.resource}))}, RESOURCES, "invalid_target"),
        ({"scope": frozenset({"a"})}, RESOURCES, "invalid_scope"),
        ({}, {**RESOURCES, SHOP.resource: replace(SHOP, scopes={"a": "A"})}, "invalid_scope"),
        ({}, {**RESOURCES, BANK.resource: replace(BANK, scopes={"other": "O"})}, "invalid_target"),
    ],
)
def test_a_client_that_is_still_trusted_hears_what_is_wrong(
    client: dict[str, Any], resources: dict[str, RegisteredResource], error: str
) -> None:
    with pytest.raises(AuthorizationFailed) as refused:
        require_standing(VALIDATED, replace(CLIENT, **client), resources)
    assert (refused.value.error, refused.value.validated) == (error, VALIDATED)
