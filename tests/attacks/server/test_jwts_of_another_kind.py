"""Every kind of JWT there is, at every entry point that we have: only its own kind gets in (JOS-21, JOSE-24)."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import pytest

from rs_kit.protocol.access_token import verify_access_token
from rs_kit.protocol.errors import InvalidToken
from rs_kit.protocol.jwk import parse_public
from tests.support.fakes import ISSUER, NOW
from tests.support.house import RESOURCE, House
from tests.support.peer_keys import PeerKey
from tests.support.token_scene import refused, warm

KEY: Final = PeerKey.es256(seed=4242)
TOKEN: Final = f"{ISSUER}/token"
# what each kind says by its own specification; all of them of one signer, in time, and with a jti
KINDS: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "client assertion": (
        {"typ": "client-authentication+jwt", "kid": "client-key"},
        {"iss": "agent", "sub": "agent", "aud": ISSUER},
    ),
    "proof": ({"typ": "dpop+jwt", "jwk": KEY.jwk()}, {"htm": "POST", "htu": TOKEN}),
    "access token": (
        {"typ": "at+jwt", "kid": "client-key"},
        {
            "iss": ISSUER,
            "sub": "sub-alice",
            "aud": RESOURCE,
            "client_id": "agent",
            "scope": "accounts:read",
            "cnf": {"jkt": KEY.thumbprint},
        },
    ),
    "request object": (
        {"typ": "oauth-authz-req+jwt", "kid": "client-key"},
        {"iss": "agent", "aud": ISSUER, "client_id": "agent", "response_type": "code"},
    ),
    "ID token": ({"typ": "JWT", "kid": "client-key"}, {"iss": ISSUER, "sub": "sub-alice", "aud": "agent"}),
    "authorization response": ({"kid": "client-key"}, {"iss": ISSUER, "aud": "agent", "code": "c"}),
    "introspection": (
        {"typ": "token-introspection+jwt", "kid": "client-key"},
        {"iss": ISSUER, "aud": RESOURCE, "token_introspection": {"active": True}},
    ),
    "logout token": ({"typ": "logout+jwt", "kid": "client-key"}, {"iss": ISSUER, "aud": "agent", "events": {}}),
    "security event": ({"typ": "secevent+jwt", "kid": "client-key"}, {"iss": ISSUER, "aud": RESOURCE, "events": {}}),
    "identity assertion": (
        {"typ": "oauth-id-jag+jwt", "kid": "client-key"},
        {"iss": ISSUER, "sub": "agent", "aud": ISSUER, "client_id": "agent"},
    ),
    "software statement": ({"typ": "JWT", "kid": "client-key"}, {"iss": "agent", "software_id": "s", "aud": ISSUER}),
    "user information": ({"typ": "JWT", "kid": "client-key"}, {"iss": ISSUER, "sub": "agent", "aud": "agent"}),
}
OTHERS_THAN_ASSERTIONS = [kind for kind in KINDS if kind != "client assertion"]
OTHERS_THAN_PROOFS = [kind for kind in KINDS if kind != "proof"]
OTHERS_THAN_TOKENS = [kind for kind in KINDS if kind != "access token"]


@pytest.fixture
def house() -> House:
    house = House()
    agent = house.agent
    agent.client_key = agent.dpop_key = KEY  # one key for everything: only the kind tells them apart
    house.change_client(keys=(parse_public(KEY.jwk(kid="client-key")),))
    return house


def jwt(kind: str, **more: Any) -> str:
    header, claims = KINDS[kind]
    times = {"iat": NOW, "exp": NOW + 60, "jti": hashlib.sha256(kind.encode()).hexdigest()}
    return KEY.sign(header, times | claims | more)


@pytest.mark.attack("JOS-21")
@pytest.mark.requirement("JOSE-24", proves="refused")
@pytest.mark.parametrize("kind", OTHERS_THAN_ASSERTIONS)
async def test_no_other_kind_is_a_client_assertion(house: House, kind: str) -> None:
    await warm(house.agent)
    house.agent.lies.assertion = jwt(kind)
    with house.agent.lying(form={"client_id": ...}):
        await refused(house, house.agent.client_credentials, 401, "invalid_client")


@pytest.mark.attack("JOS-21")
@pytest.mark.parametrize("kind", OTHERS_THAN_PROOFS)
@pytest.mark.parametrize("with_key", [True, False])
async def test_no_other_kind_is_a_proof(house: House, kind: str, with_key: bool) -> None:
    await warm(house.agent)
    header, claims = KINDS[kind]
    (nonce,) = house.agent.nonces.values()
    said = {"htm": "POST", "htu": TOKEN, "iat": NOW, "exp": NOW + 60, "jti": "j", "nonce": nonce} | claims
    house.agent.lies.proof = KEY.sign(header | ({"jwk": KEY.jwk()} if with_key else {}), said)
    await refused(house, house.agent.client_credentials, 400, "invalid_dpop_proof")


@pytest.mark.attack("JOS-21")
@pytest.mark.parametrize("kind", OTHERS_THAN_TOKENS)
def test_no_other_kind_is_an_access_token(kind: str) -> None:
    keys = (parse_public(KEY.jwk(kid="client-key")),)
    whole = {"iss": ISSUER, "sub": "s", "aud": RESOURCE, "client_id": "agent", "cnf": {"jkt": KEY.thumbprint}}
    with pytest.raises(InvalidToken):
        verify_access_token(jwt(kind, **whole), keys=keys, issuer=ISSUER, audience=RESOURCE, now=NOW, leeway_seconds=10)


@pytest.mark.attack("JOS-21")
async def test_each_kind_of_ours_is_accepted_where_it_belongs(house: House) -> None:
    await warm(house.agent)
    keys = (parse_public(KEY.jwk(kid="client-key")),)
    house.agent.lies.assertion = jwt("client assertion")
    (nonce,) = house.agent.nonces.values()
    house.agent.lies.proof = jwt("proof", nonce=nonce)
    assert (await house.agent.client_credentials()).access_token
    given = verify_access_token(
        jwt("access token"), keys=keys, issuer=ISSUER, audience=RESOURCE, now=NOW, leeway_seconds=10
    )
    assert given.confirmation is not None
