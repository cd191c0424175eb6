"""Server nonces at /par and /token, and what the metadata says of proofs (RFC 9449 §5.1, §8)."""

from __future__ import annotations

import re
from typing import Any

import httpx2
import pytest

from rs_kit.protocol import nonce
from tests.support.fakes import NONCE_KEY
from tests.support.fapi_client import FapiClient
from tests.support.house import House
from tests.support.peer_keys import PeerKey
from tests.support.token_scene import ALGORITHMS, keyed, refused, warm

WINDOW = 120


async def ask(client: FapiClient, endpoint: str, **lies: Any) -> httpx2.Response:
    """One request, without the retry that an honest client makes."""
    with client.lying(**lies):
        if endpoint == "par":
            return await client.send(client.push_request(code_verifier="v" * 43, state="s"))
        return await client.send(client.credentials_request())


@pytest.mark.requirement("DPOP-AS-6", proves="holds")
@pytest.mark.parametrize("name", ALGORITHMS)
async def test_every_advertised_algorithm_makes_proofs(house: House, name: str) -> None:
    client = keyed(house, name)
    metadata = await client.discover()
    assert set(metadata["dpop_signing_alg_values_supported"]) == {"PS256", "ES256", "EdDSA", "Ed25519"}
    assert client.dpop_key.alg in metadata["dpop_signing_alg_values_supported"]
    assert (await client.client_credentials()).token_type == "DPoP"


@pytest.mark.requirement("DPOP-AS-6", proves="refused")
@pytest.mark.parametrize("alg", ["RS256", "PS384", "ES384", "ES256K", "HS256", "none", "es256", "ML-DSA-44"])
async def test_no_other_algorithm_makes_proofs(house: House, alg: str) -> None:
    await warm(house.agent)
    metadata = await house.agent.discover()
    assert alg not in metadata["dpop_signing_alg_values_supported"]
    with house.agent.lying(proof_header={"alg": alg}):
        await refused(house, house.agent.client_credentials, 400, "invalid_dpop_proof")


@pytest.mark.requirement("DPOP-AS-8", proves="holds")
@pytest.mark.parametrize("endpoint", ["par", "token"])
async def test_the_demand_for_a_nonce_brings_exactly_one_and_it_helps(house: House, endpoint: str) -> None:
    answer = await refused(house, lambda: ask(house.agent, endpoint), 400, "use_dpop_nonce")
    (given,) = answer.headers.get_list("dpop-nonce")
    assert re.fullmatch(r"[\x21\x23-\x5B\x5D-\x7E]+", given)  # NQCHAR
    assert len(given) >= 22, "less than 128 bits"
    assert (await ask(house.agent, endpoint)).status_code in (200, 201)


@pytest.mark.requirement("DPOP-AS-8", proves="refused")
@pytest.mark.parametrize("endpoint", ["par", "token"])
@pytest.mark.parametrize(
    "guess", ["A" * 32, "", "1800000000", "é" * 32, nonce.issue(b"x" * 32, now=1, jkt=None, window_seconds=120)]
)
async def test_a_nonce_that_is_not_ours_brings_the_demand_again(house: House, endpoint: str, guess: str) -> None:
    await refused(house, lambda: ask(house.agent, endpoint, nonce=guess), 400, "use_dpop_nonce")


async def test_nonces_of_two_keys_and_two_times_differ(house: House) -> None:
    seen = []
    for key in (PeerKey.es256(seed=1), PeerKey.es256(seed=2)):
        for _ in range(2):
            house.agent.dpop_key = key
            house.agent.nonces.clear()
            seen.append((await ask(house.agent, "token")).headers["dpop-nonce"])
            house.clock.advance(WINDOW)
    assert len(set(seen)) == 4


@pytest.mark.requirement("DPOP-AS-9", proves="holds")
@pytest.mark.parametrize("endpoint", ["par", "token"])
async def test_success_brings_the_newest_nonce_and_the_one_before_still_counts(house: House, endpoint: str) -> None:
    await warm(house.agent)
    (old,) = house.agent.nonces.values()
    house.clock.advance(WINDOW)
    answer = await ask(house.agent, endpoint, nonce=old)
    assert answer.status_code in (200, 201)
    (new,) = answer.headers.get_list("dpop-nonce")
    assert new != old
    assert (await ask(house.agent, endpoint, nonce=new)).status_code in (200, 201)


@pytest.mark.requirement("DPOP-AS-9", proves="refused")
@pytest.mark.parametrize("endpoint", ["par", "token"])
async def test_a_nonce_of_two_windows_ago_is_stale(house: House, endpoint: str) -> None:
    await warm(house.agent)
    (old,) = house.agent.nonces.values()
    house.clock.advance(2 * WINDOW)
    answer = await refused(house, lambda: ask(house.agent, endpoint, nonce=old), 400, "use_dpop_nonce")
    assert answer.headers["dpop-nonce"] != old


@pytest.mark.requirement("DPOP-AS-10", proves="holds")
@pytest.mark.parametrize(("one", "other"), [("par", "token"), ("token", "par")])
async def test_the_endpoints_of_one_server_share_their_nonces(house: House, one: str, other: str) -> None:
    assert (await ask(house.agent, one)).status_code == 400
    assert (await ask(house.agent, other)).status_code in (200, 201)


@pytest.mark.requirement("DPOP-AS-10", proves="refused")
@pytest.mark.parametrize("key", [b"r" * 32, NONCE_KEY[:-1] + b"\x00", b""], ids=["resource server's", "near", "empty"])
async def test_a_nonce_of_a_resource_server_counts_for_nothing_here(house: House, key: bytes) -> None:
    jkt = house.agent.dpop_key.thumbprint
    theirs = nonce.issue(key, now=house.clock.now(), jkt=jkt, window_seconds=WINDOW)
    await refused(house, lambda: ask(house.agent, "token", nonce=theirs), 400, "use_dpop_nonce")
