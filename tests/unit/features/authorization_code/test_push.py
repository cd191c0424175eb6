"""POST /par: everything an authorization request must be, before anybody sees a page."""

from __future__ import annotations

from typing import Any

import pytest

from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.handles import REQUEST_URI_PREFIX, digest_of
from tests.support.house import RESOURCE, House
from tests.support.push_scene import kept, refused

# --- the answer


@pytest.mark.requirement("PAR-7", proves="holds")
async def test_the_answer_is_201_with_a_lifetime_and_is_not_cached(house: House) -> None:
    pushed = await house.agent.push()
    assert pushed.response.status_code == 201
    assert pushed.response.json() == {"request_uri": pushed.request_uri, "expires_in": 90}
    assert pushed.response.headers["cache-control"] == "no-cache, no-store"


@pytest.mark.requirement("PAR-8", proves="holds")
async def test_every_request_uri_is_another_urn_with_256_random_bits(house: House) -> None:
    uris = {(await house.agent.push()).request_uri for _ in range(5)}
    assert len(uris) == 5
    assert all(uri.startswith(REQUEST_URI_PREFIX) and len(uri) == len(REQUEST_URI_PREFIX) + 43 for uri in uris)


async def test_what_is_kept_is_a_digest_of_this_client_for_as_long_as_an_interaction_may_take(house: House) -> None:
    pushed = await house.agent.push()
    (handle,) = house.store.handles_of(HandleKind.REQUEST_URI)
    assert (handle.digest, handle.client_id) == (digest_of(pushed.request_uri), "agent")
    assert (handle.usable_until, handle.delete_after) == (house.clock.now() + 90, house.clock.now() + 690)
    (fact,) = house.store.facts_of(AuditEvent.REQUEST_PUSHED)
    assert (fact.client_id, fact.resource, fact.scope) == ("agent", RESOURCE, "accounts:read")
    assert fact.jkt == house.agent.dpop_key.thumbprint


async def test_a_request_keeps_every_value_that_was_pushed(house: House) -> None:
    validated = await kept(house, state="the state", nonce="n" * 64, scope="transfers:write accounts:read")
    assert (validated.state, validated.nonce) == ("the state", "n" * 64)
    assert validated.scope == ("transfers:write", "accounts:read")
    assert (validated.redirect_uri, validated.resources) == (house.agent.redirect_uri, (RESOURCE,))


# --- parameters


@pytest.mark.requirement("FAPI2-AZ-1", proves="holds")
async def test_response_type_code_is_kept(house: House) -> None:
    assert (await kept(house, response_type="code", response_mode="query")).client_id == "agent"


@pytest.mark.requirement("FAPI2-AZ-1", proves="refused")
@pytest.mark.attack("PAR-06")
@pytest.mark.parametrize("response_type", ["token", "code id_token", "id_token", "code token", "none", "CODE"])
async def test_no_other_response_type(house: House, response_type: str) -> None:
    assert (await refused(house, response_type=response_type))[:2] == (400, "unsupported_response_type")


@pytest.mark.attack("PAR-07")
@pytest.mark.parametrize(
    "mode", ["fragment", "form_post", "web_message", "fragment.jwt", "form_post.jwt", "unknown.jwt", "JWT", "x"]
)
async def test_no_other_response_mode(house: House, mode: str) -> None:
    assert await refused(house, response_mode=mode) == (400, "invalid_request", "response_mode")


@pytest.mark.requirement("FAPI2-AZ-7", proves="refused")
@pytest.mark.attack("PAR-08")
async def test_a_push_without_redirect_uri_is_refused(house: House) -> None:
    assert await refused(house, redirect_uri=...) == (400, "invalid_request", "redirect_uri is missing")


@pytest.mark.requirement("FAPI2-AZ-7", proves="holds")
async def test_a_push_with_its_registered_redirect_uri_is_kept(house: House) -> None:
    assert (await kept(house, redirect_uri=house.agent.redirect_uri)).redirect_uri == house.agent.redirect_uri


@pytest.mark.requirement("PAR-12", proves="refused")
@pytest.mark.attack("PAR-10")
@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://client.example/callback/",
        "https://client.example/callback/more",
        "https://client.example/callback?x=1",
        "https://client.example/CALLBACK",
        "https://CLIENT.example/callback",
        "https://client.example:443/callback",
        "https://client.example/%2e%2e/callback",
        "https://client.example/..;/callback",
        "https://client.example@evil.example/callback",
        "https://client.example\\@evil.example/callback",
        "https://client.example/callback\t",
        "https://client.example/callback\n",
        "https://a@b@client.example/callback",
        "http://client.example/callback",
        "http://127.0.0.1/callback",
        "javascript:alert(1)",
    ],
)
async def test_a_redirect_uri_that_only_looks_registered_is_refused(house: House, redirect_uri: str) -> None:
    assert await refused(house, redirect_uri=redirect_uri) == (400, "invalid_request", "redirect_uri is not registered")


@pytest.mark.attack("PAR-11")
async def test_a_redirect_uri_with_a_fragment_is_refused(house: House) -> None:
    assert (await refused(house, redirect_uri=f"{house.agent.redirect_uri}#x"))[:2] == (400, "invalid_request")


@pytest.mark.attack("PAR-09")
async def test_the_redirect_uri_of_another_client_is_refused(house: House) -> None:
    house.client("other", redirect_uris=["https://other.example/cb"])
    assert (await refused(house, redirect_uri="https://other.example/cb"))[:2] == (400, "invalid_request")


@pytest.mark.requirement("FAPI2-AZ-5", proves="refused")
@pytest.mark.attack("PAR-13")
@pytest.mark.parametrize(
    "form",
    [
        {"code_challenge": ...},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": ...},
        {"code_challenge": "c" * 42},
        {"code_challenge": "c" * 44},
        {"code_challenge": "c" * 42 + "="},
        {"code_challenge": "c" * 42 + "."},
    ],
)
async def test_pkce_is_s256_with_43_characters_or_nothing(house: House, form: dict[str, Any]) -> None:
    assert (await refused(house, **form))[:2] == (400, "invalid_request")


@pytest.mark.attack("PKC-08")
@pytest.mark.parametrize("method", ["s256", "S256 ", "SHA256", ["S256", "S256"]])
async def test_another_spelling_of_s256_is_refused(house: House, method: Any) -> None:
    assert (await refused(house, code_challenge_method=method))[:2] == (400, "invalid_request")


@pytest.mark.requirement("FAPI2-AZ-5", proves="holds")
async def test_a_challenge_is_kept(house: House) -> None:
    assert (await kept(house, code_challenge="c" * 43)).code_challenge == "c" * 43


@pytest.mark.requirement("FAPI2-AZ-18", proves="holds")
async def test_a_state_of_4096_characters_is_kept(house: House) -> None:
    assert (await kept(house, state="s" * 4096)).state == "s" * 4096


@pytest.mark.requirement("FAPI2-AZ-18", proves="refused")
async def test_a_longer_state_is_refused(house: House) -> None:
    assert await refused(house, state="s" * 4097) == (400, "invalid_request", "state is too long")


@pytest.mark.requirement("FAPI2-AZ-17", proves="holds")
@pytest.mark.parametrize("length", [1, 64, 256])
async def test_a_nonce_is_kept(house: House, length: int) -> None:
    assert (await kept(house, nonce="n" * length)).nonce == "n" * length


@pytest.mark.requirement("FAPI2-AZ-17", proves="refused")
@pytest.mark.attack("PAR-22")
@pytest.mark.parametrize("length", [257, 10_000])
async def test_a_longer_nonce_is_refused_and_never_cut(house: House, length: int) -> None:
    assert await refused(house, nonce="n" * length) == (400, "invalid_request", "nonce is too long")


@pytest.mark.requirement("FAPI2-AZ-27", proves="refused")
@pytest.mark.attack("PAR-03")
@pytest.mark.parametrize("request_uri", [REQUEST_URI_PREFIX + "x", "https://client.example/object"])
async def test_a_request_uri_is_our_output_and_never_input(house: House, request_uri: str) -> None:
    assert await refused(house, request_uri=request_uri) == (400, "invalid_request", "request_uri in a push")


@pytest.mark.requirement("FAPI2-AZ-27", proves="holds")
async def test_an_empty_request_uri_is_none(house: House) -> None:
    assert (await kept(house, request_uri="")).client_id == "agent"


@pytest.mark.attack("PAR-24")
@pytest.mark.parametrize("details", ["[]", "not json", "[" * 2000, '[{"type":"x"}]'])
async def test_authorization_details_are_refused_rather_than_ignored(house: House, details: str) -> None:
    assert (await refused(house, authorization_details=details))[:2] == (400, "invalid_authorization_details")


async def test_a_client_that_is_not_registered_for_the_code_flow_is_refused(house: House) -> None:
    house.change_client(grant_types=frozenset({"client_credentials"}))
    assert (await refused(house))[:2] == (400, "unauthorized_client")


@pytest.mark.requirement("OA-EP-1", proves="refused")
@pytest.mark.attack("PAR-14")
@pytest.mark.parametrize("name", ["scope", "redirect_uri", "state", "client_id", "anything"])
@pytest.mark.parametrize("values", [["a", "a"], ["a", "b"], ["", ""]])
async def test_a_repeated_parameter_is_refused(house: House, name: str, values: list[str]) -> None:
    assert await refused(house, **{name: values}) == (400, "invalid_request", "a parameter is repeated")


@pytest.mark.requirement("OA-EP-2", proves="holds")
async def test_what_nobody_knows_and_what_is_empty_is_ignored(house: House) -> None:
    assert (await kept(house, foo="1", state="", nonce="")).state is None


@pytest.mark.requirement("OA-EP-2", proves="refused")
async def test_an_empty_parameter_that_is_required_is_missing(house: House) -> None:
    assert await refused(house, redirect_uri="") == (400, "invalid_request", "redirect_uri is missing")
