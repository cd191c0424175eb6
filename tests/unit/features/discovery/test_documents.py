"""One metadata document at both addresses, derived from what is enabled; the keys; both for everybody."""

from __future__ import annotations

import pytest

from rs_kit.protocol.jwk import parse_set
from tests.support.fakes import ISSUER
from tests.support.house import RESOURCE, House

PATHS = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
ALGORITHMS = {"PS256", "ES256", "Ed25519", "EdDSA"}


@pytest.mark.requirement("FAPI2-AS-1", proves="holds")
async def test_both_addresses_give_one_document(house: House) -> None:
    one, two = [await house.http.get(ISSUER + path) for path in PATHS]
    assert one.status_code == two.status_code == 200
    assert one.content == two.content
    assert one.json()["issuer"] == ISSUER


async def test_every_member_is_what_is_enabled(house: House) -> None:
    document = (await house.http.get(ISSUER + PATHS[0])).json()
    assert document["authorization_endpoint"] == f"{ISSUER}/authorize"
    assert document["grant_types_supported"] == ["authorization_code", "client_credentials", "refresh_token"]
    identity = ["email", "offline_access", "openid", "profile"]
    assert document["scopes_supported"] == sorted(["accounts:read", "transfers:write", *identity])
    assert document["protected_resources"] == [RESOURCE]
    assert not [member for member, value in document.items() if value == []]
    for member, value in document.items():
        if member.endswith("_signing_alg_values_supported"):
            assert set(value) <= ALGORITHMS


@pytest.mark.requirement("FAPI2-DISC-7", proves="holds")
async def test_the_iss_parameter_is_announced(house: House) -> None:
    document = (await house.http.get(ISSUER + PATHS[0])).json()
    assert document["authorization_response_iss_parameter_supported"] is True


@pytest.mark.requirement("FAPI2-DISC-8", proves="holds")
async def test_pushing_is_announced_as_required(house: House) -> None:
    document = (await house.http.get(ISSUER + PATHS[0])).json()
    assert document["require_pushed_authorization_requests"] is True


@pytest.mark.requirement("FAPI2-DISC-4", proves="holds")
async def test_s256_is_the_only_challenge_method(house: House) -> None:
    document = (await house.http.get(ISSUER + PATHS[0])).json()
    assert document["code_challenge_methods_supported"] == ["S256"]


@pytest.mark.requirement("FAPI2-DISC-2", proves="holds")
async def test_the_push_endpoint_is_published(house: House) -> None:
    document = (await house.http.get(ISSUER + PATHS[0])).json()
    assert document["pushed_authorization_request_endpoint"] == f"{ISSUER}/par"


async def test_without_resources_there_are_the_scopes_of_the_identity_only(house: House) -> None:
    house.store.remove_resource(RESOURCE)
    document = (await house.http.get(ISSUER + PATHS[0])).json()
    assert document["scopes_supported"] == ["email", "offline_access", "openid", "profile"]
    assert "protected_resources" not in document


@pytest.mark.requirement("MD-7", proves="holds")
async def test_the_key_set_is_public_and_every_key_says_what_it_is(house: House) -> None:
    document = (await house.http.get(f"{ISSUER}/jwks")).json()
    key, *_ = parse_set(document)
    assert (key.kid, key.algorithm) == ("signer-1", "ES256")
    assert [set(entry) & {"d", "p", "q", "k"} for entry in document["keys"]] == [set()] * 3


@pytest.mark.requirement("MD-6", proves="holds")
@pytest.mark.parametrize("path", [*PATHS, "/jwks"])
async def test_public_documents_are_for_every_origin_and_may_be_cached_for_a_minute(house: House, path: str) -> None:
    response = await house.http.get(ISSUER + path, headers={"origin": "https://anywhere.example"})
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["cache-control"] == "public, max-age=60"
    assert (await house.http.head(ISSUER + path)).status_code == 200
    assert house.store.facts == ()


@pytest.mark.requirement("MD-6", proves="refused")
@pytest.mark.parametrize("path", ["/par", "/token"])
async def test_nothing_else_is_for_another_origin(house: House, path: str) -> None:
    response = await house.http.post(ISSUER + path, headers={"origin": "https://anywhere.example"})
    assert response.status_code == 400
    assert not [name for name in response.headers if name.startswith("access-control")]
