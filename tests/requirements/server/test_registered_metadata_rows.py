"""The metadata of a client that registers itself: what is taken, what is told of it, and what is refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import httpx2
import pytest

from fapi_as.protocol.fetched_document import FetchedDocument
from tests.support.client_members import ec_jwk, ed_jwk, rsa_jwk
from tests.support.fake_fetch import FakeFetch
from tests.support.house import PASSWORD
from tests.support.peer_keys import PeerKey
from tests.support.registration_attack import METADATA, REDIRECT_URI, refused
from tests.support.registration_house import RegistrationHouse

AGENT: Final = "https://agent.example/callback"
SECTOR: Final = "https://agent.example/sector.json"
TWO_HOSTS: Final = [AGENT, "https://other.example/callback"]


@pytest.fixture
def house() -> RegistrationHouse:
    """One whose initial access token lets anything in that is right."""
    return RegistrationHouse()


async def asked(house: RegistrationHouse, **changes: Any) -> httpx2.Response:
    """Register an agent that describes itself with these changes; `...` leaves a member out."""
    agent = house.registrant()
    return await agent.register(statement=None, token=house.token(), **agent.described(**changes))


async def told(house: RegistrationHouse, **changes: Any) -> dict[str, Any]:
    """The same, and what was registered; reading it tells the same again."""
    agent = house.registrant()
    information = await agent.registered(statement=None, token=house.token(), **agent.described(**changes))
    read = (await agent.manage("GET")).json()
    assert {name: read[name] for name in read if name in information} == read
    return information


async def refusal(house: RegistrationHouse, expected: tuple[int, str], about: str, **changes: Any) -> None:
    """It is refused by name, and nothing is kept."""
    agent, token = house.registrant(), house.token()
    attempt = agent.register(statement=None, token=token, **agent.described(**changes))
    response = await refused(house, attempt, expected)
    assert about in response.json()["error_description"]


# --- RFC 7591


UNKNOWN: Final[dict[str, Any]] = {
    "foo": "bar",
    "trusted": True,
    "tenant": "acme",
    "is_admin": {"yes": [1]},
    "x#fr": "y",
}


@pytest.mark.requirement("DCR-7", proves="refused")
async def test_what_nobody_knows_is_neither_kept_nor_told(house: RegistrationHouse) -> None:
    agent = house.registrant()
    information = await agent.registered(**UNKNOWN)
    assert not UNKNOWN.keys() & information.keys()
    assert not UNKNOWN.keys() & (await agent.manage("GET")).json().keys()
    assert not UNKNOWN.keys() & json.loads(house.kept[agent.client_id].registration).keys()


@pytest.mark.requirement("DCR-8", proves="holds")
@pytest.mark.parametrize("uris", [[AGENT], TWO_HOSTS, [f"{AGENT}?of=it"], ["https://agent.example:8443/"]])
async def test_https_redirect_uris_are_registered_to_the_letter(house: RegistrationHouse, uris: list[str]) -> None:
    assert (await told(house, redirect_uris=uris))["redirect_uris"] == uris


@pytest.mark.requirement("DCR-8", proves="refused")
@pytest.mark.parametrize(
    "uris",
    [
        ...,
        [],
        None,
        ["http://agent.example/callback"],
        [f"{AGENT}#fragment"],
        ["https://agent.example/*"],
        ["https://*.agent.example/callback"],
        ["https://user@agent.example/callback"],
        ["javascript:alert(1)"],
        ["com.example.app:/callback"],
        ["https://agent.example/\u00e9"],
        [AGENT, "https://agent.example/#"],
        [f"https://agent.example/{number}" for number in range(17)],
        ["https://agent.example/" + "x" * 2048],
    ],
)
async def test_a_redirect_uri_that_could_leak_is_refused(house: RegistrationHouse, uris: object) -> None:
    await refusal(house, REDIRECT_URI, "redirect_uri", redirect_uris=uris)


@pytest.mark.requirement("DCR-9", proves="holds")
@pytest.mark.parametrize(
    ("grant_types", "response_types"),
    [(["authorization_code"], ["code"]), (["authorization_code", "refresh_token"], ...), (["client_credentials"], [])],
)
async def test_grants_and_what_is_answered_go_together(
    house: RegistrationHouse, grant_types: list[str], response_types: object
) -> None:
    information = await told(house, grant_types=grant_types, response_types=response_types)
    assert information["grant_types"] == grant_types
    assert information["response_types"] == (["code"] if "authorization_code" in grant_types else [])


@pytest.mark.requirement("DCR-9", proves="refused")
@pytest.mark.parametrize(
    ("grant_types", "response_types"),
    [
        (["implicit"], ["token"]),
        (["password"], []),
        (["authorization_code"], []),
        (["authorization_code"], ["token"]),
        (["authorization_code"], ["code", "code id_token"]),
        (["client_credentials"], ["code"]),
        (["authorization_code", "urn:openid:params:grant-type:ciba"], ["code"]),
        (["authorization_code", "urn:ietf:params:oauth:grant-type:token-exchange"], ["code"]),
        ([], []),
    ],
)
async def test_grants_that_nobody_has_or_that_do_not_fit_are_refused(
    house: RegistrationHouse, grant_types: list[str], response_types: list[str]
) -> None:
    await refusal(house, METADATA, "_types", grant_types=grant_types, response_types=response_types)


async def test_a_grant_that_the_policy_names_and_nobody_offers_is_refused(house: RegistrationHouse) -> None:
    agent, ciba = house.registrant(), "urn:openid:params:grant-type:ciba"
    token = house.token(grant_types=[ciba])
    attempt = agent.register(statement=None, token=token, **agent.described(grant_types=[ciba]))
    assert "this server offers" in (await refused(house, attempt, METADATA)).json()["error_description"]


@pytest.mark.requirement("DCR-10", proves="holds")
@pytest.mark.parametrize("method", ["private_key_jwt", "self_signed_tls_client_auth"])
async def test_an_authentication_method_is_registered_as_it_was_named(house: RegistrationHouse, method: str) -> None:
    information = await told(house, token_endpoint_auth_method=method, jwks=..., jwks_uri="https://agent.example/keys")
    assert information["token_endpoint_auth_method"] == method


@pytest.mark.requirement("DCR-10", proves="refused")
@pytest.mark.parametrize(
    "method",
    [..., None, "none", "client_secret_basic", "client_secret_post", "client_secret_jwt", "", "PRIVATE_KEY_JWT"],
)
async def test_silence_is_no_authentication_method_and_a_secret_is_none(
    house: RegistrationHouse, method: object
) -> None:
    await refusal(house, METADATA, "token_endpoint_auth_method", token_endpoint_auth_method=method)


async def test_certificates_are_not_registered_where_nobody_asks_for_them() -> None:
    plain = RegistrationHouse(policy=replace(RegistrationHouse().context.policy, mutual_tls_url=None))
    bound = {"tls_client_certificate_bound_access_tokens": True}
    await refusal(plain, METADATA, "this server asks nobody for certificates", **bound)
    keys = {"jwks": ..., "jwks_uri": "https://agent.example/keys"}
    method = {"token_endpoint_auth_method": "self_signed_tls_client_auth"}
    await refusal(plain, METADATA, "this server offers private_key_jwt", **keys, **method)


@pytest.mark.requirement("DCR-11", proves="holds")
@pytest.mark.parametrize(
    "keys",
    [
        {"jwks": {"keys": [ec_jwk(kid="a"), ed_jwk(kid="b"), {**rsa_jwk(2048), "kid": "c"}]}},
        {"jwks": ..., "jwks_uri": "https://agent.example/keys"},
    ],
)
async def test_keys_are_registered_by_value_or_by_reference(house: RegistrationHouse, keys: Mapping[str, Any]) -> None:
    information = await told(house, **keys)
    if keys["jwks"] is ...:
        assert (information["jwks_uri"], "jwks" in information) == ("https://agent.example/keys", False)
    else:
        assert [key["kid"] for key in information["jwks"]["keys"]] == ["a", "b", "c"]
        assert not any(key.keys() & {"d", "k", "p", "q"} for key in information["jwks"]["keys"])


@pytest.mark.requirement("DCR-11", proves="refused")
@pytest.mark.parametrize(
    "keys",
    [
        {"jwks": ...},
        {"jwks": {"keys": []}},
        {"jwks": {"keys": [ec_jwk()]}, "jwks_uri": "https://agent.example/keys"},
        {"jwks": {"keys": [PeerKey.es256(seed=1).private_jwk()]}},
        {"jwks": {"keys": [{"kty": "oct", "k": "AQAB"}]}},
        {"jwks": {"keys": [rsa_jwk(1024)]}},
        {"jwks": {"keys": [{**rsa_jwk(2048), "e": "AQ"}]}},
        {"jwks": {"keys": [ec_jwk(crv="P-521")]}},
        {"jwks": {"keys": [ec_jwk(kid="a"), ec_jwk(kid="a")]}},
        {"jwks": {"keys": [ec_jwk(kid=str(number)) for number in range(11)]}},
        {"jwks": {"keys": [ec_jwk(use="enc")]}},
        {"jwks": ..., "token_endpoint_auth_method": "self_signed_tls_client_auth"},
        {"token_endpoint_auth_method": "self_signed_tls_client_auth"},
    ],
)
async def test_keys_that_are_not_public_strong_and_clear_are_refused(
    house: RegistrationHouse, keys: Mapping[str, Any]
) -> None:
    await refusal(house, METADATA, "jwks", **keys)


@pytest.mark.requirement("DCR-19", proves="holds")
@pytest.mark.parametrize(
    ("flags", "dpop", "mtls"),
    [
        ({}, True, False),
        ({"dpop_bound_access_tokens": True}, True, False),
        ({"tls_client_certificate_bound_access_tokens": True}, False, True),
        ({"dpop_bound_access_tokens": True, "tls_client_certificate_bound_access_tokens": True}, True, True),
        ({"dpop_bound_access_tokens": False, "tls_client_certificate_bound_access_tokens": True}, False, True),
        ({"tls_client_certificate_bound_access_tokens": False}, True, False),
    ],
)
async def test_whoever_says_nothing_has_tokens_that_are_bound_to_a_key(
    house: RegistrationHouse, flags: Mapping[str, bool], dpop: bool, mtls: bool
) -> None:
    information = await told(house, **flags)
    assert information["dpop_bound_access_tokens"] is dpop
    assert information["tls_client_certificate_bound_access_tokens"] is mtls


@pytest.mark.requirement("DCR-19", proves="refused")
@pytest.mark.parametrize("mtls", [..., False])
async def test_tokens_that_are_bound_to_nothing_are_not_registered_for(house: RegistrationHouse, mtls: object) -> None:
    flags = {"dpop_bound_access_tokens": False, "tls_client_certificate_bound_access_tokens": mtls}
    await refusal(house, METADATA, "dpop_bound_access_tokens", **flags)


async def test_a_client_that_said_nothing_gets_no_token_without_a_proof(house: RegistrationHouse) -> None:
    agent = house.registrant()
    await agent.registered(statement=None, token=house.token(), **agent.described())
    with agent.lying(proof=...):
        response = await agent.send(agent.credentials_request())
    assert response.json()["error"] == "invalid_dpop_proof"
    assert (await agent.obtain(username="alice", password=PASSWORD)).access_token


# --- OpenID registration


@pytest.mark.requirement("ODCR-1", proves="holds")
@pytest.mark.parametrize("application_type", [..., "web"])
async def test_a_client_is_a_web_client_unless_it_says_otherwise(
    house: RegistrationHouse, application_type: object
) -> None:
    assert (await told(house, application_type=application_type))["application_type"] == "web"


@pytest.mark.requirement("ODCR-1", proves="refused")
@pytest.mark.parametrize(
    "uri",
    [
        *("http://agent.example/cb", "https://localhost/cb", "https://LOCALHOST./cb", "https://a.localhost/cb"),
        *("https://127.0.0.1/cb", "https://[::1]/cb", "http://127.0.0.1/cb", "http://[::1]:8080/cb"),
    ],
)
async def test_a_web_client_is_neither_over_http_nor_on_this_device(house: RegistrationHouse, uri: str) -> None:
    await refusal(house, REDIRECT_URI, "redirect_uri", redirect_uris=[uri])


@pytest.mark.requirement("ODCR-2", proves="holds")
@pytest.mark.parametrize("uri", ["http://127.0.0.1/cb", "http://[::1]/cb", "http://127.0.0.1:51000/cb", AGENT])
async def test_a_native_client_is_on_loopback_or_claims_an_https_address(house: RegistrationHouse, uri: str) -> None:
    information = await told(house, application_type="native", redirect_uris=[uri])
    assert (information["application_type"], information["redirect_uris"]) == ("native", [uri])


@pytest.mark.requirement("ODCR-2", proves="refused")
@pytest.mark.parametrize(
    "uri",
    [
        *("http://example.com/native", "http://127.0.0.1.evil.example/cb", "http://0.0.0.0/cb", "http://localhost/cb"),
        *("com.example.app:/callback", "app://callback", "http://127.1/cb", "http://127.0.0.1@evil.example/cb"),
    ],
)
async def test_a_native_client_is_nowhere_else(house: RegistrationHouse, uri: str) -> None:
    await refusal(house, REDIRECT_URI, "redirect_uri", application_type="native", redirect_uris=[uri])


async def _with_sector(listed: object, **changes: Any) -> tuple[RegistrationHouse, dict[str, Any]]:
    house = RegistrationHouse()
    body = listed if isinstance(listed, bytes) else json.dumps(listed).encode()
    fetch = FakeFetch(documents={SECTOR: FetchedDocument(body=body, max_age=None)})
    house.context = replace(house.context, fetch=fetch)
    return house, {"subject_type": "pairwise", "redirect_uris": TWO_HOSTS, "sector_identifier_uri": SECTOR} | changes


@pytest.mark.requirement("ODCR-4", proves="holds")
async def test_a_pairwise_client_of_several_hosts_names_its_sector() -> None:
    house, members = await _with_sector([*TWO_HOSTS, "https://third.example/callback"])
    information = await told(house, **members)
    assert (information["subject_type"], information["sector_identifier_uri"]) == ("pairwise", SECTOR)


@pytest.mark.requirement("ODCR-4", proves="refused")
async def test_a_pairwise_client_of_several_hosts_without_a_sector_is_refused() -> None:
    house, members = await _with_sector(TWO_HOSTS, sector_identifier_uri=...)
    await refusal(house, METADATA, "sector_identifier_uri", **members)


@pytest.mark.parametrize(
    "listed", [[], TWO_HOSTS[:1], {"redirect_uris": TWO_HOSTS}, [*TWO_HOSTS, 1], b"nothing", b"[" * 99, b" " * 70_000]
)
async def test_a_sector_that_does_not_name_the_client_is_not_its_sector(listed: object) -> None:
    house, members = await _with_sector(listed)
    await refusal(house, METADATA, "sector_identifier_uri", **members)


async def test_what_happened_on_the_way_to_a_sector_is_told_to_nobody_outside(house: RegistrationHouse) -> None:
    members = {"subject_type": "pairwise", "sector_identifier_uri": SECTOR}
    house.context = replace(house.context, fetch=FakeFetch())
    await refusal(house, METADATA, "sector_identifier_uri: the document cannot be had", **members)
    assert "status 404" in (house.last_detail or "")


async def test_a_sector_is_asked_for_by_nobody_who_is_not_approved() -> None:
    house, members = await _with_sector(TWO_HOSTS)
    agent = house.registrant()
    await agent.register(statement=None, **agent.described(**members))
    await agent.register(statement=agent.statement(exp=1), **members)
    assert isinstance(house.context.fetch, FakeFetch)
    assert house.context.fetch.asked == []


async def test_an_update_names_its_sector_as_a_registration_does() -> None:
    house, members = await _with_sector(TWO_HOSTS[:1])
    agent = house.registrant()
    await agent.registered(statement=None, token=house.token(), **agent.described(redirect_uris=TWO_HOSTS[:1]))
    assert (await agent.manage("PUT", agent.replacement(**members))).status_code == 400
    members["redirect_uris"] = TWO_HOSTS[:1]
    assert (await agent.manage("PUT", agent.replacement(**members))).status_code == 200


@pytest.mark.requirement("ODCR-5", proves="holds")
async def test_the_defaults_of_openid_are_overridden_and_told(house: RegistrationHouse) -> None:
    information = await told(house)
    for name in ("id_token_signed_response_alg", "authorization_signed_response_alg"):
        assert information[name] == "ES256"
    assert information["token_endpoint_auth_method"] == "private_key_jwt"


@pytest.mark.requirement("ODCR-5", proves="refused")
@pytest.mark.parametrize("alg", ["none", "RS256", "HS256", "ES384", ""])
@pytest.mark.parametrize(
    "name",
    [
        *("id_token_signed_response_alg", "userinfo_signed_response_alg", "authorization_signed_response_alg"),
        *("request_object_signing_alg", "token_endpoint_auth_signing_alg", "introspection_signed_response_alg"),
    ],
)
async def test_an_algorithm_that_is_not_offered_is_refused_and_not_replaced(
    house: RegistrationHouse, name: str, alg: str
) -> None:
    await refusal(house, METADATA, name, **{name: alg})


@pytest.mark.requirement("ODCR-7", proves="holds")
async def test_a_client_without_request_uris_is_registered_without_them(house: RegistrationHouse) -> None:
    assert "request_uris" not in await told(house)


@pytest.mark.requirement("ODCR-7", proves="refused")
@pytest.mark.parametrize("uris", [[], ["https://agent.example/request.jwt"], "https://agent.example/request.jwt"])
async def test_request_uris_are_refused(house: RegistrationHouse, uris: object) -> None:
    await refusal(house, METADATA, "request_uris", request_uris=uris)


ENCRYPTION: Final = [
    f"{kind}_{part}"
    for kind in ("id_token_encrypted_response", "userinfo_encrypted_response", "authorization_encrypted_response")
    for part in ("alg", "enc")
] + ["request_object_encryption_alg", "request_object_encryption_enc"]


@pytest.mark.requirement("ODCR-8", proves="holds")
async def test_a_client_that_wants_nothing_encrypted_is_registered(house: RegistrationHouse) -> None:
    assert not set(ENCRYPTION) & (await told(house, **dict.fromkeys(ENCRYPTION))).keys()


@pytest.mark.requirement("ODCR-8", proves="refused")
@pytest.mark.parametrize("name", ENCRYPTION)
async def test_encryption_is_not_offered_and_not_ignored(house: RegistrationHouse, name: str) -> None:
    await refusal(house, METADATA, name, **{name: "A128GCM" if name.endswith("enc") else "RSA-OAEP-256"})
