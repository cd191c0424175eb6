"""What discovery promises, row by row, and that each promise is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fapi_as.features.client_credentials import FEATURE as CLIENT_CREDENTIALS
from fapi_as.features.discovery import FEATURE as DISCOVERY
from fapi_as.kernel import capabilities
from fapi_as.protocol.userinfo_resource import IDENTITY_SCOPES
from fapi_as.settings import ConfigurationError, load
from tests.support.fakes import ISSUER, context
from tests.support.house import RESOURCE, SCOPES, House
from tests.support.peer_keys import PeerKey
from tests.support.standing_still import ready, refused_page, refused_push, refused_tokens

BOTH = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"]
OURS = {"PS256", "ES256", "EdDSA", "Ed25519"}


@pytest.fixture
async def house() -> House:
    return await ready(House())


async def document(house: House, path: str = BOTH[0]) -> dict[str, Any]:
    response = await house.http.get(ISSUER + path)
    assert response.status_code == 200
    read: dict[str, Any] = response.json()
    return read


def without_the_code_flow() -> dict[str, Any]:
    """The metadata of a server that does client_credentials and nothing else."""
    smaller = context(features=(CLIENT_CREDENTIALS, DISCOVERY))
    assert not {"/par", "/authorize"} & set(capabilities.endpoints(smaller.features))
    return capabilities.metadata(smaller.features, smaller.policy)


def issuer_refused(tmp_path: Path, issuer: str) -> str:
    path = tmp_path / "fapi-as.toml"
    path.write_text(f"[server]\nissuer = {json.dumps(issuer)}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load(path, {})
    return str(caught.value)


EXPECTED = [
    pytest.param("issuer", ISSUER, marks=pytest.mark.requirement("FAPI2-DISC-1", proves="holds")),
    pytest.param("response_types_supported", ["code"], marks=pytest.mark.requirement("FAPI2-DISC-3", proves="holds")),
    pytest.param(
        "token_endpoint_auth_methods_supported",
        ["private_key_jwt"],
        marks=pytest.mark.requirement("FAPI2-DISC-5", proves="holds"),
    ),
    pytest.param(
        "grant_types_supported",
        ["authorization_code", "client_credentials", "refresh_token"],
        marks=pytest.mark.requirement("FAPI2-DISC-10", proves="holds"),
    ),
    pytest.param("code_challenge_methods_supported", ["S256"], marks=pytest.mark.requirement("BCP-3", proves="holds")),
    pytest.param(
        "pushed_authorization_request_endpoint",
        f"{ISSUER}/par",
        marks=pytest.mark.requirement("FAPI2-AZ-2", proves="holds"),
    ),
]


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize(("member", "value"), EXPECTED)
async def test_the_metadata_say_what_is_so(house: House, path: str, member: str, value: Any) -> None:
    assert (await document(house, path))[member] == value


@pytest.mark.requirement("FAPI2-AZ-2", proves="refused")
@pytest.mark.parametrize("lie", [{"form": {"client_assertion": ...}}, {"assertion": "a.b.c"}, {"sub": ...}])
async def test_the_published_endpoint_is_for_authenticated_clients(house: House, lie: dict[str, Any]) -> None:
    assert await refused_push(house, **lie) == (401, "invalid_client")


@pytest.mark.requirement("FAPI2-AS-1", proves="refused")
async def test_the_two_documents_never_differ(house: House) -> None:
    house.resource("https://shop.example/mcp", scopes={"orders:read": "See your orders"})
    one, two = [await document(house, path) for path in BOTH]
    assert one == two
    assert "orders:read" in one["scopes_supported"]


@pytest.mark.requirement("FAPI2-DISC-1", proves="refused")
@pytest.mark.parametrize(
    "issuer",
    ["http://as.example", "https://as.example?x=1", "https://as.example#x", "https://as.example/", "as.example"],
)
def test_an_issuer_with_anything_else_does_not_start(tmp_path: Path, issuer: str) -> None:
    assert issuer_refused(tmp_path, issuer).startswith("server.issuer must")


@pytest.mark.requirement("FAPI2-DISC-2", proves="refused")
def test_a_server_without_pushed_requests_does_not_publish_an_endpoint_for_them() -> None:
    assert "pushed_authorization_request_endpoint" not in without_the_code_flow()


@pytest.mark.requirement("FAPI2-DISC-3", proves="refused")
@pytest.mark.parametrize("response_type", ["token", "id_token", "code token", "none"])
async def test_a_response_type_that_is_not_listed_is_refused(house: House, response_type: str) -> None:
    assert response_type not in (await document(house))["response_types_supported"]
    assert await refused_push(house, form={"response_type": response_type}) == (400, "unsupported_response_type")


@pytest.mark.requirement("FAPI2-DISC-4", proves="refused")
async def test_a_challenge_method_that_is_not_listed_is_refused(house: House) -> None:
    assert (await document(house))["code_challenge_methods_supported"] == ["S256"]
    assert await refused_push(house, form={"code_challenge_method": "plain"}) == (400, "invalid_request")


@pytest.mark.requirement("BCP-3", proves="refused")
def test_a_server_without_the_code_flow_publishes_no_challenge_method() -> None:
    assert "code_challenge_methods_supported" not in without_the_code_flow()


@pytest.mark.requirement("FAPI2-DISC-5", proves="refused")
@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic", "none"])
async def test_a_method_that_is_not_listed_is_refused(house: House, method: str) -> None:
    assert method not in (await document(house))["token_endpoint_auth_methods_supported"]
    form: dict[str, Any] = {"client_assertion": ..., "client_assertion_type": ...}
    if method == "client_secret_post":
        form["client_secret"] = "secret"
    headers = [("authorization", "Basic YWdlbnQ6c2VjcmV0")] if method == "client_secret_basic" else []
    with house.agent.lying(form=form, headers=headers):
        assert await refused_tokens(house, house.agent.credentials_request) == (401, "invalid_client")


@pytest.mark.requirement("FAPI2-DISC-6", proves="refused")
@pytest.mark.parametrize("alg", ["RS256", "HS256", "none", "ES384", "PS384"])
async def test_an_algorithm_that_is_not_listed_is_refused(house: House, alg: str) -> None:
    published = await document(house)
    lists = [values for name, values in published.items() if "_alg_values_supported" in name]
    assert lists
    assert all(set(values) <= OURS for values in lists)
    assert await refused_push(house, assertion_header={"alg": alg}) == (401, "invalid_client")
    assert await refused_push(house, proof_header={"alg": alg}) == (400, "invalid_dpop_proof")


@pytest.mark.requirement("FAPI2-DISC-8", proves="refused")
async def test_what_must_be_pushed_is_refused_when_it_is_not(house: House) -> None:
    assert (await document(house))["require_pushed_authorization_requests"] is True
    query = {"client_id": "agent", "response_type": "code", "redirect_uri": house.agent.redirect_uri}
    assert await refused_page(house, query) == (400, "invalid_request")


@pytest.mark.requirement("FAPI2-DISC-10", proves="refused")
async def test_nothing_is_listed_that_is_not_there_and_no_list_is_empty(house: House) -> None:
    published = await document(house)
    assert published["scopes_supported"] == sorted({*SCOPES, *IDENTITY_SCOPES})
    assert not [name for name, value in published.items() if value == []]
    assert not {"claims_locales_supported", "authorization_details_types_supported"} & set(published)
    assert not {"claims_supported", "acr_values_supported", "userinfo_endpoint"} & set(without_the_code_flow())
    assert without_the_code_flow()["grant_types_supported"] == ["client_credentials"]
    house.store.remove_resource(RESOURCE)
    assert (await document(house))["scopes_supported"] == sorted(IDENTITY_SCOPES)


# --- MD: where it lies and how it is read


@pytest.mark.requirement("MD-1", proves="holds")
@pytest.mark.parametrize("path", BOTH)
async def test_the_document_lies_between_host_and_path(house: House, path: str) -> None:
    assert (await document(house, path))["issuer"] == ISSUER


@pytest.mark.requirement("MD-1", proves="refused")
@pytest.mark.parametrize(
    "path", [f"{BOTH[0]}/", f"{BOTH[0]}/t/other", f"/t/other{BOTH[0]}", "/.well-known/", BOTH[1].upper()]
)
async def test_no_other_address_has_it(house: House, path: str) -> None:
    assert (await house.http.get(ISSUER + path)).status_code == 404


@pytest.mark.requirement("MD-2", proves="holds")
@pytest.mark.parametrize("path", BOTH)
async def test_it_is_json_by_get(house: House, path: str) -> None:
    response = await house.http.get(ISSUER + path)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert [] not in response.json().values()


@pytest.mark.requirement("MD-2", proves="refused")
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_it_is_read_only(house: House, method: str) -> None:
    response = await house.http.request(method, ISSUER + BOTH[0])
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.requirement("MD-4", proves="holds")
async def test_the_issuer_is_the_same_string_everywhere(house: House) -> None:
    tokens = await house.agent.client_credentials()
    assert tokens.token_type == "DPoP"
    assert house.signer.signed[-1][1]["iss"] == (await document(house))["issuer"] == house.context.policy.issuer


@pytest.mark.requirement("MD-4", proves="refused")
@pytest.mark.parametrize(
    "aud", ["https://AS.example", "https://as.example/", "https://as.example:443", "https://ⓐs.example"]
)
async def test_an_issuer_that_only_normalises_to_ours_is_another(house: House, aud: str) -> None:
    assert await refused_push(house, aud=aud) == (401, "invalid_client")


@pytest.mark.requirement("MD-7", proves="refused")
async def test_no_private_member_is_published_and_a_stranger_signs_nothing(house: House) -> None:
    published = await document(house)
    assert published["jwks_uri"] == f"{ISSUER}/jwks"
    keys = (await house.http.get(published["jwks_uri"])).json()["keys"]
    assert not [key for key in keys if {"d", "p", "q", "dp", "dq", "qi", "k", "oth"} & set(key)]
    assert await refused_push(house, assertion_key=PeerKey.es256(seed=4711)) == (401, "invalid_client")
