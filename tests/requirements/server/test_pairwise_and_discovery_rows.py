"""Pairwise subjects, and what discovery says about OpenID Connect."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fapi_as.kernel import capabilities
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from fapi_as.protocol.pairwise import subject_for
from tests.support.fakes import ISSUER, PAIRWISE_KEY
from tests.support.fapi_client import FapiClient
from tests.support.house import House
from tests.support.openid_scene import id_token, id_token_of, obtained, relying, told, userinfo
from tests.support.token_scene import claims_of

DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"


def pairwise(house: House, client_id: str, host: str) -> FapiClient:
    """A client of one sector."""
    return relying(house, client_id, subject_type="pairwise", redirect_uris=[f"https://{host}/callback"])


@pytest.mark.requirement("OIDC-60", proves="holds")
async def test_two_clients_of_one_sector_know_a_person_under_one_name_that_stays(house: House) -> None:
    one, two = pairwise(house, "one", "rp.example"), pairwise(house, "two", "rp.example")
    first, second = (await id_token(one))["sub"], (await id_token(two))["sub"]
    assert (first == second, first != "sub-alice", len(first)) == (True, True, 43)
    house.change_user("alice")
    assert (await id_token(one))["sub"] == first


@pytest.mark.requirement("OIDC-60", proves="refused")
async def test_two_sectors_cannot_tell_that_it_is_the_same_person(house: House) -> None:
    house.user("bob")
    clients = [pairwise(house, f"rp-{number}", f"rp-{number}.example") for number in range(3)]
    subjects = {(await id_token(client))["sub"] for client in clients}
    assert len(subjects) == 3
    registered = house.store.clients["rp-0"]
    assert subject_for(registered, "sub-alice", PAIRWISE_KEY) in subjects
    assert subject_for(registered, "sub-bob", PAIRWISE_KEY) not in subjects
    assert subject_for(registered, "sub-alice", b"another key of the same length..") not in subjects
    # no two pairs of a sector and a person run together
    moved = replace(registered, redirect_uris=("https://rp-0.examples/",))
    assert subject_for(moved, "ub-alice", PAIRWISE_KEY) not in subjects


@pytest.mark.parametrize("hosts", [["one.example", "two.example"], ["one.example", "one.example.evil.example"]])
async def test_a_sector_that_nobody_can_tell_is_not_registered(house: House, hosts: list[str]) -> None:
    uris = [f"https://{host}/callback" for host in hosts]
    registration = house.agent.registration(redirect_uris=uris, subject_type="pairwise")
    with pytest.raises(InvalidClientMetadata):
        parse_client(registration, client_id="agent", version=1)


@pytest.mark.requirement("OIDC-61", proves="holds")
async def test_the_same_name_stands_in_everything_that_the_client_gets(house: House) -> None:
    client = pairwise(house, "rp", "rp.example")
    tokens = await obtained(client, scope="openid offline_access", prompt="consent")
    fresh = await client.refresh(tokens.refresh_token or "")
    found = {
        claims_of(tokens.access_token)["sub"],
        claims_of(id_token_of(tokens))["sub"],
        claims_of(fresh.access_token)["sub"],
        claims_of(id_token_of(fresh))["sub"],
        (await userinfo(client, fresh)).json()["sub"],
    }
    assert len(found) == 1


@pytest.mark.requirement("OIDC-61", proves="refused")
async def test_the_name_that_we_know_a_person_by_leaves_in_nothing(house: House) -> None:
    client = pairwise(house, "rp", "rp.example")
    client.scope = "openid accounts:read"
    tokens = await obtained(client, resource=house.agent.resource)
    for token in (tokens.access_token, id_token_of(tokens)):
        assert "sub-alice" not in f"{claims_of(token)}"
    plain = await obtained(client, scope="accounts:read", resource=house.agent.resource)
    assert "sub-alice" not in f"{claims_of(plain.access_token)}"
    own = await client.client_credentials(scope="accounts:read", resource=house.agent.resource)
    assert claims_of(own.access_token)["sub"] == "rp"
    assert {fact.subject for fact in house.store.facts if fact.subject} == {"sub-alice", "rp"}


async def test_a_hint_of_a_pairwise_client_is_understood_and_of_nobody_else(house: House) -> None:
    client = pairwise(house, "rp", "rp.example")
    hint = id_token_of(await obtained(client))
    assert claims_of(id_token_of(await obtained(client, id_token_hint=hint)))["sub"] == claims_of(hint)["sub"]
    house.change_client("rp", redirect_uris=(*house.store.clients["rp"].redirect_uris,), subject_type="public")
    assert await told(house, client, id_token_hint=hint) == "login_required"


@pytest.mark.requirement("OIDC-62", proves="holds")
async def test_discovery_has_what_openid_wants(house: House) -> None:
    document = (await house.http.get(DISCOVERY)).json()
    assert document["issuer"] == ISSUER
    for member, path in (
        ("authorization_endpoint", "/authorize"),
        ("token_endpoint", "/token"),
        ("userinfo_endpoint", "/userinfo"),
        ("end_session_endpoint", "/logout"),
        ("jwks_uri", "/jwks"),
    ):
        assert document[member] == ISSUER + path
    assert document["response_types_supported"] == ["code"]
    assert document["subject_types_supported"] == ["public", "pairwise"]
    assert {"openid", "profile", "email", "offline_access"} <= set(document["scopes_supported"])
    assert document["claims_parameter_supported"] is True
    assert {"sub", "auth_time", "acr", "name", "email"} <= set(document["claims_supported"])
    assert set(document["id_token_signing_alg_values_supported"]) >= {"ES256", "PS256", "Ed25519"}


@pytest.mark.requirement("OIDC-62", proves="refused")
async def test_discovery_lists_nothing_that_is_off(house: House) -> None:
    document = (await house.http.get(DISCOVERY)).json()
    assert not {"RS256", "none"} & set(document["id_token_signing_alg_values_supported"])
    off = {"check_session_iframe", "frontchannel_logout_supported", "backchannel_logout_supported"}
    encrypted = {name for name in document if "_encryption_" in name}
    assert not (off | {"introspection_endpoint"}) & set(document) | encrypted
    published = {key["alg"] for key in (await house.http.get(document["jwks_uri"])).json()["keys"]}
    assert {"EdDSA", *published} >= set(document["id_token_signing_alg_values_supported"])
    without = tuple(feature for feature in house.context.features if feature.name != "openid")
    assert not {
        "userinfo_endpoint",
        "claims_supported",
        "subject_types_supported",
        "id_token_signing_alg_values_supported",
    } & set(capabilities.metadata(without, house.context.policy))
