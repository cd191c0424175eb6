"""Whatever is asked for, by whatever door: a client within its policy and no more, or a refusal that leaves nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.peer_keys import PeerKey
from tests.support.registration_attack import AttackedHouse, posted, unmoved
from tests.support.registration_scene import GRANTS, REDIRECT_URI, Registrant

SCOPE: Final = ["accounts:read", "transfers:write"]
POLICY: Final[dict[str, Any]] = {
    "scope": SCOPE,
    "redirect_hosts": ["agent.example"],
    "algorithms": ["ES256"],
    "token_endpoint_auth_methods": ["private_key_jwt"],
}
MEMBERS: Final = [
    *("client_name", "client_name#fr", "redirect_uris", "grant_types", "response_types", "scope", "jwks", "jwks_uri"),
    *("token_endpoint_auth_method", "token_endpoint_auth_signing_alg", "application_type", "contacts", "logo_uri"),
    *("dpop_bound_access_tokens", "tls_client_certificate_bound_access_tokens", "default_max_age", "software_id"),
    *("sector_identifier_uri", "subject_type", "post_logout_redirect_uris", "request_uris", "default_acr_values"),
    *("require_pushed_authorization_requests", "id_token_signed_response_alg", "response_modes", "client_secret"),
    *("tls_client_auth_subject_dn", "default_resource", "authorization_details_types", "client_id", "software_version"),
]
WORDS: Final = st.sampled_from(
    [
        *("", "x", "admin", "accounts:read", "none", "RS256", "ES256", "Ed25519", "implicit", "client_credentials"),
        *("authorization_code", "code", "token", "web", "native", "pairwise", "public", "query", "query.jwt", "jwt"),
        *("private_key_jwt", "client_secret_basic", "tls_client_auth", "CN=thief", "https://bank.example/mcp"),
        *(
            REDIRECT_URI,
            "https://evil.example/",
            "http://127.0.0.1/x",
            "javascript:alert(1)",
            "https://agent.example/j",
        ),
        *("\u202e", "\x00", "\r\n", "<script>", "é" * 10, "A" * 3000, "https://169.254.169.254/", "0"),
    ]
)
KEYS: Final = st.sampled_from([PeerKey.es256(seed=9), PeerKey.ed25519(seed=9), PeerKey.ps256()]).flatmap(
    lambda key: st.sampled_from([key.jwk(kid="k"), key.private_jwk(kid="k"), {"kty": "oct", "k": "AA"}, {}])
)
SETS: Final = st.fixed_dictionaries({"keys": st.lists(KEYS, max_size=3)})
SCALARS: Final = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 2**70), st.floats(allow_nan=False), WORDS, st.text()
)
VALUES: Final = st.recursive(
    st.one_of(SCALARS, SETS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
CHANGES: Final = st.dictionaries(
    st.sampled_from(MEMBERS), st.one_of(VALUES, WORDS, st.lists(WORDS, max_size=3)), max_size=4
)


def judge(told: dict[str, Any]) -> None:
    """What was registered is within the policy, and bound to a key."""
    assert set(told["scope"].split(" ")) <= set(SCOPE)
    assert set(told["grant_types"]) <= set(GRANTS)
    assert all(uri.startswith("https://agent.example/") and "#" not in uri for uri in told["redirect_uris"])
    assert told["token_endpoint_auth_method"] == "private_key_jwt"
    assert told["dpop_bound_access_tokens"] or told["tls_client_certificate_bound_access_tokens"]
    assert told["require_pushed_authorization_requests"] is True
    keys = told.get("jwks", {}).get("keys", [])
    assert all(not {"d", "k", "p"} & key.keys() and key["kty"] == "EC" for key in keys)
    assert ("jwks_uri" in told) != bool(keys)
    assert "client_secret" not in told
    assert told["client_id"].startswith("client-")


async def registered(house: AttackedHouse, agent: Registrant, door: str, changes: dict[str, Any]) -> None:
    described = agent.described() | changes
    before = set(house.kept)
    if door == "token":
        response = await posted(agent, json.dumps(described).encode(), token=house.token("any"))
    else:
        response = await posted(agent, {"software_statement": agent.statement(**described)})
    assert response.status_code in {201, 400}, response.text
    if response.status_code == 400:
        assert set(house.kept) == before
        return
    agent.learn(response.json())
    judge(agent.information)
    assert (await agent.manage("GET")).json() == agent.information  # all of it is kept, and read back to the same


@pytest.mark.attack("DCR-13")
@pytest.mark.parametrize("door", ["token", "statement"])
@settings(max_examples=120)
@given(changes=CHANGES)
def test_whatever_is_asked_for_is_within_the_policy_or_refused(door: str, changes: dict[str, Any]) -> None:
    house = AttackedHouse()
    house.trust(**POLICY)
    original = house.token
    house.token = lambda name: original(name, **POLICY)  # type: ignore[method-assign, misc]
    asyncio.run(registered(house, house.registrant(), door, changes))


@pytest.mark.attack("DCR-16")
@settings(max_examples=120)
@given(
    octets=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)),
    kind=st.sampled_from(["json", "jwt", "jose"]),
)
def test_whatever_octets_are_sent_they_are_refused_and_no_defect(octets: bytes, kind: str) -> None:
    house = AttackedHouse()
    agent = house.registrant()

    async def sent() -> None:
        with unmoved(house):
            response = await posted(agent, octets, token=house.token(), content_type=f"application/{kind}")
            assert response.status_code == 400, response.text

    asyncio.run(sent())
