"""A weak or malformed key is refused where it is registered and again where it is used; so is every foreign vector."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any, Final

import pytest

from fapi_as.protocol.client_metadata import InvalidClientMetadata
from tests.support.estate import Estate
from tests.support.fakes import ISSUER
from tests.support.fapi_client import FapiClient, Refused
from tests.support.house import SCOPES, House
from tests.support.token_scene import changes_nothing, refused, warm
from tests.support.weak_keys import WeakKey, weak_keys
from tests.support.wycheproof import CRYPTO, JWE, JWS, present, vectors

KID: Final = "client-key"
WEAK: Final = [pytest.param(key, id=name, marks=pytest.mark.attack(key.case)) for name, key in weak_keys().items()]
ANSWERS: Final = {"assertion": (401, "invalid_client"), "proof": (400, "invalid_dpop_proof")}


@pytest.fixture
def house() -> House:
    return House()


def jwks(weak: WeakKey) -> dict[str, Any]:
    return {"keys": [{**weak.members, "kid": KID}]}


def registration_of(client: FapiClient, weak: WeakKey) -> dict[str, Any]:
    return client.registration(scope=" ".join(SCOPES), jwks=jwks(weak))


@pytest.mark.parametrize("weak", WEAK)
async def test_no_client_is_registered_with_a_weak_key(estate: Estate, weak: WeakKey) -> None:
    before = estate.path.read_bytes()
    registration = registration_of(estate.client(estate.worker()), weak)
    with pytest.raises(InvalidClientMetadata) as refusal:
        estate.operators().add_client(registration, "weak", estate.stamp())
    assert json.dumps(weak.members)[20:60] not in refusal.value.public
    assert estate.path.read_bytes() == before


@pytest.mark.parametrize("weak", WEAK)
async def test_a_weak_key_that_somebody_planted_authenticates_nobody(estate: Estate, weak: WeakKey) -> None:
    worker = estate.worker(nonces=False)
    client = estate.client(worker)
    with closing(sqlite3.connect(estate.path)) as connection, connection:
        ((kept,),) = connection.execute("SELECT registration FROM client WHERE tenant = 'default'").fetchall()
        planted = json.dumps(json.loads(kept) | {"jwks": jwks(weak)})
        connection.execute("UPDATE client SET registration = ? WHERE tenant = 'default'", (planted,))
    header, claims = {"kid": KID}, assertion_claims(client)
    with client.lying(assertion=weak.sign(header, claims)), pytest.raises(Refused) as answer:
        await client.client_credentials()
    assert (answer.value.status, answer.value.error) == (401, "invalid_client")


@pytest.mark.parametrize("weak", WEAK)
async def test_a_proof_under_a_weak_key_binds_nothing(house: House, weak: WeakKey) -> None:
    await warm(house.agent)
    claims = {"htm": "POST", "htu": f"{ISSUER}/token", "iat": house.clock.now(), "jti": "weak"}
    claims |= {"nonce": next(iter(house.agent.nonces.values()))}
    with house.agent.lying(proof=weak.sign({"typ": "dpop+jwt", "jwk": weak.members}, claims)):
        await refused(house, house.agent.client_credentials, *ANSWERS["proof"])


def assertion_claims(client: FapiClient) -> dict[str, Any]:
    now = client.now()
    return {
        "iss": client.client_id,
        "sub": client.client_id,
        "aud": client.issuer,
        "iat": now,
        "exp": now + 60,
        "jti": "weak",
    }


@pytest.mark.attack("JOS-19")
@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("file", [JWE, CRYPTO])
async def test_no_vector_of_encryption_is_opened_at_the_door(
    house: House, kind: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await _shown_at_the_door(house, kind, file, capsys)


@pytest.mark.attack("JOS-28")
@pytest.mark.parametrize("kind", ANSWERS)
async def test_no_signed_vector_is_believed_at_the_door(
    house: House, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await _shown_at_the_door(house, kind, JWS, capsys)


async def _shown_at_the_door(house: House, kind: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    if not present(capsys):
        return
    agent, (status, error) = house.agent, ANSWERS[kind]
    await warm(agent)
    for number, vector in enumerate(vectors(file)):
        house.clock.advance(60 if number % 50 == 0 else 0)  # nobody has more facts of his own in a minute
        lying, unchanged = agent.lying(**{kind: vector.token}), changes_nothing(house, error)
        with lying, unchanged, pytest.raises(Refused) as answer:
            await agent.client_credentials()
        assert (answer.value.status, answer.value.error) == (status, error), vector
    assert (await agent.client_credentials()).access_token
