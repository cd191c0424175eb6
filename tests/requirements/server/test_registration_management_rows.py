"""Managing a registration (RFC 7592): by its token alone, and gone when it is removed."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.handles import digest_of
from tests.support.fakes import ISSUER
from tests.support.fapi_client import Refused, error_of
from tests.support.house import PASSWORD, callback, page
from tests.support.peer_keys import PeerKey
from tests.support.registration_house import (
    METADATA_ERROR,
    NO_STORE,
    REGISTER,
    UNAUTHORIZED,
    RegistrationHouse,
    by_token,
    managed,
    nothing_kept,
    refused,
    registered,
)

METHODS: Final = ("GET", "PUT", "DELETE")


@pytest.fixture
def house() -> RegistrationHouse:
    return RegistrationHouse()


# --- DCM-1 to DCM-4: the token and its address


@pytest.mark.requirement("DCM-1", proves="holds")
async def test_each_client_has_an_address_and_a_token_of_its_own(house: RegistrationHouse) -> None:
    first, second = await registered(house), await registered(house, seed=2)
    addresses = [agent.information["registration_client_uri"] for agent in (first, second)]
    assert addresses == [f"{REGISTER}/{agent.client_id}" for agent in (first, second)]
    assert len(set(addresses)) == 2
    for agent in (first, second):
        assert (await agent.manage("GET")).json()["client_id"] == agent.client_id


@pytest.mark.requirement("DCM-1", proves="refused")
@pytest.mark.parametrize("method", METHODS)
async def test_the_token_of_one_client_opens_no_other(house: RegistrationHouse, method: str) -> None:
    victim, thief = await registered(house), await registered(house, seed=2)
    stolen = {"token": thief.information["registration_access_token"]}
    body = victim.replacement() if method == "PUT" else None
    with nothing_kept(house):
        await refused(house, await victim.manage(method, body, **stolen), UNAUTHORIZED, "another one")
    assert (await victim.manage("GET")).status_code == 200


@pytest.mark.requirement("DCM-2", proves="holds")
async def test_an_update_gives_another_token_whose_first_use_ends_the_old_one(house: RegistrationHouse) -> None:
    agent = await by_token(house)
    old = agent.information["registration_access_token"]
    assert (await managed(agent, "PUT")).status_code == 200
    new = agent.information["registration_access_token"]
    assert old != new
    assert len(new) == 43
    assert new not in repr(house.store.rows)
    assert (await agent.manage("GET", token=old)).status_code == 200  # the answer may have been lost
    assert (await agent.manage("GET", token=new)).status_code == 200
    assert house.kept[agent.client_id].previous_token_digest is None
    assert (await agent.manage("GET", token=old)).status_code == 401


@pytest.mark.requirement("DCM-2", proves="refused")
@pytest.mark.parametrize("method", METHODS)
async def test_a_token_that_was_replaced_and_one_without_its_key_are_refused(
    house: RegistrationHouse, method: str
) -> None:
    agent = await by_token(house)
    old = agent.information["registration_access_token"]
    await managed(agent, "PUT")
    await agent.manage("GET")
    with nothing_kept(house):
        await refused(house, await managed(agent, method, token=old), UNAUTHORIZED, "another one")
    bound = await registered(house, seed=2, binds=True)
    await bound.manage("GET")
    with nothing_kept(house):
        bound.binds = False
        await refused(house, await managed(bound, method), UNAUTHORIZED, "scheme")
        bound.binds, mine, bound.dpop_key = True, bound.dpop_key, PeerKey.es256(seed=666)
        response = await managed(bound, method)
        await refused(house, response, UNAUTHORIZED, "another key")
        bound.dpop_key = mine
        with bound.lying(proof=...):
            await refused(house, await managed(bound, method), (401, "invalid_dpop_proof"), "no proof")
        with bound.lying(htu=REGISTER):
            await refused(house, await managed(bound, method), (401, "invalid_dpop_proof"))
    assert (await managed(bound, method)).status_code in {200, 204}


async def test_a_proof_is_spent_with_what_it_did(house: RegistrationHouse) -> None:
    agent = await registered(house, binds=True)
    await agent.manage("GET")
    message = agent.manage_request("GET")
    assert (await agent.send(message, method="GET")).status_code == 200
    with nothing_kept(house):
        await refused(house, await agent.send(message, method="GET"), (401, "invalid_dpop_proof"))


@pytest.mark.requirement("DCM-3", proves="holds")
async def test_the_token_in_its_header_is_enough(house: RegistrationHouse) -> None:
    agent = await registered(house)
    for method in METHODS:
        assert (await managed(agent, method)).status_code == (204 if method == "DELETE" else 200)


@pytest.mark.requirement("DCM-3", proves="refused")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("said", [..., "Basic YTpi", f"Bearer {'z' * 43}"])
async def test_without_its_token_a_registration_is_a_protected_resource(
    house: RegistrationHouse, method: str, said: Any
) -> None:
    agent = await registered(house)
    with nothing_kept(house), agent.lying(authorization=said):
        response = await refused(house, await managed(agent, method), UNAUTHORIZED)
    challenges = response.headers.get_list("www-authenticate")
    assert [challenge.partition(" ")[0] for challenge in challenges] == ["DPoP", "Bearer"]
    is_wrong = str(said).startswith("Bearer")
    assert all(('error="invalid_token"' in challenge) == is_wrong for challenge in challenges)


@pytest.mark.parametrize("method", METHODS)
async def test_a_token_in_the_url_or_in_the_body_opens_nothing(house: RegistrationHouse, method: str) -> None:
    agent = await registered(house)
    token, url = agent.information["registration_access_token"], agent.information["registration_client_uri"]
    with nothing_kept(house):
        in_url = await agent.manage(method, token=None, url=f"{url}?access_token={token}")
        await refused(house, in_url, (400, "invalid_request"))
        in_body = await agent.manage(method, {"access_token": token, **agent.replacement()}, token=None)
        await refused(house, in_body, UNAUTHORIZED)
        also_in_url = await agent.manage(method, url=f"{url}?access_token={token}")
        await refused(house, also_in_url, (400, "invalid_request"))


@pytest.mark.requirement("DCM-4", proves="holds")
async def test_the_token_opens_the_registration_that_it_is_for_as_long_as_there_is_one(
    house: RegistrationHouse,
) -> None:
    agent = await registered(house)
    assert (await agent.manage("GET")).status_code == 200
    assert (await agent.manage("DELETE")).status_code == 204


@pytest.mark.requirement("DCM-4", proves="refused")
@pytest.mark.parametrize("method", METHODS)
async def test_of_a_client_that_is_gone_or_never_was_nothing_is_told(house: RegistrationHouse, method: str) -> None:
    agent, other = await registered(house), await registered(house, seed=2)
    await agent.manage("DELETE")
    with nothing_kept(house):
        gone = await refused(house, await managed(agent, method), UNAUTHORIZED, "no such registration")
        nobody = await managed(other, method, url=f"{REGISTER}/client-that-never-was")
        await refused(house, nobody, UNAUTHORIZED, "no such registration")
        operators = await managed(other, method, url=f"{REGISTER}/agent")
        await refused(house, operators, UNAUTHORIZED, "no such registration")
    assert gone.json() == nobody.json() == operators.json()
    old = agent.information["registration_access_token"]
    await agent.registered()  # the same software again: its former token opens nothing
    with nothing_kept(house):
        await refused(house, await managed(agent, method, token=old), UNAUTHORIZED)


# --- DCM-5: what is not permitted


@pytest.mark.requirement("DCM-5", proves="holds")
async def test_what_a_token_let_in_may_change_itself_as_long_as_the_token_stands(house: RegistrationHouse) -> None:
    agent = await by_token(house)
    response = await agent.manage("PUT", agent.replacement(client_name="Another name"))
    assert (response.status_code, response.json()["client_name"]) == (200, "Another name")
    (fact,) = house.store.facts_of(AuditEvent.CLIENT_UPDATED)
    assert (fact.client_id, fact.detail) == (
        agent.client_id,
        "approved by token:for-7001; changed: client_name",
    )


@pytest.mark.requirement("DCM-5", proves="refused")
async def test_what_a_revoked_token_let_in_may_read_and_leave_and_not_change(house: RegistrationHouse) -> None:
    agent = await by_token(house)
    house.store.suspend("token:for-7001")
    with nothing_kept(house):
        response = await agent.manage("PUT", agent.replacement(client_name="Another name"))
        await refused(house, response, (403, "access_denied"))
    assert house.store.facts[-1].client_id == agent.client_id
    assert (await agent.manage("GET")).json()["client_name"] == "Honest agent"
    assert (await agent.client_credentials()).access_token
    assert (await agent.manage("DELETE")).status_code == 204


# --- DCM-6: reading


@pytest.mark.requirement("DCM-6", proves="holds")
async def test_reading_tells_what_the_last_answer_told(house: RegistrationHouse) -> None:
    agent = await by_token(house)
    created = agent.information
    assert (await agent.manage("GET")).json() == created
    await agent.manage("PUT", agent.replacement(client_name="Another name", tos_uri="https://agent.example/terms"))
    response = await agent.manage("GET")
    assert response.json() == agent.information
    assert response.headers["cache-control"] == NO_STORE
    assert agent.information["client_id_issued_at"] == created["client_id_issued_at"]
    assert (await agent.manage("HEAD")).status_code == 200


@pytest.mark.requirement("DCM-6", proves="refused")
async def test_whoever_may_not_read_learns_nothing_of_what_is_registered(house: RegistrationHouse) -> None:
    agent = await registered(house)
    with nothing_kept(house):
        response = await refused(house, await agent.manage("GET", token=None), UNAUTHORIZED)
    assert agent.client_id not in response.text
    assert "Honest agent" not in response.text


# --- DCM-10: removing


@pytest.mark.requirement("DCM-10", proves="holds")
async def test_removing_a_registration_answers_204_and_nothing_else(house: RegistrationHouse) -> None:
    agent = await registered(house)
    response = await agent.manage("DELETE")
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["cache-control"] == NO_STORE
    assert agent.client_id not in house.kept
    (fact,) = house.store.facts_of(AuditEvent.CLIENT_UNREGISTERED)
    assert fact.client_id == agent.client_id


@pytest.mark.requirement("DCM-10", proves="refused")
async def test_nothing_of_a_removed_client_survives_it(house: RegistrationHouse) -> None:
    agent = await registered(house)
    agent.scope = "accounts:read openid"
    house.trust(uses_per_statement=1)
    agent.scope = "accounts:read"
    tokens = await agent.obtain(username="alice", password=PASSWORD)
    pushed, waiting = await agent.push(), await agent.push()
    code = callback(await agent.visit(waiting, username="alice", password=PASSWORD))
    await agent.manage("DELETE")
    attempts = {
        "push": agent.push,
        "code": lambda: agent.redeem(code, waiting),
        "refresh": lambda: agent.refresh(tokens.refresh_token or ""),
        "itself": agent.client_credentials,
    }
    for name, attempt in attempts.items():
        with pytest.raises(Refused) as raised:
            await attempt()
        assert (raised.value.status, raised.value.error) == (401, "invalid_client"), name
    place = page(await agent.browser.open(agent.authorization_url(pushed)))
    assert place.error in {"unauthorized_client", "invalid_request_uri"}
    assert {row.authorization_id for row in house.store.rows.authorizations.values()} == house.store.rows.revoked
    assert (await agent.manage("GET")).status_code == 401


async def test_an_access_token_of_a_removed_client_is_told_nothing_at_our_own_endpoint(
    house: RegistrationHouse,
) -> None:
    agent = house.registrant(scope="openid profile", resource=None)
    await agent.registered()
    tokens = await agent.obtain(username="alice", password=PASSWORD)
    assert (await agent.call(tokens, f"{ISSUER}/userinfo", method="GET")).status_code == 200
    await agent.manage("DELETE")
    response = await agent.call(tokens, f"{ISSUER}/userinfo", method="GET")
    assert (response.status_code, error_of(response)) == UNAUTHORIZED


# --- DCM-11: what else is asked of the address


@pytest.mark.requirement("DCM-11", proves="holds")
async def test_no_answer_is_cached_or_readable_from_another_origin(house: RegistrationHouse) -> None:
    agent = await registered(house)
    with agent.lying(headers=[("origin", "https://evil.example")]):
        answers = [await managed(agent, method) for method in METHODS]
    for response in answers:
        assert response.headers["cache-control"] == NO_STORE
        assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.requirement("DCM-11", proves="refused")
@pytest.mark.parametrize("method", ["PATCH", "POST", "OPTIONS", "TRACE"])
async def test_other_methods_are_told_which_there_are(house: RegistrationHouse, method: str) -> None:
    agent = await registered(house)
    with agent.lying(headers=[("origin", "https://evil.example"), ("access-control-request-method", "PUT")]):
        response = await agent.manage(method)
    assert (response.status_code, response.headers["allow"]) == (405, "DELETE, GET, HEAD, PUT")
    assert not [name for name in response.headers if name.startswith("access-control")]
    assert agent.client_id in house.kept


# --- ATT-T-18: whoever steals the token or the answer


@pytest.mark.requirement("ATT-T-18", proves="holds")
async def test_who_registered_stays_its_master_by_using_its_newest_token(house: RegistrationHouse) -> None:
    agent = await registered(house, binds=True)
    for _ in range(3):
        assert (await managed(agent, "PUT")).status_code == 200
    assert (await agent.manage("GET")).status_code == 200
    kept = house.kept[agent.client_id]
    assert kept.token_digest == digest_of(agent.information["registration_access_token"])
    assert kept.previous_token_digest is None


@pytest.mark.requirement("ATT-T-18", proves="refused")
@pytest.mark.parametrize("theft", ["keys", "redirect URI", "name", "with the token of the statement's holder"])
async def test_a_stolen_token_takes_over_nothing_that_the_statement_says(house: RegistrationHouse, theft: str) -> None:
    agent = await registered(house, binds=theft.startswith("with"))
    await agent.manage("GET")
    thief = PeerKey.es256(seed=666)
    stolen: dict[str, dict[str, Any]] = {
        "keys": {"jwks": {"keys": [thief.jwk(kid="client-key", alg="ES256", use="sig")]}},
        "redirect URI": {"redirect_uris": ["https://evil.example/callback"]},
        "name": {"client_name": "Your bank"},
    }
    with nothing_kept(house):
        if theft in stolen:
            response = await agent.manage("PUT", agent.replacement(**stolen[theft]))
            code = "invalid_redirect_uri" if theft == "redirect URI" else "invalid_client_metadata"
            await refused(house, response, (400, code))
        else:
            agent.binds = False
            await refused(house, await managed(agent, "PUT"), UNAUTHORIZED)


async def test_what_comes_too_often_with_a_wrong_token_is_not_listened_to(house: RegistrationHouse) -> None:
    agent, other = await registered(house), await registered(house, seed=2)
    for _ in range(100):
        assert (await agent.manage("GET", token="w" * 43)).status_code == 401
    response = await agent.manage("GET", token="w" * 43)
    assert (response.status_code, response.headers["retry-after"]) == (429, "60")
    assert (await other.manage("GET")).status_code == 200


async def test_a_body_that_is_no_json_object_replaces_nothing(house: RegistrationHouse) -> None:
    agent = await registered(house)
    for body in (b"[]", b"{", json.dumps(agent.replacement()).encode().replace(b"{", b'{"client_id":"x",', 1)):
        with nothing_kept(house):
            response = await agent.send(agent.manage_request("PUT", body), method="PUT")
            await refused(house, response, METADATA_ERROR)
