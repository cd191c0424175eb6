"""Assertions and proofs that are bent in every way the catalogue knows (JOS): one answer per entry point, no cost."""

from __future__ import annotations

import base64
import json
from typing import Any, Final

import pytest

from tests.support.bent_tokens import BENDS, ORDER, Bend, L, parts, raw, signed
from tests.support.fakes import ISSUER
from tests.support.fapi_client import FapiClient
from tests.support.house import House
from tests.support.peer_keys import PeerKey, as_json, b64
from tests.support.token_scene import keyed, refused, warm

CASES = [pytest.param(bend, id=name, marks=pytest.mark.attack(case)) for name, (case, bend) in BENDS.items()]


@pytest.fixture
def house() -> House:
    return House()


def honest(client: FapiClient, kind: str) -> tuple[PeerKey, dict[str, Any], dict[str, Any]]:
    """Key, header and claims of what this client would send now."""
    if kind == "assertion":
        key, token = client.client_key, client.assertion()
    else:
        key, token = client.dpop_key, client.proof("POST", f"{ISSUER}/token")
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "===")) for part in token.split(".")[:2])
    return key, header, claims


ANSWERS: Final = {"assertion": (401, "invalid_client"), "proof": (400, "invalid_dpop_proof")}


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("bend", CASES)
async def test_a_bent_token_is_refused_where_it_is_shown(house: House, kind: str, bend: Bend) -> None:
    await warm(house.agent)
    token = bend(*honest(house.agent, kind))
    with house.agent.lying(**{kind: token}):
        answer = await refused(house, house.agent.client_credentials, *ANSWERS[kind])
    assert token[-20:] not in answer.text  # JOS-26


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.attack("JOS-04")
async def test_the_other_root_of_an_ecdsa_signature_makes_no_second_request(house: House, kind: str) -> None:
    agent = house.agent
    await warm(agent)
    key, header, claims = honest(agent, kind)
    first, second, octets = parts(key, header, claims)
    bent = ORDER - int.from_bytes(octets[32:], "big")
    tokens = [f"{first}.{second}.{b64(value)}" for value in (octets, octets[:32] + bent.to_bytes(32, "big"))]
    with agent.lying(**{kind: tokens[0]}):
        assert (await agent.client_credentials()).access_token
    with agent.lying(**{kind: tokens[1]}):
        await refused(house, agent.client_credentials, *ANSWERS[kind], unsent=1)


@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.attack("JOS-04")
async def test_an_ed25519_signature_beyond_the_order_is_refused(house: House, kind: str) -> None:
    client = keyed(house, "Ed25519")
    await warm(client)
    first, second, octets = parts(*honest(client, kind))
    beyond = int.from_bytes(octets[32:], "little") + L
    token = f"{first}.{second}.{b64(octets[:32] + beyond.to_bytes(32, 'little'))}"
    with client.lying(**{kind: token}):
        await refused(house, client.client_credentials, *ANSWERS[kind])


@pytest.mark.attack("JOS-08")
@pytest.mark.parametrize(
    "kid",
    ["../../../../dev/null", "' OR 1=1--", "| id", "%00", "https://evil.example", "k" * 257, 7, None, [], ""],
    ids=lambda kid: str(kid)[:9],
)
async def test_a_strange_kid_names_no_key(house: House, kid: Any) -> None:
    await warm(house.agent)
    key, header, claims = honest(house.agent, "assertion")
    with house.agent.lying(assertion=signed(key, header | {"kid": kid}, claims)):
        await refused(house, house.agent.client_credentials, 401, "invalid_client")
    assert not [fact for fact in house.store.facts if "dev/null" in str(fact)]


@pytest.mark.attack("JOS-14")
@pytest.mark.parametrize(
    "number", ["1e400", "Infinity", "NaN", "-1", "-0.5", "true", '"123"', "null", "[1]", "{}", "9" * 4000, "9" * 5000]
)
@pytest.mark.parametrize(("kind", "name"), [("assertion", "exp"), ("proof", "iat")])
async def test_a_number_that_is_no_date_is_refused(house: House, kind: str, name: str, number: str) -> None:
    await warm(house.agent)
    key, header, claims = honest(house.agent, kind)
    payload = as_json(claims | {name: "HERE"}).replace(b'"HERE"', number.encode())
    token = raw(key, as_json({"alg": key.alg, **header}), payload)
    with house.agent.lying(**{kind: token}):
        await refused(house, house.agent.client_credentials, *ANSWERS[kind])
