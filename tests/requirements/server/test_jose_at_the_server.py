"""JOSE at the server: which keys and algorithms count, what is read before a signature and what only after it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from rs_kit.protocol import jwk, jws
from rs_kit.protocol.errors import InvalidJws
from tests.support.fakes import ISSUER, NOW
from tests.support.house import PASSWORD, SCOPES, House
from tests.support.peer_keys import PeerKey, as_json, b64, compact
from tests.support.token_scene import ALGORITHMS, keyed, refused, warm

OTHER = PeerKey.es256(seed=666)
TOKEN = f"{ISSUER}/token"


@pytest.mark.requirement("JOSE-2", proves="holds")
@pytest.mark.requirement("JOSE-4", proves="holds")
@pytest.mark.requirement("JOSE-8", proves="holds")
@pytest.mark.requirement("JOSE-14", proves="holds")
@pytest.mark.requirement("JOSE-20", proves="holds")
@pytest.mark.requirement("JOSE-21", proves="holds")
@pytest.mark.requirement("JOSE-22", proves="holds")
@pytest.mark.requirement("JOSE-24", proves="holds")
@pytest.mark.requirement("JOSE-25", proves="holds")
@pytest.mark.parametrize("name", ALGORITHMS)
async def test_the_whole_flow_works_with_every_algorithm(house: House, name: str) -> None:
    client = keyed(house, name)
    tokens = await client.obtain(username="alice", password=PASSWORD)
    assert (await client.refresh(str(tokens.refresh_token))).access_token
    assert (await client.client_credentials()).access_token


async def assertion_refused(house: House, reason: str | None = None, **lies: Any) -> str:
    """The text of the answer to an assertion that lies; a right one is still good afterwards."""
    await warm(house.agent)
    with house.agent.lying(**lies):
        answer = await refused(house, house.agent.client_credentials, 401, "invalid_client", reason=reason)
    assert (await house.agent.client_credentials()).access_token
    assert answer.json()["error_description"] == "client authentication failed"
    return answer.text


@pytest.mark.requirement("JOSE-4", proves="refused")
@pytest.mark.parametrize("alg", ["ML-DSA-44", "ML-DSA-65", "ML-DSA-87", "ESP256", "ES512", "Ed448"])
async def test_an_algorithm_outside_the_profile_is_off(house: House, alg: str) -> None:
    await assertion_refused(house, "assertion: alg", assertion_header={"alg": alg})


@pytest.mark.parametrize("kty", ["AKP", "akp", "EC2"])
def test_a_key_of_another_family_alone_is_no_registration(house: House, kty: str) -> None:
    registration = house.agent.registration(jwks={"keys": [{"kty": kty, "alg": "ML-DSA-44", "pub": "AAAA"}]})
    with pytest.raises(InvalidClientMetadata):
        parse_client(registration, client_id="agent", version=1)


# --- JOSE-18, JOSE-19: nothing counts before every signature does


@pytest.mark.requirement("JOSE-18", proves="holds")
async def test_claims_under_a_right_signature_count(house: House) -> None:
    with house.agent.lying(assertion_jti="the-one", jti="the-one"):
        assert (await house.agent.attempt(house.agent.credentials_request)).status_code == 200
    assert len(house.store.rows.once) == 2


@pytest.mark.requirement("JOSE-18", proves="refused")
@pytest.mark.parametrize("claims", [{}, {"exp": 1}, {"aud": "https://evil.example"}, {"iss": "other"}, {"jti": ""}])
async def test_claims_under_a_wrong_signature_decide_nothing(house: House, claims: dict[str, Any]) -> None:
    await warm(house.agent)
    with house.agent.lying(assertion_jti="the-one", assertion_claims=claims, assertion_key=OTHER):
        await refused(house, house.agent.client_credentials, 401, "invalid_client", reason="assertion: signature")
    with house.agent.lying(assertion_jti="the-one"):
        assert (await house.agent.client_credentials()).access_token


@pytest.mark.requirement("JOSE-19", proves="holds")
async def test_two_right_signatures_of_two_keys_give_a_token(house: House) -> None:
    assert house.agent.client_key.thumbprint != house.agent.dpop_key.thumbprint
    assert (await house.agent.client_credentials()).access_token


@pytest.mark.requirement("JOSE-19", proves="refused")
@pytest.mark.parametrize(
    ("lie", "status", "error"),
    [
        ({"assertion_key": OTHER}, 401, "invalid_client"),
        ({"proof_key": OTHER}, 400, "invalid_dpop_proof"),
        ({"assertion_key": OTHER, "proof_key": OTHER}, 401, "invalid_client"),
        ({"assertion_header": {"cty": "JWT"}}, 401, "invalid_client"),
    ],
    ids=["assertion", "proof", "both", "nested"],
)
async def test_one_wrong_signature_is_enough(house: House, lie: dict[str, Any], status: int, error: str) -> None:
    await warm(house.agent)
    with house.agent.lying(**lie):
        await refused(house, house.agent.client_credentials, status, error)


# --- claims


@pytest.mark.requirement("JOSE-20", proves="refused")
async def test_another_clients_key_signs_for_nobody_else(house: House) -> None:
    other = house.client("other")
    await assertion_refused(house, "assertion: signature", assertion_key=other.client_key)


@pytest.mark.requirement("JOSE-21", proves="refused")
@pytest.mark.parametrize("subject", [..., "", 7, None, ["agent"], "other", "Agent", "agent ", "\u0430gent"])
async def test_a_subject_that_is_not_the_issuer_itself_is_refused(house: House, subject: Any) -> None:
    house.client("other")
    await assertion_refused(house, sub=subject, form={"client_id": ...})


@pytest.mark.requirement("JOSE-22", proves="refused")
@pytest.mark.parametrize(
    "audience",
    [
        ...,
        [ISSUER],
        [ISSUER, "https://other.example"],
        ISSUER + "/",
        TOKEN,
        ISSUER.upper(),
        "https://as.example.evil.example",
        7,
        None,
    ],
)
async def test_another_audience_is_refused(house: House, audience: Any) -> None:
    await assertion_refused(house, "assertion: aud must be the issuer as a string", aud=audience)


TIMES_HOLD = [
    {"assertion_iat": NOW + 10},
    {"assertion_iat": NOW + 30},
    {"assertion_claims": {"nbf": NOW + 30}},
    {"exp": NOW - 9},
    {"exp": NOW + 330},
    {"assertion_iat": NOW - 200},
    {"assertion_iat": ...},
]
TIMES_REFUSED = [
    {"assertion_iat": NOW + 31},
    {"assertion_iat": NOW + 61},
    {"assertion_claims": {"nbf": NOW + 31}},
    {"exp": NOW - 10},
    {"exp": NOW + 331},
    {"exp": ...},
    {"exp": str(NOW + 60)},
    {"exp": NOW + 60.5},
    {"exp": True},
    {"exp": 2**33},
    {"exp": -1},
    {"assertion_iat": "now"},
]


@pytest.mark.requirement("JOSE-23", proves="holds")
@pytest.mark.parametrize("lie", TIMES_HOLD, ids=str)
async def test_times_within_their_bounds_are_accepted(house: House, lie: dict[str, Any]) -> None:
    with house.agent.lying(**lie):
        assert (await house.agent.client_credentials()).access_token


@pytest.mark.requirement("JOSE-23", proves="refused")
@pytest.mark.parametrize("lie", TIMES_REFUSED, ids=str)
async def test_times_outside_their_bounds_are_refused(house: House, lie: dict[str, Any]) -> None:
    await assertion_refused(house, **lie)


@pytest.mark.requirement("JOSE-25", proves="refused")
@pytest.mark.parametrize(
    "lie",
    [
        {"sub": "<script>alert(1)</script>", "iss": "<script>alert(1)</script>", "form": {"client_id": ...}},
        {"assertion_header": {"kid": "'; DROP TABLE client; --"}},
        {"assertion_header": {"kid": "../../../../dev/null"}},
        {"assertion_header": {"jku": "https://169.254.169.254/jwks"}},
        {"assertion_header": {"x5u": "file:///etc/passwd"}},
        {"assertion_claims": {"jti": "j" * 1025}},
        {"assertion_claims": {"jti": "\u0000"}},
        {"sub": "s" * 9000, "form": {"client_id": ...}},
    ],
    ids=["markup", "SQL", "path", "jku", "x5u", "long", "NUL", "oversized"],
)
async def test_what_a_claim_says_is_neither_run_nor_fetched_nor_told_back(house: House, lie: dict[str, Any]) -> None:
    text = await assertion_refused(house, **lie)
    facts = str(house.store.written)
    for piece in ("<script", "DROP", "dev/null", "169.254", "passwd", "jjjj", "ssss"):
        assert piece not in text
        assert piece not in facts


# --- key sets


@pytest.mark.requirement("JOSE-31", proves="refused")
@pytest.mark.parametrize("entry", [{"use": "enc"}, {"kty": "AKP"}])
async def test_a_key_for_something_else_verifies_nothing(house: House, entry: dict[str, Any]) -> None:
    agent = house.agent
    keys = [*agent.jwks()["keys"], OTHER.jwk(kid="other", **entry) | entry]
    registration = agent.registration(jwks={"keys": keys}, scope=" ".join(SCOPES))
    house.store.put_client(parse_client(registration, client_id="agent", version=2))
    await assertion_refused(house, assertion_key=OTHER, assertion_header={"kid": "other"})


# --- JOSE-37: the library is told everything


def test_a_verification_without_algorithms_cannot_be_written() -> None:
    with pytest.raises(TypeError, match="algorithms"):
        jws.parse_compact("a.b.c", types=frozenset({"JWT"}), max_length=9)  # type: ignore[call-arg]


@pytest.mark.requirement("JOSE-37", proves="holds")
def test_the_example_of_rfc_7515_verifies_with_its_key_and_its_algorithm() -> None:
    token = (
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
        "cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    )
    key = jwk.parse_public(
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        }
    )
    found = jws.parse_compact(
        token, algorithms=frozenset({"ES256"}), types=frozenset({"JWT"}), type_required=False, max_length=512
    )
    assert jws.verify(found, (key,)).claims["iss"] == "joe"


@pytest.mark.requirement("JOSE-37", proves="refused")
@pytest.mark.parametrize("algorithms", [frozenset(), frozenset({"none"}), frozenset({"HS256"}), frozenset({"RS256"})])
@pytest.mark.parametrize("said", ["none", "HS256", "RS256", "ES256"])
def test_no_choice_of_algorithms_opens_what_we_do_not_have(algorithms: frozenset[str], said: str) -> None:
    key = PeerKey.es256(seed=5)
    token = compact({"alg": said, "typ": "JWT"}, {"sub": "x"}, key.signature(_signed(said)))
    with pytest.raises(InvalidJws):
        _verify(token, algorithms, key)


def _verify(token: str, algorithms: frozenset[str], key: PeerKey) -> None:
    found = jws.parse_compact(token, algorithms=algorithms, types=frozenset({"JWT"}), max_length=512)
    jws.verify(found, (jwk.parse_public(key.jwk()),))


def _signed(said: str) -> bytes:
    header, payload = as_json({"alg": said, "typ": "JWT"}), json.dumps({"sub": "x"}, separators=(",", ":")).encode()
    return f"{b64(header)}.{b64(payload)}".encode()
