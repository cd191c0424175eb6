"""RFC 9068 at the server: what an access token says, and what it can never be made to say."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from fapi_as.adapters.store import AlreadyExists, Operators, migrate
from fapi_as.protocol.resource_registration import InvalidResourceMetadata, parse_resource
from rs_kit.protocol.errors import InvalidJwk
from rs_kit.protocol.jws import SigningKey
from tests.support.house import RESOURCE, House
from tests.support.peer_keys import PeerKey
from tests.support.store_harness import METADATA, STAMP
from tests.support.token_scene import ALGORITHMS, KEYS, claims_of, header_of, keyed, obtained, refused, warm

PAY = "https://pay.example/mcp"
WITHOUT_PERSON = {"iss", "sub", "aud", "client_id", "scope", "iat", "exp", "jti", "cnf", "authorization_id"}


def two_resources(house: House) -> None:
    house.resource(scopes={"accounts:read": "See your balances"}, version=2)
    house.resource(PAY, scopes={"transfers:write": "Send money"})


@pytest.mark.requirement("AT-1", proves="holds")
@pytest.mark.parametrize("name", ALGORITHMS)
async def test_every_algorithm_signs_tokens_that_a_second_verifier_accepts(house: House, name: str) -> None:
    key = KEYS[name]()
    house.signer.key = SigningKey.from_private_key(key.private, kid="signer-2")
    tokens = await house.agent.client_credentials()
    assert header_of(tokens.access_token) == {"alg": key.alg, "typ": "at+jwt", "kid": "signer-2"}
    assert key.verifies(tokens.access_token)


@pytest.mark.requirement("AT-1", proves="refused")
@pytest.mark.parametrize(
    ("private_key", "alg"),
    [
        (rsa.generate_private_key(65537, 1024), None),
        (ec.generate_private_key(ec.SECP384R1()), None),
        (ec.generate_private_key(ec.SECP256K1()), None),
        (PeerKey.ps256().private, "RS256"),
        (PeerKey.es256().private, "none"),
        (PeerKey.es256().private, "PS256"),
    ],
    ids=["RSA-1024", "P-384", "secp256k1", "RS256", "none", "another key's"],
)
def test_no_other_key_or_algorithm_becomes_a_signer(private_key: Any, alg: str | None) -> None:
    with pytest.raises(InvalidJwk):
        SigningKey.from_private_key(private_key, alg=alg)


@pytest.mark.requirement("AT-2", proves="holds")
@pytest.mark.parametrize("person", [True, False])
async def test_every_mandatory_claim_is_there(house: House, person: bool) -> None:
    tokens = await (obtained(house) if person else house.agent.client_credentials())
    claims = claims_of(tokens.access_token)
    assert {"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} <= set(claims)
    assert claims["exp"] - claims["iat"] == tokens.expires_in


@pytest.mark.requirement("AT-4", proves="holds")
async def test_a_token_tells_nothing_of_the_person_but_a_subject_and_how_they_signed_in(house: House) -> None:
    claims = claims_of((await obtained(house)).access_token)
    assert set(claims) == WITHOUT_PERSON | {"auth_time", "acr"}
    assert "alice" not in str({name: value for name, value in claims.items() if name != "sub"})


@pytest.mark.requirement("AT-4", proves="refused")
@pytest.mark.parametrize("scope", ["profile", "email", "openid", "groups", "accounts:read address"])
async def test_scopes_that_would_bring_identity_claims_are_refused(house: House, scope: str) -> None:
    await warm(house.agent)
    await refused(house, lambda: house.agent.client_credentials(scope=scope), 400, "invalid_scope")


@pytest.mark.requirement("AT-5", proves="holds")
async def test_the_scope_claim_holds_what_makes_sense_at_its_audience_only(house: House) -> None:
    two_resources(house)
    form = {"scope": "accounts:read transfers:write", "resource": [RESOURCE, PAY]}
    with house.agent.lying(form=form):
        pushed = await house.agent.push()
    done = await house.agent.authorize(pushed, username="alice", password="a long enough passphrase")
    tokens = await house.agent.redeem(done, pushed, resource=PAY)
    claims = claims_of(tokens.access_token)
    assert (claims["scope"], claims["aud"], tokens.scope) == ("transfers:write", PAY, "transfers:write")


@pytest.mark.requirement("AT-5", proves="refused")
async def test_a_scope_of_another_audience_is_refused(house: House) -> None:
    two_resources(house)
    await warm(house.agent)
    ask = {"scope": "accounts:read transfers:write", "resource": PAY}
    await refused(house, lambda: house.agent.client_credentials(**ask), 400, "invalid_scope")


@pytest.mark.requirement("AT-6", proves="holds")
@pytest.mark.parametrize("grant", ["code", "refresh", "credentials"])
async def test_the_audience_is_the_resource_that_was_asked_for(house: House, grant: str) -> None:
    if grant == "credentials":
        tokens = await house.agent.client_credentials()
    else:
        tokens = await obtained(house)
        if grant == "refresh":
            tokens = await house.agent.refresh(str(tokens.refresh_token), resource=RESOURCE)
    assert claims_of(tokens.access_token)["aud"] == RESOURCE


@pytest.mark.requirement("AT-6", proves="refused")
@pytest.mark.parametrize(
    "resource", [..., [RESOURCE, PAY], "https://unknown.example/mcp", RESOURCE + "/", RESOURCE.upper(), "mcp"]
)
async def test_no_audience_several_or_an_unknown_one_is_refused(house: House, resource: Any) -> None:
    two_resources(house)
    await warm(house.agent)
    await refused(house, lambda: house.agent.client_credentials(resource=resource), 400, "invalid_target")


@pytest.mark.requirement("AT-7", proves="holds")
async def test_the_subject_is_the_person_or_the_client_when_there_is_none(house: House) -> None:
    claims = claims_of((await obtained(house)).access_token)
    assert (claims["sub"], claims["client_id"]) == (house.alice.subject, "agent")
    claims = claims_of((await house.agent.client_credentials()).access_token)
    assert (claims["sub"], claims["client_id"]) == ("agent", "agent")


@pytest.mark.requirement("AT-15", proves="holds")
async def test_every_token_has_its_own_jti_one_key_and_ten_minutes_at_most(house: House) -> None:
    tokens = [await house.agent.client_credentials() for _ in range(20)]
    claims = [claims_of(given.access_token) for given in tokens]
    assert len({found["jti"] for found in claims}) == 20
    assert {found["cnf"]["jkt"] for found in claims} == {house.agent.dpop_key.thumbprint}
    assert all(set(found["cnf"]) == {"jkt"} for found in claims)
    assert all(found["exp"] - found["iat"] <= 600 for found in claims)


@pytest.mark.requirement("AT-15", proves="refused")
@pytest.mark.parametrize("lifetime", [601, 3600, 0, -1, True, "300"])
def test_no_resource_gets_tokens_that_live_longer(lifetime: Any) -> None:
    members = {"resource": RESOURCE, "resource_name": "Bank", "scopes": {"accounts:read": "See your balances"}}
    with pytest.raises(InvalidResourceMetadata, match="access_token_lifetime"):
        parse_resource({**members, "access_token_lifetime": lifetime}, version=1)


@pytest.mark.parametrize("name", ALGORITHMS)
async def test_a_token_is_bound_to_a_key_of_any_algorithm(house: House, name: str) -> None:
    client = keyed(house, name)
    tokens = await client.client_credentials()
    assert claims_of(tokens.access_token)["cnf"] == {"jkt": KEYS[name]().thumbprint}


@pytest.mark.requirement("AT-7", proves="refused")
@pytest.mark.parametrize("first", ["the client", "the person"])
def test_no_client_and_person_share_a_name(tmp_path: Path, first: str) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    migrate(url)
    operators = Operators.open(url, "default")
    add_client = partial(operators.add_client, METADATA, "same", STAMP)
    add_user = partial(operators.add_user, "alice", "same", "hash", STAMP)
    one, other = (add_client, add_user) if first == "the client" else (add_user, add_client)
    one()
    facts = operators.audit()
    with pytest.raises(AlreadyExists, match="subject"):
        other()
    assert (len(operators.clients()) + len(operators.users()), operators.audit()) == (1, facts)
