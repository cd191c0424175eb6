"""What FAPI 2.0, RFC 9068, RFC 9449, RFC 8414 and the attacker model ask of an OpenID provider, over the house."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest

from fapi_as.protocol.access_token import ACCESS_TOKEN_TYPE
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.profile import ACR_PASSWORD
from tests.support.fakes import ISSUER
from tests.support.fapi_client import FapiClient, Refused, error_of
from tests.support.house import PASSWORD, House
from tests.support.openid_scene import claims, id_token_of, known, obtained, refused, relying, told, userinfo
from tests.support.peer_keys import PeerKey
from tests.support.token_scene import claims_of, header_of

PROTOCOL = {
    "access_token",
    "token_type",
    "expires_in",
    "scope",
    "refresh_token",
    "id_token",
}  # RFC 6749 §5.1 and §3.1.3.3


@pytest.mark.requirement("DPOP-AS-16", proves="holds")
async def test_userinfo_is_told_to_whoever_holds_the_key(house: House) -> None:
    client = relying(house)
    assert (await userinfo(client, await obtained(client))).json()["sub"] == "sub-alice"


@pytest.mark.requirement("DPOP-AS-16", proves="refused")
@pytest.mark.parametrize("said", [{"proof": ...}, {"ath": "x" * 43}, {"htm": "DELETE"}], ids=str)
async def test_userinfo_is_told_to_nobody_without_the_proof_of_this_call(house: House, said: dict[str, Any]) -> None:
    client = relying(house)
    tokens = await obtained(client)
    await userinfo(client, tokens)
    with client.lying(**said):
        response = await userinfo(client, tokens)
    assert (response.status_code, error_of(response)) == (401, "invalid_dpop_proof")


@pytest.mark.requirement("FAPI2-AS-19", proves="holds")
async def test_who_the_person_is_stands_in_the_id_token(house: House) -> None:
    known(house)
    tokens = await obtained(relying(house), claims=claims(id_token={"name": None}))
    assert claims_of(id_token_of(tokens))["name"] == "Alice Liddell"


@pytest.mark.requirement("FAPI2-AS-19", proves="refused")
@pytest.mark.parametrize("scope", ["openid profile email", "accounts:read"])
async def test_no_member_of_a_token_response_is_about_the_person(house: House, scope: str) -> None:
    known(house)
    resource = {} if "openid" in scope else {"resource": house.agent.resource}
    answered = (await obtained(relying(house, scope=scope), **resource)).response
    assert set(answered.json()) <= PROTOCOL
    assert "Liddell" not in answered.text


@pytest.mark.requirement("FAPI2-AZ-28", proves="holds")
async def test_an_essential_acr_that_a_password_meets_is_met(house: House) -> None:
    asked = claims(id_token={"acr": {"essential": True, "value": ACR_PASSWORD}})
    assert claims_of(id_token_of(await obtained(relying(house), claims=asked)))["acr"] == ACR_PASSWORD


@pytest.mark.requirement("FAPI2-AZ-28", proves="refused")
async def test_an_essential_acr_that_a_password_does_not_meet_is_an_error_and_no_code(house: House) -> None:
    asked = claims(id_token={"acr": {"essential": True, "value": "phr"}})
    assert await told(house, relying(house), claims=asked) == "unmet_authentication_requirements"
    assert house.store.handles_of(HandleKind.CODE) == ()


async def _refreshed(house: House, client: FapiClient, **push: Any) -> tuple[dict[str, Any], dict[str, Any], Any, Any]:
    """The claims of the access token and the ID token of a code, and an hour later those of a refresh."""
    tokens = await obtained(client, prompt="consent", **push)
    house.clock.advance(timedelta(hours=1))
    fresh = await client.refresh(tokens.refresh_token or "")
    both = [(claims_of(found.access_token), claims_of(id_token_of(found))) for found in (tokens, fresh)]
    return both[0][0], both[1][0], both[0][1], both[1][1]


@pytest.mark.requirement("AT-3", proves="holds")
async def test_access_tokens_of_a_refresh_tell_of_the_sign_in_that_was(house: House) -> None:
    begun = house.clock.now()
    first, second, _, _ = await _refreshed(house, relying(house, scope="openid offline_access"))
    assert (first["auth_time"], first["acr"]) == (begun, ACR_PASSWORD)
    assert (second["auth_time"], second["acr"]) == (begun, ACR_PASSWORD)


@pytest.mark.requirement("AT-3", proves="refused")
async def test_no_access_token_without_a_person_tells_of_a_sign_in(house: House) -> None:
    found = claims_of((await house.agent.client_credentials()).access_token)
    assert not {"auth_time", "acr", "amr"} & set(found)


@pytest.mark.requirement("RT-5", proves="holds")
async def test_the_id_token_of_a_refresh_is_about_the_same_person_client_and_sign_in(house: House) -> None:
    _, _, first, second = await _refreshed(house, relying(house, scope="openid offline_access"))
    assert [second[name] for name in ("iss", "sub", "aud", "auth_time")] == [
        first[name] for name in ("iss", "sub", "aud", "auth_time")
    ]


@pytest.mark.requirement("RT-5", proves="refused")
async def test_no_refresh_brings_another_nonce(house: House) -> None:
    client = relying(house, scope="openid offline_access")
    tokens = await obtained(client, prompt="consent", nonce="first")
    fresh = await client.refresh(tokens.refresh_token or "", nonce="second")
    assert "nonce" not in claims_of(id_token_of(fresh))


@pytest.mark.requirement("AT-17", proves="holds")
async def test_access_tokens_and_id_tokens_are_told_apart_by_their_type(house: House) -> None:
    tokens = await obtained(relying(house))
    assert header_of(tokens.access_token)["typ"] == ACCESS_TOKEN_TYPE
    assert header_of(id_token_of(tokens))["typ"] == "JWT"


@pytest.mark.requirement("AT-17", proves="refused")
async def test_an_id_token_is_no_access_token(house: House) -> None:
    client = relying(house)
    tokens = await obtained(client)
    await userinfo(client, tokens)
    swapped = type(tokens)(**{**tokens.__dict__, "access_token": id_token_of(tokens)})
    response = await userinfo(client, swapped)
    assert (response.status_code, error_of(response)) == (401, "invalid_token")


@pytest.mark.requirement("LOG-10", proves="holds")
async def test_how_a_person_signed_in_is_told_in_registered_words(house: House) -> None:
    begun = house.clock.now()
    found = claims_of(id_token_of(await obtained(relying(house))))
    assert (found["acr"], found["amr"], found["auth_time"]) == (ACR_PASSWORD, ["pwd"], begun)


@pytest.mark.requirement("LOG-10", proves="refused")
async def test_no_wish_makes_a_sign_in_better_or_later_than_it_was(house: House) -> None:
    begun = house.clock.now()
    asked = claims(id_token={"acr": {"value": "phr"}, "auth_time": {"essential": True, "value": begun + 60}})
    found = claims_of(id_token_of(await obtained(relying(house), acr_values="phr", claims=asked)))
    assert (found["acr"], found["amr"], found["auth_time"]) == (ACR_PASSWORD, ["pwd"], begun)


@pytest.mark.requirement("ATT-G-2", proves="holds")
async def test_a_client_learns_who_signed_in_for_it(house: House) -> None:
    found = claims_of(id_token_of(await obtained(relying(house), nonce="mine")))
    assert (found["sub"], found["aud"], found["nonce"]) == ("sub-alice", "rp", "mine")


@pytest.mark.requirement("ATT-G-2", proves="refused")
@pytest.mark.parametrize("whose", ["another client", "another request"])
async def test_a_code_that_was_stolen_signs_nobody_in_elsewhere(house: House, whose: str) -> None:
    client, other = relying(house), relying(house, "other", keys=PeerKey.es256(seed=77))
    pushed = await client.push()
    callback = await client.authorize(pushed, username="alice", password=PASSWORD)
    thief, with_request = (other, pushed) if whose == "another client" else (client, await client.push())
    with pytest.raises(Refused) as raised:
        await thief.redeem(callback, with_request)
    assert (raised.value.status, raised.value.error) == (400, "invalid_grant")


@pytest.mark.requirement("MD-5", proves="holds")
async def test_what_the_metadata_says_plainly_is_all_that_it_says(house: House) -> None:
    document = (await house.http.get(f"{ISSUER}/.well-known/oauth-authorization-server")).json()
    assert (document["issuer"], document["jwks_uri"]) == (ISSUER, f"{ISSUER}/jwks")


@pytest.mark.requirement("MD-5", proves="refused")
@pytest.mark.parametrize("path", ["oauth-authorization-server", "openid-configuration"])
async def test_no_metadata_is_said_to_be_signed_that_is_not(house: House, path: str) -> None:
    document = (await house.http.get(f"{ISSUER}/.well-known/{path}")).json()
    assert "signed_metadata" not in document


@pytest.mark.requirement("BCP-7", proves="holds")
async def test_the_metadata_is_published_and_every_address_in_it_is_https(house: House) -> None:
    response = await house.http.get(f"{ISSUER}/.well-known/openid-configuration")
    addresses = [value for name, value in response.json().items() if name.endswith(("_endpoint", "_uri"))]
    assert response.status_code == 200
    assert addresses
    assert all(address.startswith("https://") for address in addresses)


@pytest.mark.requirement("BCP-7", proves="refused")
@pytest.mark.parametrize("name", ["client-cert", "x-forwarded-client-cert", "x-ssl-cert"])
async def test_a_certificate_that_a_client_writes_into_a_field_is_none(house: House, name: str) -> None:
    written = base64.b64encode(b"certificate").decode()
    response = await house.http.post(
        f"{ISSUER}/token",
        content=b"grant_type=client_credentials&client_id=agent",
        headers={"content-type": "application/x-www-form-urlencoded", name: f":{written}:"},
    )
    assert (response.status_code, error_of(response)) == (401, "invalid_client")
    assert house.last_detail == "no assertion and no certificate"


@pytest.mark.attack("PAR-26")
@pytest.mark.parametrize(
    "asked", ['"text"', "[1]", "17", "null", '{"id_token":"all"}', '{"id_token":' + "[" * 1_048_576]
)
async def test_claims_that_are_no_object_or_a_mebibyte_are_refused(house: House, asked: str) -> None:
    status, error = await refused(house, relying(house), claims=asked)
    assert (status, error) in {(400, "invalid_request"), (413, "invalid_request")}
