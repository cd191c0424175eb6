"""ID tokens: what they say, how they are signed, and that they come by the back channel only."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest

from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.id_token import at_hash
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from fapi_as.protocol.profile import ACR_PASSWORD
from tests.support.fakes import ISSUER
from tests.support.fapi_client import Refused
from tests.support.house import PASSWORD, House
from tests.support.openid_scene import (
    claims,
    id_token,
    id_token_of,
    obtained,
    refused,
    relying,
    signed_in,
    userinfo,
)
from tests.support.peer_keys import b64
from tests.support.token_scene import claims_of, header_of

HASHES = {"ES256": hashlib.sha256, "PS256": hashlib.sha256, "Ed25519": hashlib.sha512, "EdDSA": hashlib.sha512}


def registered(house: House, **members: Any) -> None:
    """Register what a client would have to say.

    Raises:
        InvalidClientMetadata: it may not.
    """
    parse_client(house.agent.registration(**members), client_id="agent", version=1)


@pytest.mark.requirement("OIDC-30", proves="holds")
async def test_an_id_token_says_who_signed_in_when_how_and_for_whom(house: House) -> None:
    now = house.clock.now()
    found = await id_token(relying(house), nonce="n-0S6_WzA2Mj")
    del found["at_hash"]
    assert found == {
        "iss": ISSUER,
        "sub": "sub-alice",
        "aud": "rp",
        "iat": now,
        "exp": now + 300,
        "auth_time": now,
        "acr": ACR_PASSWORD,
        "amr": ["pwd"],
        "nonce": "n-0S6_WzA2Mj",
    }


@pytest.mark.requirement("OIDC-30", proves="refused")
async def test_nothing_that_a_client_asks_changes_what_an_id_token_says(house: House) -> None:
    lies = {"iss": "https://evil.example", "aud": "other", "exp": "9", "auth_time": "1", "nonce": "x", "azp": "other"}
    asked = claims(id_token={name: {"essential": True, "value": value} for name, value in lies.items()})
    found = await id_token(relying(house), claims=asked)
    assert (found["iss"], found["aud"], found["auth_time"]) == (ISSUER, "rp", house.clock.now())
    assert not {"nonce", "azp"} & set(found)
    longest = claims(id_token={"sub": {"value": "s" * 256}})
    assert await refused(house, relying(house), claims=longest) == (400, "invalid_request")


@pytest.mark.requirement("OIDC-31", proves="holds")
async def test_an_id_token_is_a_jwt_whose_key_is_published(house: House) -> None:
    header = header_of(id_token_of(await obtained(relying(house))))
    keys = {key["kid"]: key for key in (await house.http.get(f"{ISSUER}/jwks")).json()["keys"]}
    assert (header["alg"], header["typ"], keys[header["kid"]]["alg"]) == ("ES256", "JWT", "ES256")


@pytest.mark.requirement("OIDC-31", proves="refused")
@pytest.mark.parametrize("alg", ["none", "HS256", "ES384", ""])
async def test_nobody_registers_an_id_token_without_a_signature_that_counts(house: House, alg: str) -> None:
    with pytest.raises(InvalidClientMetadata):
        registered(house, id_token_signed_response_alg=alg)


@pytest.mark.requirement("MSG-IDT-1", proves="holds")
@pytest.mark.parametrize("alg", ["PS256", "ES256", "Ed25519"])
async def test_an_id_token_is_signed_with_the_algorithm_of_its_client(house: House, alg: str) -> None:
    tokens = await obtained(relying(house, id_token_signed_response_alg=alg))
    assert header_of(id_token_of(tokens))["alg"] == alg
    assert header_of(tokens.access_token)["alg"] == "ES256"


@pytest.mark.requirement("MSG-IDT-1", proves="refused")
async def test_rs256_is_no_default_and_nobody_may_have_it(house: House) -> None:
    with pytest.raises(InvalidClientMetadata):
        registered(house, id_token_signed_response_alg="RS256")
    document = (await house.http.get(f"{ISSUER}/.well-known/openid-configuration")).json()
    assert "RS256" not in document["id_token_signing_alg_values_supported"]


@pytest.mark.requirement("OIDC-32", proves="holds")
@pytest.mark.parametrize("alg", ["PS256", "ES256", "Ed25519", "EdDSA"])
async def test_an_id_token_names_the_access_token_beside_it(house: House, alg: str) -> None:
    tokens = await obtained(relying(house, id_token_signed_response_alg=alg))
    digest = HASHES[alg](tokens.access_token.encode()).digest()
    assert claims_of(id_token_of(tokens))["at_hash"] == b64(digest[: len(digest) // 2])


@pytest.mark.requirement("OIDC-32", proves="refused")
async def test_an_id_token_names_no_other_access_token(house: House) -> None:
    # the example of OpenID Connect Core, appendix A.3
    example = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
    assert at_hash(example, "ES256") == "77QmUPtjPfzWtF2AnpK9RQ"
    client = relying(house)
    one, two = await obtained(client), await obtained(client)
    assert claims_of(id_token_of(one))["at_hash"] != at_hash(two.access_token, "ES256")


@pytest.mark.requirement("OIDC-33", proves="holds")
async def test_the_audience_is_the_client_as_a_string(house: House) -> None:
    assert (await id_token(relying(house)))["aud"] == "rp"


@pytest.mark.requirement("OIDC-33", proves="refused")
async def test_no_resource_becomes_an_audience_of_an_id_token(house: House) -> None:
    client = relying(house, scope="openid accounts:read transfers:write")
    found = await id_token(client, resource=house.agent.resource)
    assert (found["aud"], "azp" in found) == ("rp", False)


@pytest.mark.requirement("OIDC-34", proves="holds")
async def test_an_id_token_lives_for_ten_minutes_at_most(house: House) -> None:
    found = await id_token(relying(house))
    assert 0 < found["exp"] - found["iat"] <= 600


@pytest.mark.requirement("OIDC-34", proves="refused")
async def test_no_resource_and_no_refresh_token_makes_an_id_token_live_longer(house: House) -> None:
    house.resource(version=2, access_token_lifetime=600)
    client = relying(house, scope="openid accounts:read")
    tokens = await obtained(client, resource=house.agent.resource)
    house.clock.advance(timedelta(days=1))
    fresh = await client.refresh(tokens.refresh_token or "")
    for answer in (tokens, fresh):
        found = claims_of(id_token_of(answer))
        assert (answer.expires_in, found["exp"] - found["iat"]) == (600, 300)


@pytest.mark.requirement("OIDC-35", proves="holds")
async def test_the_answer_is_bound_and_kept_by_no_cache(house: House) -> None:
    tokens = await obtained(relying(house))
    assert (tokens.token_type, "id_token" in tokens.response.json()) == ("DPoP", True)
    assert "no-store" in tokens.response.headers["cache-control"]


@pytest.mark.requirement("OIDC-35", proves="refused")
async def test_without_a_proof_there_is_no_id_token(house: House) -> None:
    client = relying(house)
    pushed = await client.push()
    done = await client.authorize(pushed, username="alice", password=PASSWORD)
    with client.lying(proof=...), pytest.raises(Refused) as raised:
        await client.redeem(done, pushed)
    assert (raised.value.status, raised.value.error) == (400, "invalid_dpop_proof")
    assert "id_token" not in raised.value.response.text
    assert "no-store" in raised.value.response.headers["cache-control"]


@pytest.mark.requirement("OIDC-36", proves="holds")
async def test_a_code_of_an_openid_request_is_redeemed_by_its_client(house: House) -> None:
    client = relying(house)
    pushed = await client.push()
    done = await client.authorize(pushed, username="alice", password=PASSWORD)
    assert id_token_of(await client.redeem(done, pushed, redirect_uri=pushed.redirect_uri))


@pytest.mark.requirement("OIDC-36", proves="refused")
@pytest.mark.parametrize("by", ["another client", "twice", "another redirect_uri"])
async def test_a_code_gives_one_id_token_to_one_client(house: House, by: str) -> None:
    client = relying(house)
    pushed = await client.push()
    done = await client.authorize(pushed, username="alice", password=PASSWORD)
    redeemer, form = client, {}
    if by == "another client":
        redeemer = relying(house, "other")
        redeemer.dpop_key = client.dpop_key
    elif by == "twice":
        await client.redeem(done, pushed)
    else:
        form = {"redirect_uri": "https://rp.example/other"}
    signed = len(house.signer.signed)
    with pytest.raises(Refused) as raised:
        await redeemer.redeem(done, pushed, **form)
    assert (raised.value.status, raised.value.error) == (400, "invalid_grant")
    assert len(house.signer.signed) == signed


@pytest.mark.requirement("OIDC-38", proves="holds")
async def test_a_refresh_brings_an_id_token_about_the_same_sign_in(house: House) -> None:
    client = relying(house, scope="openid offline_access")
    tokens = await obtained(client, prompt="consent", nonce="once")
    house.clock.advance(timedelta(hours=1))
    first = claims_of(id_token_of(tokens))
    second = claims_of(id_token_of(await client.refresh(tokens.refresh_token or "")))
    for name in ("iss", "sub", "aud", "auth_time", "acr", "amr"):
        assert second[name] == first[name]
    assert (second["iat"] - first["iat"], "nonce" in second) == (3600, False)


@pytest.mark.requirement("OIDC-38", proves="refused")
@pytest.mark.parametrize("lost", ["asked for less", "registered for less"])
async def test_a_refresh_without_openid_brings_none(house: House, lost: str) -> None:
    client = relying(house, scope="openid accounts:read")
    tokens = await obtained(client, resource=house.agent.resource)
    form = {"scope": "accounts:read"} if lost == "asked for less" else {}
    if lost == "registered for less":
        house.change_client("rp", scope=frozenset({"accounts:read"}))
    fresh = await client.refresh(tokens.refresh_token or "", **form)
    assert "id_token" not in fresh.response.json()


async def test_who_was_signed_in_is_told_the_auth_time_of_that_sign_in(house: House) -> None:
    client = relying(house)
    await signed_in(client)
    house.clock.advance(timedelta(minutes=5))
    found = await id_token(client)
    assert found["iat"] - found["auth_time"] == 300


@pytest.mark.requirement("OIDC-39", proves="holds")
async def test_a_password_is_what_acr_and_amr_say(house: House) -> None:
    document = (await house.http.get(f"{ISSUER}/.well-known/openid-configuration")).json()
    found = await id_token(relying(house))
    assert (document["acr_values_supported"], found["acr"], found["amr"]) == ([ACR_PASSWORD], ACR_PASSWORD, ["pwd"])


@pytest.mark.requirement("OIDC-39", proves="refused")
@pytest.mark.parametrize("wish", ["urn:fapi-as:acr:mfa", "phr"])
async def test_a_password_never_says_more_than_it_is(house: House, wish: str) -> None:
    asked = claims(id_token={"acr": {"value": wish}, "amr": {"value": "mfa"}})
    found = await id_token(relying(house), acr_values=wish, claims=asked)
    assert (found["acr"], found["amr"]) == (ACR_PASSWORD, ["pwd"])


@pytest.mark.requirement("OIDC-40", proves="holds")
async def test_the_front_channel_brings_a_code_and_the_back_channel_the_id_token(house: House) -> None:
    client = relying(house)
    pushed = await client.push()
    done = await client.authorize(pushed, username="alice", password=PASSWORD)
    assert set(done.parameters) == {"code", "state", "iss"}
    assert id_token_of(await client.redeem(done, pushed))


@pytest.mark.requirement("OIDC-40", proves="refused")
@pytest.mark.parametrize("response_type", ["code id_token", "id_token", "id_token token"])
async def test_no_id_token_goes_through_the_browser_and_no_hint_into_a_log(
    house: House, response_type: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = relying(house)
    assert await refused(house, client, response_type=response_type) == (400, "unsupported_response_type")
    hint = id_token_of(await obtained(client))
    await obtained(client, id_token_hint=hint, prompt="login")
    assert await refused(house, client, id_token_hint=hint[:-4]) == (400, "invalid_request")
    signature = hint.rpartition(".")[2][:20]
    assert not [written for written in house.store.written if signature in f"{written}"]
    assert signature not in caplog.text


@pytest.mark.attack("XPA-16")
async def test_an_id_token_is_bound_to_its_request_and_is_good_for_nothing_else(house: House) -> None:
    client = relying(house)
    one, two = await obtained(client, nonce="one"), await obtained(client, nonce="two")
    first, second = claims_of(id_token_of(one)), claims_of(id_token_of(two))
    assert (first["nonce"], second["nonce"]) == ("one", "two")
    assert first["at_hash"] != second["at_hash"]
    presented = {
        "a code": lambda: client.token_request("authorization_code", code=id_token_of(one), code_verifier="x" * 43),
        "a refresh token": lambda: client.refresh_request(id_token_of(one)),
    }
    for build in presented.values():
        answer = await client.attempt(build)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    with client.lying(authorization=f"DPoP {id_token_of(one)}"):
        assert (await userinfo(client, one)).status_code == 401
