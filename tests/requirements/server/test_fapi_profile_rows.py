"""The server's part of the FAPI 2.0 Security Profile, row by row: what may be switched, who may call, how long."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from fapi_as.protocol import profile
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from fapi_as.settings import ConfigurationError, Settings, load
from tests.support.fakes import ISSUER
from tests.support.fapi_client import Refused
from tests.support.house import PASSWORD, RESOURCE, House, callback
from tests.support.peer_keys import PeerKey, compact
from tests.support.requirement_rows import FOLDER
from tests.support.standing_still import (
    a_code,
    query_for,
    ready,
    refused_page,
    refused_push,
    refused_redemption,
    refused_tokens,
    visited,
)

NOBODY = (401, "invalid_client")


@pytest.fixture
async def house() -> House:
    return await ready(House())


def configured(tmp_path: Path, text: str = "") -> Settings:
    path = tmp_path / "fapi-as.toml"
    path.write_text(f'[server]\nissuer = "{ISSUER}"\n{text}', encoding="utf-8")
    return load(path, {})


# --- what a configuration may do


@pytest.mark.requirement("FAPI2-GEN-1", proves="holds")
def test_a_deployment_may_be_stricter_than_the_profile(tmp_path: Path) -> None:
    text = "[lifetimes]\nauthorization_code = 30\nrequest_uri = 30\naccess_token = 60\n[dpop]\nproof_age = 30\n"
    policy = configured(tmp_path, text).policy()
    assert policy.authorization_code_lifetime < profile.AUTHORIZATION_CODE_CEILING
    assert policy.request_uri_lifetime < profile.REQUEST_URI_CEILING


@pytest.mark.requirement("FAPI2-GEN-1", proves="refused")
@pytest.mark.parametrize(
    "text",
    [
        "[lifetimes]\nauthorization_code = 61\n",
        "[lifetimes]\nrequest_uri = 600\n",
        "[lifetimes]\naccess_token = 3600\n",
        "[dpop]\nproof_age = 301\n",
        "[dpop]\nrequired = false\n",
        "require_pushed_authorization_requests = false\n",
        "pkce = false\n",
        "[tls]\nrequired = false\n",
    ],
)
def test_no_switch_turns_a_mandatory_control_off(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError):
        configured(tmp_path, text)


@pytest.mark.requirement("FAPI2-AS-11", proves="holds")
async def test_a_refresh_token_goes_on_working_however_often_it_is_used(house: House) -> None:
    refresh_token = (await house.agent.obtain(username="alice", password=PASSWORD)).refresh_token or ""
    for _ in range(3):
        assert (await house.agent.refresh(refresh_token)).refresh_token in (None, refresh_token)


@pytest.mark.requirement("FAPI2-AS-11", proves="refused")
@pytest.mark.parametrize("key", ["rotate_refresh_tokens", "refresh_token_rotation", "refresh_token_reuse"])
def test_no_configuration_begins_to_rotate_refresh_tokens(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigurationError, match=f"lifetimes.{key} is not a setting"):
        configured(tmp_path, f"[lifetimes]\n{key} = true\n")


@pytest.mark.requirement("FAPI2-AZ-15", proves="holds")
@pytest.mark.parametrize("lifetime", [5, 90, 599])
def test_a_request_uri_may_live_for_less_than_600_seconds(tmp_path: Path, lifetime: int) -> None:
    policy = configured(tmp_path, f"[lifetimes]\nrequest_uri = {lifetime}\n").policy()
    assert policy.request_uri_lifetime.total_seconds() == lifetime < 600


@pytest.mark.requirement("FAPI2-NET-13", proves="holds")
def test_the_edition_of_bcp_195_that_we_follow_is_pinned_with_its_date() -> None:
    pinned = tomllib.loads((FOLDER / "SPECS.toml").read_text(encoding="utf-8"))["BCP 195"]
    assert pinned["title"]
    assert "2026" in pinned["status"]
    assert "review" in pinned["status"]


# --- who may call


@pytest.mark.requirement("FAPI2-GEN-2", proves="holds")
async def test_a_confidential_client_is_registered_and_served(house: House) -> None:
    other = house.client("other", token_endpoint_auth_method="private_key_jwt")
    assert (await other.client_credentials()).scope == "accounts:read"


@pytest.mark.requirement("FAPI2-GEN-2", proves="refused")
@pytest.mark.parametrize("endpoint", ["par", "token"])
async def test_a_client_id_alone_is_nobody(house: House, endpoint: str) -> None:
    public = {"client_assertion": ..., "client_assertion_type": ...}
    if endpoint == "par":
        assert await refused_push(house, form=public) == NOBODY
    else:
        with house.agent.lying(form=public):
            assert await refused_tokens(house, house.agent.credentials_request) == NOBODY


@pytest.mark.requirement("FAPI2-GEN-2", proves="refused")
@pytest.mark.parametrize("method", ["none", "client_secret_basic", "client_secret_post", "client_secret_jwt"])
def test_a_public_client_is_not_registered(method: str) -> None:
    members = House().agent.registration(token_endpoint_auth_method=method)
    with pytest.raises(InvalidClientMetadata):
        parse_client(members, client_id="public", version=1)


@pytest.mark.requirement("FAPI2-AS-21", proves="refused")
@pytest.mark.parametrize("lie", [{"exp": -11}, {"form": {"client_assertion": ...}}], ids=["expired", "missing"])
@pytest.mark.parametrize("endpoint", ["par", "code", "refresh_token", "client_credentials"])
async def test_no_endpoint_does_without_a_live_assertion(house: House, endpoint: str, lie: dict[str, Any]) -> None:
    done, pushed = await a_code(house)
    refresh_token = (await house.agent.obtain(username="alice", password=PASSWORD)).refresh_token or ""
    said = {"exp": house.clock.now() + lie["exp"]} if "exp" in lie else lie
    with house.agent.lying(**said):
        if endpoint == "par":
            reason = await refused_push(house, **said)
        elif endpoint == "code":
            reason = await refused_tokens(house, lambda: house.agent.code_request(done.code or "", pushed))
        elif endpoint == "refresh_token":
            reason = await refused_tokens(house, lambda: house.agent.refresh_request(refresh_token))
        else:
            reason = await refused_tokens(house, house.agent.credentials_request)
    assert reason == NOBODY


# --- what a token is bound to


@pytest.mark.requirement("FAPI2-AS-5", proves="holds")
async def test_a_proof_of_possession_binds_the_token(house: House) -> None:
    assert (await house.agent.client_credentials()).token_type == "DPoP"
    assert house.signer.signed[-1][1]["cnf"] == {"jkt": house.agent.dpop_key.thumbprint}


@pytest.mark.requirement("FAPI2-AS-5", proves="refused")
@pytest.mark.parametrize(
    "header",
    [
        ("client-cert", ":MIIB:"),
        ("x-ssl-client-cert", "MIIB"),
        ("token-binding", "x"),
        ("x-forwarded-client-cert", "x"),
    ],
)
async def test_nothing_else_binds_it(house: House, header: tuple[str, str]) -> None:
    with house.agent.lying(proof=..., headers=[header]):
        assert await refused_tokens(house, house.agent.credentials_request) == (400, "invalid_dpop_proof")


@pytest.mark.requirement("FAPI2-AS-15", proves="refused")
@pytest.mark.parametrize("what", ["assertion iat", "assertion nbf", "proof iat"])
async def test_10_seconds_ahead_are_accepted_and_31_are_not(house: House, what: str) -> None:
    def ahead(seconds: int) -> dict[str, Any]:
        at = house.clock.now() + seconds
        return {
            "assertion iat": {"assertion_iat": at, "exp": at + 60},
            "assertion nbf": {"assertion_claims": {"nbf": at}, "exp": at + 60},
            "proof iat": {"iat": at},
        }[what]

    with house.agent.lying(**ahead(10)):
        assert (await house.agent.push()).expires_in == 90
    expected = (400, "invalid_dpop_proof") if what == "proof iat" else NOBODY
    assert await refused_push(house, **ahead(31)) == expected


@pytest.mark.requirement("FAPI2-AS-12", proves="refused")
async def test_whoever_has_no_nonce_is_given_one(house: House) -> None:
    fresh = PeerKey.es256(seed=99)
    with house.agent.lying(nonce=...), pytest.raises(Refused) as raised:
        await house.agent.client_credentials(key=fresh)
    assert (raised.value.status, raised.value.error) == (400, "use_dpop_nonce")
    assert raised.value.response.headers["dpop-nonce"]


# --- JWTs


@pytest.mark.requirement("FAPI2-CR-1", proves="holds")
async def test_a_token_says_what_it_is_who_made_it_and_for_whom(house: House) -> None:
    await house.agent.client_credentials()
    typ, claims = house.signer.signed[-1]
    assert (typ, claims["iss"], claims["aud"]) == ("at+jwt", ISSUER, RESOURCE)


@pytest.mark.requirement("FAPI2-CR-1", proves="refused")
async def test_a_jwt_of_one_kind_is_none_of_another(house: House) -> None:
    token = (await house.agent.client_credentials()).access_token
    proof = house.agent.proof("POST", f"{ISSUER}/par")
    assertion = house.agent.assertion()
    assert await refused_push(house, assertion=token) == NOBODY
    assert await refused_push(house, assertion=proof) == NOBODY
    assert await refused_push(house, proof=assertion) == (400, "invalid_dpop_proof")
    assert await refused_push(house, proof=token) == (400, "invalid_dpop_proof")


@pytest.mark.requirement("FAPI2-CR-2", proves="holds")
@pytest.mark.parametrize("alg", ["PS256", "ES256", "Ed25519"])
async def test_the_three_algorithms_sign_assertions_and_proofs(house: House, alg: str) -> None:
    house.agent.client_key = house.agent.dpop_key = PeerKey.of(alg)
    house.client("agent", jwks=house.agent.jwks())
    assert (await house.agent.client_credentials()).token_type == "DPoP"


@pytest.mark.requirement("FAPI2-CR-2", proves="refused")
@pytest.mark.parametrize("alg", ["RS256", "RS512", "PS512", "ES512", "ES256K", "HS256", "Ed448", "es256"])
async def test_no_other_algorithm_does(house: House, alg: str) -> None:
    assert await refused_push(house, assertion_header={"alg": alg}) == NOBODY
    assert await refused_push(house, proof_header={"alg": alg}) == (400, "invalid_dpop_proof")


@pytest.mark.requirement("FAPI2-CR-3", proves="refused")
@pytest.mark.parametrize("none", ["none", "None", "NONE", "nOnE", ""])
async def test_none_is_no_algorithm_in_any_spelling(house: House, none: str) -> None:
    now = house.clock.now()
    claims = {"iss": "agent", "sub": "agent", "aud": ISSUER, "iat": now, "exp": now + 60, "jti": "j"}
    unsigned = compact({"alg": none, "typ": "client-authentication+jwt", "kid": "client-key"}, claims, b"")
    assert await refused_push(house, assertion=unsigned) == NOBODY
    header = {"alg": none, "typ": "dpop+jwt", "jwk": house.agent.dpop_key.jwk()}
    proof = compact(header, {"jti": "j", "htm": "POST", "htu": f"{ISSUER}/par", "iat": now}, b"")
    assert await refused_push(house, proof=proof) == (400, "invalid_dpop_proof")


@pytest.mark.requirement("FAPI2-JWKS-2", proves="refused")
@pytest.mark.parametrize("header", ["jku", "x5u", "x5c", "jwk"])
async def test_an_assertion_does_not_bring_its_own_key(house: House, header: str) -> None:
    value: Any = ["MIIB"] if header == "x5c" else "https://evil.example/keys"
    said = {header: house.agent.client_key.jwk() if header == "jwk" else value}
    assert await refused_push(house, assertion_header=said) == NOBODY


@pytest.mark.requirement("FAPI2-JWKS-3", proves="holds")
async def test_every_published_key_has_kid_use_and_alg(house: House) -> None:
    keys = (await house.http.get(f"{ISSUER}/jwks")).json()["keys"]
    assert all(key["kid"] and key["use"] == "sig" and key["alg"] for key in keys)
    assert len({key["kid"] for key in keys}) == len(keys)


# --- considerations


@pytest.mark.requirement("FAPI2-AZ-14", proves="holds")
async def test_a_browser_is_sent_on_by_303(house: House) -> None:
    callback(await visited(house, await house.agent.push()))
    assert {status for status, _ in house.agent.browser.trail} == {303}


@pytest.mark.requirement("FAPI2-SEC-1", proves="holds")
async def test_a_token_lives_for_minutes_and_a_refresh_may_change_the_key(house: House) -> None:
    tokens = await house.agent.obtain(username="alice", password=PASSWORD)
    other = PeerKey.es256(seed=77)
    again = await house.agent.refresh(tokens.refresh_token or "", key=other)
    assert again.expires_in <= 600
    assert house.signer.signed[-1][1]["cnf"] == {"jkt": other.thumbprint}


@pytest.mark.requirement("FAPI2-SEC-4", proves="refused")
async def test_a_leaked_request_that_was_completed_opens_no_page(house: House) -> None:
    pushed = await house.agent.push()
    callback(await visited(house, pushed))
    assert await refused_page(house, query_for(pushed)) == (400, "invalid_request_uri")


@pytest.mark.requirement("FAPI2-SEC-5", proves="refused")
async def test_a_swapped_browsers_code_is_dead_after_a_minute(house: House) -> None:
    done, pushed = await a_code(house)
    house.clock.advance(60)
    assert await refused_redemption(house, done, pushed) == (400, "invalid_grant")


@pytest.mark.requirement("FAPI2-SEC-7", proves="holds")
async def test_everything_of_one_consent_has_one_name(house: House) -> None:
    await house.agent.obtain(username="alice", password=PASSWORD)
    (name,) = house.store.rows.authorizations
    kept = {handle.authorization_id for handle in house.store.rows.handles.values() if handle.authorization_id}
    assert kept == {name, house.signer.signed[-1][1]["authorization_id"]}
