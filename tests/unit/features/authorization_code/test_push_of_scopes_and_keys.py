"""What a push asks for: scope, resource, key; and who pushes."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.fakes import ISSUER
from tests.support.fapi_client import Refused
from tests.support.house import RESOURCE, House
from tests.support.push_scene import SHOP, kept, refused

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
        "no assertion and no certificate",
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
        await house.agent.push()
    assert (refusal.value.status, refusal.value.error) == (503, "temporarily_unavailable")
