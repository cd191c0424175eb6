"""POST /par: everything an authorization request must be, before anybody sees a page."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.authorization_request import ValidatedAuthorizationRequest
from fapi_as.protocol.effects import HandleKind
from fapi_as.protocol.handles import REQUEST_URI_PREFIX, digest_of
from tests.support.fakes import ISSUER
from tests.support.fapi_client import Refused
from tests.support.house import RESOURCE, House
from tests.support.peer_keys import PeerKey

SHOP = "https://shop.example/mcp"


async def kept(house: House, **form: Any) -> ValidatedAuthorizationRequest:
    """What a push with these changes leaves in the store."""
    with house.agent.lying(form=form):
        pushed = await house.agent.push()
    handle = next(
        found
        for found in house.store.handles_of(HandleKind.REQUEST_URI)
        if found.digest == digest_of(pushed.request_uri)
    )
    return ValidatedAuthorizationRequest.from_bytes(handle.payload)


async def refused(house: House, **form: Any) -> tuple[int, str | None, str | None]:
    """Status, wire code and private reason of a push that keeps nothing."""
    with house.agent.lying(form=form), pytest.raises(Refused) as raised:
        await house.agent.push()
    assert house.store.handles_of(HandleKind.REQUEST_URI) == ()
    assert house.store.facts_of(AuditEvent.REQUEST_PUSHED) == ()
    assert raised.value.response.headers["content-type"] == "application/json"
    return raised.value.status, raised.value.error, house.last_detail


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
@pytest.mark.parametrize("mode", ["fragment", "form_post", "jwt", "query.jwt", "fragment.jwt", "form_post.jwt", "x"])
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


async def test_a_request_object_is_refused_by_name(house: House) -> None:
    assert (await refused(house, request="e30.e30."))[:2] == (400, "request_not_supported")


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


# --- scope and resource


@pytest.mark.requirement("FAPI2-AS-18", proves="refused")
@pytest.mark.attack("PAR-17")
@pytest.mark.parametrize(
    ("scope", "detail"),
    [
        (..., "no scope"),
        ("openid accounts:read", "scope not allowed"),
        ("accounts:read admin", "scope not allowed"),
        ("accounts:read  transfers:write", "scope syntax"),
        (" accounts:read", "scope syntax"),
        ("x" * 50_000, "scope syntax"),
        (" ".join(f"s{number}" for number in range(5_000)), "too many scope values"),
    ],
)
async def test_a_scope_that_is_not_for_this_client_is_refused(house: House, scope: Any, detail: str) -> None:
    assert await refused(house, scope=scope) == (400, "invalid_scope", detail)


@pytest.mark.requirement("FAPI2-AS-18", proves="holds")
async def test_exactly_the_asked_scope_is_kept(house: House) -> None:
    assert (await kept(house, scope="accounts:read accounts:read")).scope == ("accounts:read",)


async def test_a_scope_that_the_client_may_have_and_the_resource_has_not_is_refused(house: House) -> None:
    house.change_client(scope=frozenset({"accounts:read", "orders:read"}))
    assert (await refused(house, scope="orders:read"))[:2] == (400, "invalid_scope")


@pytest.mark.requirement("RES-1", proves="refused")
@pytest.mark.attack("PAR-16")
@pytest.mark.parametrize(
    "resource",
    ["https://unknown.example", "/mcp", "mcp", f"{RESOURCE}#x", f"{RESOURCE}/", f"{RESOURCE}?x", RESOURCE.upper()],
)
async def test_a_resource_that_is_not_registered_is_refused(house: House, resource: str) -> None:
    assert await refused(house, resource=resource) == (400, "invalid_target", "unknown resource")


@pytest.mark.requirement("RES-1", proves="holds")
@pytest.mark.attack("PAR-15")
async def test_two_resources_may_be_pushed_and_one_is_redeemed(house: House) -> None:
    house.resource(SHOP, scopes={"orders:read": "See your orders"})
    house.change_client(scope=frozenset({"accounts:read", "orders:read"}))
    with house.agent.lying(form={"resource": [RESOURCE, SHOP, SHOP], "scope": "orders:read accounts:read"}):
        pushed = await house.agent.push()
    done = await house.agent.authorize(pushed, username="alice", password="a long enough passphrase")
    with pytest.raises(Refused) as unnamed:
        await house.agent.redeem(done, pushed)
    assert (unnamed.value.status, unnamed.value.error) == (400, "invalid_target")
    tokens = await house.agent.redeem(done, pushed, resource=SHOP)
    assert tokens.scope == "orders:read"
    assert house.signer.signed[-1][1]["aud"] == SHOP


@pytest.mark.requirement("RES-2", proves="refused")
async def test_a_resource_at_which_no_asked_scope_means_anything_is_refused(house: House) -> None:
    house.resource(SHOP, scopes={"orders:read": "See your orders"})
    assert (await refused(house, resource=[RESOURCE, SHOP], scope="accounts:read"))[:2] == (400, "invalid_target")


@pytest.mark.requirement("RES-2", proves="holds")
async def test_without_a_resource_the_registered_default_is_meant(house: House) -> None:
    house.change_client(default_resource=RESOURCE)
    assert (await kept(house, resource=...)).resources == (RESOURCE,)


@pytest.mark.parametrize("resource", [..., "", [f"https://r{number}.example" for number in range(9)]])
async def test_no_resource_and_too_many_are_refused(house: House, resource: Any) -> None:
    assert await refused(house, resource=resource) == (400, "invalid_target", "no resource or too many")


# --- the key of the push


@pytest.mark.requirement("PAR-23", proves="holds")
async def test_a_proof_at_the_push_binds_the_code(house: House) -> None:
    assert (await kept(house)).dpop_jkt == house.agent.dpop_key.thumbprint


async def test_a_push_without_a_proof_binds_nothing_unless_it_names_a_key(house: House) -> None:
    house.agent.lies.proof = ...
    assert (await kept(house)).dpop_jkt is None
    assert (await kept(house, dpop_jkt="j" * 43)).dpop_jkt == "j" * 43


async def test_a_key_that_is_named_and_proved_is_that_key(house: House) -> None:
    thumbprint = house.agent.dpop_key.thumbprint
    assert (await kept(house, dpop_jkt=thumbprint)).dpop_jkt == thumbprint


@pytest.mark.requirement("PAR-23", proves="refused")
@pytest.mark.attack("PAR-18")
async def test_a_key_that_is_not_the_proofs_is_refused(house: House) -> None:
    answer = await refused(house, dpop_jkt="j" * 43)
    assert answer == (400, "invalid_dpop_proof", "dpop_jkt differs from the proof's key")


@pytest.mark.attack("PAR-19")
@pytest.mark.parametrize("jkt", ["j" * 42, "j" * 44, "j" * 42 + "=", "j" * 42 + "+", "\u00fc" * 43])
async def test_a_malformed_thumbprint_is_refused(house: House, jkt: str) -> None:
    assert await refused(house, dpop_jkt=jkt) == (400, "invalid_request", "dpop_jkt")


async def test_a_wrong_proof_is_refused_though_none_is_needed(house: House) -> None:
    house.agent.lies.htu = f"{ISSUER}/token"
    assert (await refused(house))[:2] == (400, "invalid_dpop_proof")


# --- who pushes


@pytest.mark.requirement("FAPI2-AZ-4", proves="refused")
@pytest.mark.attack("PAR-02")
async def test_a_bare_client_id_is_no_client(house: House) -> None:
    assert await refused(house, client_assertion=..., client_assertion_type=...) == (
        401,
        "invalid_client",
        "no assertion",
    )


@pytest.mark.requirement("PAR-2", proves="refused")
@pytest.mark.attack("PAR-01")
async def test_a_push_by_nobody_is_refused(house: House) -> None:
    form = {"client_id": ..., "client_assertion": ..., "client_assertion_type": ...}
    assert (await refused(house, **form))[:2] == (401, "invalid_client")


@pytest.mark.requirement("FAPI2-AZ-4", proves="holds")
async def test_an_authenticated_push_is_kept(house: House) -> None:
    assert (await kept(house)).client_id == "agent"


@pytest.mark.requirement("PAR-5", proves="holds")
async def test_the_assertion_names_the_client(house: House) -> None:
    assert (await kept(house, client_id=...)).client_id == "agent"


@pytest.mark.requirement("PAR-5", proves="refused")
@pytest.mark.attack("PAR-12")
async def test_another_client_id_beside_the_assertion_is_refused(house: House) -> None:
    house.client("other")
    answer = await refused(house, client_id="other")
    assert answer == (401, "invalid_client", "client_id differs from the assertion")


@pytest.mark.requirement("FAPI2-AZ-26", proves="refused")
@pytest.mark.attack("PAR-05")
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE"])
async def test_the_endpoint_takes_post_only(house: House, method: str) -> None:
    response = await house.http.request(method, f"{ISSUER}/par")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")


@pytest.mark.requirement("FAPI2-AZ-26", proves="holds")
async def test_the_endpoint_takes_post(house: House) -> None:
    assert (await house.agent.push()).response.request.method == "POST"


@pytest.mark.parametrize(
    ("query", "headers", "detail"),
    [
        ("?x=1", {}, "parameters in the URL"),
        ("", {"content-type": "application/json"}, "content type"),
        ("", {"content-type": "multipart/form-data; boundary=x"}, "content type"),
    ],
)
async def test_parameters_belong_into_a_form_in_the_body(
    house: House, query: str, headers: dict[str, str], detail: str
) -> None:
    sent = {"content-type": "application/x-www-form-urlencoded", **headers}
    response = await house.http.post(f"{ISSUER}/par{query}", content=urlencode({"a": "b"}).encode(), headers=sent)
    assert (response.status_code, response.json()["error"], house.last_detail) == (400, "invalid_request", detail)


async def test_a_push_uses_up_its_assertion_and_its_proof(house: House) -> None:
    message = house.agent.push_request(code_verifier="v" * 43, state="s")
    await house.agent.send(message)  # learns the nonce
    message = house.agent.push_request(code_verifier="v" * 43, state="s")
    assert (await house.agent.send(message)).status_code == 201
    again = await house.agent.send(message)
    assert (again.status_code, again.json()["error"], house.last_detail) == (
        401,
        "invalid_client",
        "assertion replayed",
    )


async def test_a_proof_that_comes_again_with_a_fresh_assertion_is_refused(house: House) -> None:
    await house.agent.push()
    proof = house.agent.proof("POST", f"{ISSUER}/par")
    house.agent.lies.proof = proof
    await house.agent.push()
    with pytest.raises(Refused) as again:
        await house.agent.push()
    assert (again.value.error, house.last_detail) == ("invalid_dpop_proof", "proof replayed")


async def test_a_client_that_changes_while_it_pushes_is_refused(house: House) -> None:
    await house.agent.push()
    commit = house.store.commit

    async def after_a_change(decision: Any, stamp: Any) -> Any:
        house.change_client()
        return await commit(decision, stamp)

    house.store.commit = after_a_change  # type: ignore[method-assign]  # an operator between the read and the write
    with pytest.raises(Refused) as refusal:
        await house.agent.push()
    assert (refusal.value.status, refusal.value.error) == (401, "invalid_client")
    assert house.last_detail == "the client changed"


async def test_without_a_store_nothing_is_pushed(house: House) -> None:
    await house.agent.push()
    commit = house.store.commit

    async def full(decision: Any, stamp: Any) -> Any:
        house.store.unavailable = True
        return await commit(decision, stamp)

    house.store.commit = full  # type: ignore[method-assign]  # the disk is full from here on
    with pytest.raises(Refused) as refusal:
        await house.agent.push(key=PeerKey.es256(seed=99))
    assert (refusal.value.status, refusal.value.error) == (503, "temporarily_unavailable")
