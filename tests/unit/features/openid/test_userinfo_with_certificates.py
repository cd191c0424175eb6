"""Userinfo for tokens that are bound to a certificate, at the address where certificates are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.certified_client import MUTUAL_TLS_URL, CertifiedClient, CertifiedHouse
from tests.support.fapi_client import Tokens, error_of
from tests.support.house import PASSWORD

USERINFO = f"{MUTUAL_TLS_URL}/userinfo"


@pytest.fixture
def house(tmp_path: Path) -> CertifiedHouse:
    return CertifiedHouse(tmp_path)


async def bound(house: CertifiedHouse, *, proves: bool) -> tuple[CertifiedClient, Tokens]:
    client = house.certified("bank", house.authority.issue("CN=bank,O=Bank,C=GB"), proves=proves, scope="openid")
    client.scope, client.resource = "openid", None
    return client, await client.obtain(username="alice", password=PASSWORD)


async def call(client: CertifiedClient, tokens: Tokens) -> tuple[int, str | None]:
    scheme = "DPoP" if client.proves else "Bearer"
    with client.lying(authorization=f"{scheme} {tokens.access_token}"):
        response = await client.attempt(
            lambda: client.resource_request(tokens, USERINFO, method="GET"), method="GET", key=tokens.key
        )
    return response.status_code, error_of(response) or response.json()["sub"]


@pytest.mark.parametrize("proves", [False, True])
async def test_the_certificate_of_the_token_is_needed(house: CertifiedHouse, proves: bool) -> None:
    client, tokens = await bound(house, proves=proves)
    assert await call(client, tokens) == (200, "sub-alice")
    for other in (None, house.authority.issue("CN=bank,O=Bank,C=GB")):
        with client.showing(other):
            assert await call(client, tokens) == (401, "invalid_token")
    assert house.last_detail == "cnf.x5t#S256: another certificate"


async def test_a_token_that_is_bound_to_both_needs_both(house: CertifiedHouse) -> None:
    client, tokens = await bound(house, proves=True)
    with client.lying(proof=...):
        assert await call(client, tokens) == (401, "invalid_dpop_proof")
    client.proves = False
    assert await call(client, tokens) == (401, "invalid_token")  # a bearer it is not


async def test_a_proof_names_the_address_that_was_called(house: CertifiedHouse) -> None:
    client, tokens = await bound(house, proves=True)
    with client.lying(htu=f"{client.issuer}/userinfo"):
        assert await call(client, tokens) == (401, "invalid_dpop_proof")


async def test_discovery_has_the_alias_and_a_challenge_names_both_schemes(house: CertifiedHouse) -> None:
    document = (await house.http.get(f"{house.context.policy.issuer}/.well-known/openid-configuration")).json()
    assert document["mtls_endpoint_aliases"]["userinfo_endpoint"] == USERINFO
    response = await house.http.get(USERINFO)
    schemes = [value.partition(" ")[0] for value in response.headers.get_list("www-authenticate")]
    assert (response.status_code, schemes) == (401, ["DPoP", "Bearer"])
