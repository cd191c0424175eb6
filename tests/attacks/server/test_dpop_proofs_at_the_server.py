"""Proofs that lie, at the push and at the token endpoint (catalogue DPA): each has its own answer and costs nothing."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.fakes import ISSUER, NOW
from tests.support.fapi_client import FapiClient
from tests.support.house import House
from tests.support.peer_keys import PeerKey, b64
from tests.support.token_scene import ALGORITHMS, keyed, refused, warm

pytestmark = pytest.mark.parametrize("endpoint", ["par", "token"])
OTHER = PeerKey.es256(seed=666)
RSA = PeerKey.ps256()
K1 = PeerKey(ec.derive_private_key(77, ec.SECP256K1()), "ES256K")
OCT = {"kty": "oct", "k": b64(b"k" * 32)}


@pytest.fixture
def house() -> House:
    return House()


async def ask(client: FapiClient, endpoint: str, **lies: Any) -> httpx2.Response:
    with client.lying(**lies):
        if endpoint == "par":
            return await client.send(client.push_request(code_verifier="v" * 43, state="s"))
        return await client.send(client.credentials_request())


async def wrong(house: House, endpoint: str, error: str = "invalid_dpop_proof", **lies: Any) -> httpx2.Response:
    await warm(house.agent)
    return await refused(house, lambda: ask(house.agent, endpoint, **lies), 400, error)


async def right(house: House, endpoint: str, **lies: Any) -> None:
    await warm(house.agent)
    answer = await ask(house.agent, endpoint, **lies)
    assert answer.status_code in (200, 201), answer.text


@pytest.mark.attack("DPA-02")
@pytest.mark.parametrize("typ", [..., "JWT", "at+jwt", "jwt", "dpop", "", 1, None, ["dpop+jwt"], "text/dpop+jwt"])
async def test_another_type_is_no_proof(house: House, endpoint: str, typ: Any) -> None:
    await wrong(house, endpoint, proof_header={"typ": typ})


@pytest.mark.attack("DPA-02")
@pytest.mark.parametrize("typ", ["dpop+JWT", "DPOP+jwt", "application/dpop+jwt", "APPLICATION/DPOP+JWT"])
async def test_the_type_is_compared_as_a_media_type(house: House, endpoint: str, typ: str) -> None:
    await right(house, endpoint, proof_header={"typ": typ})


@pytest.mark.attack("DPA-03")
@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "RS256", "jwk": RSA.jwk()},
        {"alg": "HS256", "jwk": OCT},
        {"alg": "ES256K", "jwk": K1.jwk()},
        {"alg": "XX999"},
        {"alg": None},
        {"alg": 256},
    ],
    ids=lambda header: str(header["alg"]),
)
async def test_another_algorithm_is_no_proof(house: House, endpoint: str, header: dict[str, Any]) -> None:
    await wrong(house, endpoint, proof_header=header)


@pytest.mark.attack("DPA-04")
@pytest.mark.parametrize("secret", ["EC", "RSA", "RSA primes", "OKP", "oct"])
async def test_a_key_that_is_not_public_is_refused(house: House, endpoint: str, secret: str) -> None:
    private = RSA.private_jwk()
    key, jwk = {
        "EC": (house.agent.dpop_key, house.agent.dpop_key.private_jwk()),
        "RSA": (RSA, RSA.jwk(d=private["d"])),
        "RSA primes": (RSA, RSA.jwk(p=private["p"], q=private["q"])),
        "OKP": ((okp := PeerKey.ed25519()), okp.private_jwk()),
        "oct": (house.agent.dpop_key, OCT),
    }[secret]
    house.agent.dpop_key = key
    answer = await wrong(house, endpoint, proof_header={"jwk": jwk})
    assert "d" not in answer.json()


@pytest.mark.attack("DPA-05")
@pytest.mark.parametrize("what", ["another key", "no jwk", "jwk is text", "x5c", "jku", "two names", "empty signature"])
async def test_the_signature_is_of_the_key_in_the_header_and_of_no_other(
    house: House, endpoint: str, what: str
) -> None:
    lies: dict[str, dict[str, Any]] = {
        "another key": {"proof_key": OTHER},
        "no jwk": {"proof_header": {"jwk": ...}},
        "jwk is text": {"proof_header": {"jwk": json.dumps(OTHER.jwk())}},
        "x5c": {"proof_header": {"x5c": ["AAAA"]}},
        "jku": {"proof_header": {"jku": "https://evil.example/jwks"}},
        "two names": {"proof_header": {"kid": "one", "jwk": house.agent.dpop_key.jwk(kid="other")}},
        "empty signature": {},
    }
    if what == "empty signature":
        honest = house.agent.proof("POST", f"{ISSUER}/{endpoint}")
        lies[what] = {"proof": honest.rpartition(".")[0] + "."}
    await wrong(house, endpoint, **lies[what])


@pytest.mark.attack("DPA-06")
@pytest.mark.parametrize("htm", ["GET", "post", "Post", "POST ", ..., 1, None, ["POST"], ""])
async def test_another_method_is_refused(house: House, endpoint: str, htm: Any) -> None:
    await wrong(house, endpoint, htm=htm)


@pytest.mark.attack("DPA-07")
@pytest.mark.parametrize(
    "htu",
    [
        "{other}",
        ISSUER,
        ISSUER + "/",
        "https://mtls.as.example/{own}",
        "http://as.example/{own}",
        "https://as.example:8443/{own}",
        "https://as.example/t/acme/{own}",
        "https://as.example/{own}/",
        "https://as.example./{own}",
        "/{own}",
        "",
        ...,
        7,
    ],
)
async def test_another_address_is_refused(house: House, endpoint: str, htu: Any) -> None:
    if isinstance(htu, str):
        other = f"{ISSUER}/{'token' if endpoint == 'par' else 'par'}"
        htu = htu.format(own=endpoint, other=other)
    await wrong(house, endpoint, htu=htu)


@pytest.mark.attack("DPA-08")
@pytest.mark.parametrize(
    "htu",
    [
        "https://as.example/{own}?a=b",
        "https://as.example/{own}#f",
        "HTTPS://AS.Example/{own}",
        "https://as.example:443/{own}",
        "https://as.example/./x/../{own}",
        "https://as.example/{escaped}",
    ],
)
async def test_the_address_is_compared_in_normal_form(house: House, endpoint: str, htu: str) -> None:
    escaped = f"%{ord(endpoint[0]):02x}{endpoint[1:]}"
    await right(house, endpoint, htu=htu.format(own=endpoint, escaped=escaped))


@pytest.mark.attack("DPA-08")
@pytest.mark.parametrize(
    "htu", ["https://as.example/{upper}", "https://as.example//{own}", "https://as.example/%2f{own}"]
)
async def test_the_normal_form_of_another_path_is_another_path(house: House, endpoint: str, htu: str) -> None:
    await wrong(house, endpoint, htu=htu.format(own=endpoint, upper=endpoint.upper()))


@pytest.mark.attack("DPA-09")
@pytest.mark.parametrize("iat", [NOW - 3600, NOW - 61, NOW + 31, NOW + 3600, ..., str(NOW), NOW + 0.5, 0, -1, True])
async def test_another_time_is_refused(house: House, endpoint: str, iat: Any) -> None:
    await wrong(house, endpoint, iat=iat)


@pytest.mark.attack("DPA-09")
@pytest.mark.parametrize("iat", [NOW - 60, NOW - 10, NOW + 10, NOW + 30, float(NOW)])
async def test_a_clock_that_is_a_little_off_is_accepted(house: House, endpoint: str, iat: Any) -> None:
    await right(house, endpoint, iat=iat)


@pytest.mark.attack("DPA-11")
@pytest.mark.parametrize("jti", [..., "", 1, None, ["a"], "j" * 1025, "j" * 100 * 1024], ids=lambda jti: str(jti)[:9])
async def test_a_jti_that_is_none_or_too_long_is_refused(house: House, endpoint: str, jti: Any) -> None:
    await wrong(house, endpoint, jti=jti)


@pytest.mark.attack("DPA-11")
async def test_a_long_jti_is_kept_as_a_digest(house: House, endpoint: str) -> None:
    await right(house, endpoint, jti="j" * 1024)
    assert {len(digest) for _, digest in house.store.rows.once} == {32}


@pytest.mark.attack("DPA-13")
@pytest.mark.parametrize(
    ("nonce", "error"),
    [
        ('"\\\r\n', "use_dpop_nonce"),
        ("n" * 4000, "use_dpop_nonce"),
        ("n" * 10 * 1024, "invalid_dpop_proof"),
        (7, "invalid_dpop_proof"),
        (["n"], "invalid_dpop_proof"),
    ],
    ids=lambda value: str(value)[:12],
)
async def test_a_strange_nonce_is_never_told_back(house: House, endpoint: str, nonce: Any, error: str) -> None:
    answer = await wrong(house, endpoint, error, nonce=nonce)
    assert str(nonce)[:20] not in answer.headers.get("dpop-nonce", "")


@pytest.mark.attack("DPA-14")
async def test_what_nobody_knows_in_a_proof_is_ignored(house: House, endpoint: str) -> None:
    await right(house, endpoint, proof_header={"x-unknown": [1]}, proof_claims={"unknown": {"a": None}})


@pytest.mark.attack("DPA-15")
@pytest.mark.parametrize("name", ALGORITHMS)
async def test_keys_of_every_size_make_proofs(house: House, endpoint: str, name: str) -> None:
    client = keyed(house, name)
    await warm(client)
    assert (await ask(client, endpoint)).status_code in (200, 201)


@pytest.mark.attack("DPA-16")
@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["foo"], "foo": 1},
        {"crit": []},
        {"crit": ["alg"]},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"crit": "alg"},
        {"crit": None},
    ],
)
async def test_an_extension_that_must_be_understood_is_refused(
    house: House, endpoint: str, header: dict[str, Any]
) -> None:
    await wrong(house, endpoint, proof_header=header)


@pytest.mark.attack("DPA-17")
@pytest.mark.parametrize("ath", ["x", b64(b"h" * 32), 7, None])
async def test_the_hash_of_a_token_means_nothing_where_none_comes(house: House, endpoint: str, ath: Any) -> None:
    await right(house, endpoint, ath=ath)


@pytest.mark.attack("DPA-17")
@pytest.mark.parametrize("claims", [{"exp": NOW - 3600}, {"nbf": NOW + 3600}, {"exp": "never"}, {"nbf": []}])
async def test_a_validity_that_a_proof_states_is_meant(house: House, endpoint: str, claims: dict[str, Any]) -> None:
    await wrong(house, endpoint, proof_claims=claims)


@pytest.mark.attack("DPA-18")
async def test_a_proof_of_the_clients_own_key_is_no_assertion(house: House, endpoint: str) -> None:
    agent = house.agent
    agent.dpop_key = agent.client_key
    await warm(agent)
    claims = {"iss": "agent", "sub": "agent", "aud": ISSUER, "exp": NOW + 60}
    with agent.lying(proof_claims=claims, proof_header={"kid": "client-key"}):
        proof = agent.proof("POST", f"{ISSUER}/{endpoint}")
    await refused(house, lambda: ask(agent, endpoint, assertion=proof), 401, "invalid_client")
