"""POST /token before any grant is asked: form, client, grant type, proof, nonce; and what a refusal costs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.policy import Policy
from tests.support.fakes import ISSUER
from tests.support.fapi_client import Refused
from tests.support.house import House
from tests.support.peer_keys import PeerKey

TOKEN = f"{ISSUER}/token"


async def refused(house: House, **form: Any) -> tuple[int, str | None, str | None]:
    with house.agent.lying(form=form), pytest.raises(Refused) as raised:
        await house.agent.client_credentials()
    assert house.signer.signed == []
    return raised.value.status, raised.value.error, house.last_detail


async def raw(house: House, body: bytes = b"", query: str = "", **headers: str) -> httpx2.Response:
    sent = {"content-type": "application/x-www-form-urlencoded", **headers}
    return await house.http.post(f"{TOKEN}{query}", content=body, headers=sent)


@pytest.mark.requirement("OA-EP-3", proves="refused")
@pytest.mark.attack("COD-12")
@pytest.mark.parametrize(
    ("query", "headers", "detail"),
    [
        ("?grant_type=client_credentials", {}, "parameters in the URL"),
        ("", {"content-type": "application/json"}, "content type"),
        ("", {"content-type": "multipart/form-data; boundary=x"}, "content type"),
        ("", {"content-type": ""}, "content type"),
    ],
)
async def test_parameters_are_a_form_in_the_body(
    house: House, query: str, headers: dict[str, str], detail: str
) -> None:
    response = await raw(house, urlencode({"grant_type": "client_credentials"}).encode(), query, **headers)
    assert (response.status_code, response.json()["error"], house.last_detail) == (400, "invalid_request", detail)


@pytest.mark.requirement("OA-EP-3", proves="holds")
@pytest.mark.parametrize("charset", ["", "; charset=utf-8", ";charset=UTF-8"])
async def test_a_form_may_name_its_charset(house: House, charset: str) -> None:
    response = await raw(house, b"grant_type=x", **{"content-type": f"Application/X-WWW-Form-Urlencoded{charset}"})
    assert (response.status_code, house.last_detail) == (401, "no assertion and no certificate")


@pytest.mark.attack("COD-13")
@pytest.mark.parametrize(
    ("grant_type", "error"),
    [
        ("implicit", "unsupported_grant_type"),
        ("urn:ietf:params:oauth:grant-type:device_code", "unsupported_grant_type"),
        ("AUTHORIZATION_CODE", "unsupported_grant_type"),
        (..., "invalid_request"),
        ("", "invalid_request"),
        (["client_credentials", "client_credentials"], "invalid_request"),
    ],
)
async def test_a_grant_type_that_is_not_offered(house: House, grant_type: Any, error: str) -> None:
    assert (await refused(house, grant_type=grant_type))[:2] == (400, error)


@pytest.mark.requirement("FAPI2-AS-2", proves="refused")
async def test_the_password_grant_is_refused_even_with_the_right_password(house: House) -> None:
    form = {"grant_type": "password", "username": "alice", "password": "a long enough passphrase"}
    assert (await refused(house, **form))[:2] == (400, "unsupported_grant_type")
    assert house.passwords.asked == []


@pytest.mark.requirement("FAPI2-AS-2", proves="holds")
async def test_the_other_grants_are_there(house: House) -> None:
    assert (await house.agent.client_credentials()).scope == "accounts:read"


@pytest.mark.requirement("OA-EXT-1", proves="refused")
@pytest.mark.attack("COD-14")
async def test_a_grant_type_that_the_client_is_not_registered_for(house: House) -> None:
    house.change_client(grant_types=frozenset({"authorization_code"}))
    assert await refused(house) == (400, "unauthorized_client", "grant_type is not registered for the client")


async def test_authorization_details_that_a_grant_does_not_know_are_refused(house: House) -> None:
    assert (await refused(house, authorization_details="[]"))[:2] == (400, "invalid_authorization_details")


@pytest.mark.requirement("FAPI2-AS-3", proves="refused")
@pytest.mark.parametrize(
    ("form", "detail"),
    [
        ({"client_assertion": ..., "client_assertion_type": ...}, "no assertion and no certificate"),
        ({"client_assertion": ...}, "no assertion and no certificate"),
        (
            {"client_assertion": ..., "client_assertion_type": ..., "client_secret": "s"},
            "no assertion and no certificate",
        ),
    ],
)
async def test_who_proves_nothing_is_no_client(house: House, form: dict[str, Any], detail: str) -> None:
    assert await refused(house, **form) == (401, "invalid_client", detail)


@pytest.mark.attack("CLA-16")
@pytest.mark.parametrize("kind", [..., "", "x", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"])
async def test_another_type_of_assertion_is_refused(house: House, kind: Any) -> None:
    assert await refused(house, client_assertion_type=kind) == (401, "invalid_client", "client_assertion_type")


@pytest.mark.requirement("OA-EP-5", proves="refused")
@pytest.mark.parametrize("how", ["secret", "basic"])
async def test_two_ways_to_authenticate_are_one_too_many(house: House, how: str) -> None:
    if how == "basic":
        house.agent.lies.headers = [("authorization", "Basic YWdlbnQ6c2VjcmV0")]
    form = {"client_secret": "s"} if how == "secret" else {}
    assert await refused(house, **form) == (400, "invalid_request", "two client authentication methods")


@pytest.mark.requirement("OA-EP-5", proves="holds")
async def test_one_way_to_authenticate_is_enough(house: House) -> None:
    assert (await house.agent.client_credentials()).response.status_code == 200


async def test_basic_alone_is_told_what_is_offered(house: House) -> None:
    response = await raw(house, b"grant_type=client_credentials", authorization="Basic YWdlbnQ6c2VjcmV0")
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert response.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.parametrize("name", ["nobody", "", "agent\u00e4", "../agent"])
async def test_an_unknown_client_and_a_wrong_key_look_the_same(house: House, name: str) -> None:
    house.agent.lies.assertion_key = PeerKey.es256()
    with pytest.raises(Refused) as wrong_key:
        await house.agent.client_credentials()
    house.agent.lies.assertion_key, house.agent.client_id = None, name
    with pytest.raises(Refused) as unknown:
        await house.agent.client_credentials()
    assert wrong_key.value.response.json() == unknown.value.response.json()
    assert wrong_key.value.status == unknown.value.status == 401


# --- proof and nonce


@pytest.mark.requirement("FAPI2-AS-12", proves="holds")
async def test_the_first_request_is_asked_for_a_nonce_and_the_next_is_given_one(house: House) -> None:
    tokens = await house.agent.client_credentials()
    assert [status for _, path, status in house.log if path == "/token"] == [400, 200]
    assert house.facts()[0] == (AuditEvent.REFUSED, "use_dpop_nonce", "no nonce")
    assert tokens.response.headers.get_list("dpop-nonce")
    await house.agent.client_credentials()
    assert [status for _, path, status in house.log if path == "/token"] == [400, 200, 200]


@pytest.mark.attack("DPA-12")
async def test_a_nonce_is_good_for_its_key_and_its_time(house: House) -> None:
    await house.agent.client_credentials()
    good = house.agent.nonces[ISSUER, house.agent.dpop_key.thumbprint]
    other = PeerKey.es256()
    for nonce, key in ((..., None), ("wrong", None), (good + "x", None), (good, other)):
        house.agent.lies.nonce = nonce
        with pytest.raises(Refused) as raised:
            await house.agent.client_credentials(key=key)
        assert (raised.value.status, raised.value.error) == (400, "use_dpop_nonce")
        assert raised.value.response.headers["dpop-nonce"] not in {"wrong", good + "x"}
        assert "no-store" in raised.value.response.headers["cache-control"]
    house.agent.lies.nonce = good
    house.clock.advance(timedelta(seconds=119))
    assert (await house.agent.client_credentials()).scope == "accounts:read"
    house.clock.advance(timedelta(seconds=242))
    with pytest.raises(Refused) as stale:
        await house.agent.client_credentials()
    assert stale.value.error == "use_dpop_nonce"


@pytest.mark.attack("DPA-13")
@pytest.mark.parametrize("nonce", ["a b\r\nx: y", "n" * 10_240, 7, "\u00fc"])
async def test_a_nonce_that_is_none_is_not_echoed(house: House, nonce: Any) -> None:
    house.agent.lies.nonce = nonce
    with pytest.raises(Refused) as raised:
        await house.agent.client_credentials()
    assert raised.value.status == 400
    assert raised.value.error in {"invalid_dpop_proof", "use_dpop_nonce"}
    assert str(nonce) not in str(raised.value.response.headers)


async def test_without_nonces_there_is_no_header_and_no_second_trip() -> None:
    house = House(policy=Policy(tenant="default", issuer=ISSUER, dpop_nonces=False))
    tokens = await house.agent.client_credentials()
    assert "dpop-nonce" not in tokens.response.headers
    assert len(house.log) == 1


@pytest.mark.attack("DPA-01")
async def test_two_proofs_are_refused_even_when_both_are_good(house: House) -> None:
    await house.agent.client_credentials()
    proofs = [house.agent.proof("POST", TOKEN) for _ in range(2)]
    for sent in (proofs, [", ".join(proofs)], [""]):
        house.agent.lies.proof = sent
        with pytest.raises(Refused) as raised:
            await house.agent.client_credentials()
        assert (raised.value.status, raised.value.error) == (400, "invalid_dpop_proof")


@pytest.mark.attack("DPA-07")
@pytest.mark.parametrize("htu", [f"{ISSUER}/par", ISSUER, "http://as.example/token", "https://as.example:8444/token"])
async def test_a_proof_for_another_address_is_refused(house: House, htu: str) -> None:
    await house.agent.client_credentials()
    house.agent.lies.htu = htu
    with pytest.raises(Refused) as raised:
        await house.agent.client_credentials()
    assert (raised.value.status, raised.value.error) == (400, "invalid_dpop_proof")


async def test_the_address_of_a_proof_is_never_taken_from_host(house: House) -> None:
    await house.agent.client_credentials()
    house.agent.lies.headers = [("host", "evil.example"), ("x-forwarded-host", "evil.example")]
    assert (await house.agent.client_credentials()).scope == "accounts:read"
    house.agent.lies.htu = "https://evil.example/token"
    with pytest.raises(Refused) as raised:
        await house.agent.client_credentials()
    assert raised.value.error == "invalid_dpop_proof"


@pytest.mark.attack("DPA-06")
@pytest.mark.parametrize("htm", ["GET", "post", ..., 1])
async def test_a_proof_for_another_method_is_refused(house: House, htm: Any) -> None:
    await house.agent.client_credentials()
    house.agent.lies.htm = htm
    with pytest.raises(Refused) as raised:
        await house.agent.client_credentials()
    assert raised.value.error == "invalid_dpop_proof"


# --- what is spent


@pytest.mark.attack("CLA-09")
async def test_an_assertion_is_good_once_at_whatever_endpoint(house: House) -> None:
    await house.agent.client_credentials()
    house.agent.lies.assertion = house.agent.assertion()
    await house.agent.push()
    with pytest.raises(Refused) as raised:
        await house.agent.client_credentials()
    assert (raised.value.status, raised.value.error) == (401, "invalid_client")
    assert house.last_detail == "assertion replayed"


@pytest.mark.attack("RAC-03")
async def test_one_proof_with_sixteen_assertions_at_once_is_one_token(house: House) -> None:
    await house.agent.client_credentials()
    house.agent.lies.proof = house.agent.proof("POST", TOKEN)
    messages = [house.agent.credentials_request() for _ in range(16)]
    answers = await asyncio.gather(*(house.agent.send(message) for message in messages))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 15
    assert {answer.json().get("error") for answer in answers} == {None, "invalid_dpop_proof"}


async def test_a_refusal_spends_nothing(house: House) -> None:
    await house.agent.client_credentials()
    before = dict(house.store.rows.once)
    for form in ({"resource": "https://unknown.example"}, {"scope": "admin"}, {"grant_type": "x"}):
        with house.agent.lying(form=form), pytest.raises(Refused):
            await house.agent.client_credentials()
    assert house.store.rows.once == before


async def test_every_refusal_after_authentication_is_one_fact_with_the_client(house: House) -> None:
    await house.agent.client_credentials()
    known = len(house.store.facts)
    for form in ({"resource": "https://unknown.example"}, {"scope": "admin"}, {"grant_type": "x"}):
        with house.agent.lying(form=form), pytest.raises(Refused):
            await house.agent.client_credentials()
    facts = house.store.facts[known:]
    assert [(fact.event, fact.client_id) for fact in facts] == [(AuditEvent.REFUSED, "agent")] * 3
    assert all(fact.detail for fact in facts)


async def test_a_store_that_goes_down_in_between_gives_no_token(house: House) -> None:
    await house.agent.client_credentials()
    commit = house.store.commit

    async def full(decision: Any, stamp: Any) -> Any:
        house.store.unavailable = True
        return await commit(decision, stamp)

    house.store.commit = full  # type: ignore[method-assign]  # the disk is full from here on
    with pytest.raises(Refused) as raised:
        await house.agent.client_credentials()
    assert (raised.value.status, raised.value.error) == (503, "temporarily_unavailable")
    assert "access_token" not in raised.value.response.text


async def test_a_store_that_is_down_while_reading_gives_503(house: House) -> None:
    house.store.unavailable = True
    with pytest.raises(Refused) as raised:
        await house.agent.client_credentials()
    assert (raised.value.status, raised.value.response.headers["retry-after"]) == (503, "2")
