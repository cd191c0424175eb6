"""A weak or malformed key is refused where it is registered and again where it is used; so is every foreign vector."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from typing import Any, Final

import httpx2
import pytest

from fapi_as.protocol.client_metadata import InvalidClientMetadata
from tests.support.estate import Estate
from tests.support.fake_fetch import FakeFetch
from tests.support.fakes import ISSUER
from tests.support.fapi_client import FapiClient, Refused
from tests.support.house import SCOPES, House
from tests.support.jwt_kinds import Minted, minted
from tests.support.jwt_places import PLACES
from tests.support.peer_keys import PeerKey
from tests.support.published_client import JWKS_URI, fetching, published, publishes, uses
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


@pytest.mark.parametrize("weak", WEAK)
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a good key"])
async def test_a_weak_key_that_a_client_publishes_authenticates_nobody(
    house: House, weak: WeakKey, beside: bool
) -> None:
    await warm(house.agent)
    agent = published_by(house, weak, beside=beside)
    assertion = weak.sign({"kid": "weak"}, assertion_claims(agent))
    lying, unchanged = agent.lying(assertion=assertion), changes_nothing(house, "invalid_client")
    with lying, unchanged, pytest.raises(Refused) as answer:
        await agent.client_credentials()
    assert (answer.value.status, answer.value.error) == ANSWERS["assertion"]
    if beside and weak.is_public:
        assert (await agent.client_credentials()).access_token  # one bad entry does not take the good one with it


@pytest.mark.parametrize("weak", WEAK)
async def test_a_request_object_under_a_weak_key_is_refused(house: House, weak: WeakKey) -> None:
    await warm(house.agent)
    agent = published_by(house, weak, beside=True)
    now = house.clock.now()
    claims = {"iss": "agent", "aud": ISSUER, "client_id": "agent", "nbf": now, "exp": now + 300, "jti": "weak"}
    claims |= {"response_type": "code", "redirect_uri": agent.redirect_uri, "scope": "accounts:read"}
    claims |= {"code_challenge": "c" * 43, "code_challenge_method": "S256", "resource": agent.resource}

    async def push(request: str) -> httpx2.Response:
        endpoint = "pushed_authorization_request_endpoint"
        return await agent.attempt(lambda: agent.form_request(endpoint, {"request": request}))

    good = await push(agent.client_key.sign({"kid": "good"}, claims | {"jti": "good"}))
    if not weak.is_public:  # whoever publishes a secret has no keys at all
        assert good.status_code == 401
        return
    assert good.status_code == 201
    await refused(house, lambda: push(weak.sign({"kid": "weak"}, claims)), 400, "invalid_request_object")


def published_by(house: House, weak: WeakKey, *, beside: bool) -> FapiClient:
    """The client `agent` with the weak key behind its jwks_uri, and a good one beside it."""
    agent, good = house.agent, PeerKey.es256(seed=88)
    entries: list[dict[str, Any]] = [{**weak.members, "kid": "weak"}]
    if beside:
        entries.append(good.jwk(kid="good"))
    fetching(house, FakeFetch(documents={JWKS_URI: published(*entries)}))
    publishes(house)
    uses(agent, good, "good")
    return agent


# --- vectors of others


@pytest.fixture(scope="module")
def issued() -> tuple[House, Minted]:
    """Minted once: whatever is refused uses nothing up."""
    house = House()
    return house, asyncio.run(minted(house))


@pytest.mark.attack("JOS-19")
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("file", [JWE, CRYPTO])
async def test_no_vector_of_encryption_is_opened_anywhere(
    issued: tuple[House, Minted], place: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if not present(capsys):
        return
    house, all_kinds = issued
    tokens = {vector.token for vector in vectors(file) if vector.token.count(".") > 2 or file == JWE}
    assert tokens
    for number, token in enumerate(sorted(tokens)):
        house.source = f"2001:db8:{number:x}::1"  # nobody fails too often
        malformed = place.startswith("token, ") and token.startswith("{")  # no token68: the field itself is refused
        expected = (400, "invalid_request") if malformed else PLACES[place].refusal
        assert await PLACES[place].put(house, all_kinds, token) == expected, token


@pytest.mark.attack("JOS-28")
@pytest.mark.parametrize("kind", ANSWERS)
async def test_no_signed_vector_is_believed_at_the_door(
    house: House, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if not present(capsys):
        return
    agent, (status, error) = house.agent, ANSWERS[kind]
    await warm(agent)
    for number, vector in enumerate(vectors(JWS)):
        house.clock.advance(60 if number % 50 == 0 else 0)  # nobody has more facts of his own in a minute
        lying, unchanged = agent.lying(**{kind: vector.token}), changes_nothing(house, error)
        with lying, unchanged, pytest.raises(Refused) as answer:
            await agent.client_credentials()
        assert (answer.value.status, answer.value.error) == (status, error), vector
    assert (await agent.client_credentials()).access_token
