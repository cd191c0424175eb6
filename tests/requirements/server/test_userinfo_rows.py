"""The userinfo endpoint: a resource server of ours, guarded like every other one, telling what was allowed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from fapi_as.protocol.audit_events import AuditEvent
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from rs_kit.protocol import jwk, jws
from tests.support.fakes import ISSUER
from tests.support.fapi_client import FapiClient, Tokens, error_of
from tests.support.house import House
from tests.support.openid_scene import USERINFO, claims, id_token_of, known, obtained, relying, userinfo
from tests.support.peer_keys import PeerKey
from tests.support.token_scene import claims_of, header_of


async def refused(
    house: House, client: FapiClient, tokens: Tokens, status: int, error: str, *, method: str = "GET"
) -> str:
    """The private reason of a refusal that tells nothing, spends nothing and challenges."""
    await userinfo(client, tokens)  # the nonce is known
    once, told = dict(house.store.rows.once), len(house.store.facts_of(AuditEvent.CLAIMS_TOLD))
    response = await userinfo(client, tokens, method=method)
    assert (response.status_code, error_of(response)) == (status, error), response.text
    assert "sub-alice" not in response.text
    assert response.headers["cache-control"] == "no-cache, no-store"
    if status in {401, 403}:
        assert response.headers["www-authenticate"].startswith("DPoP ")
    assert (house.store.rows.once, len(house.store.facts_of(AuditEvent.CLAIMS_TOLD))) == (once, told)
    return house.last_detail or ""


@pytest.mark.requirement("OIDC-50", proves="holds")
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_token_in_its_header_with_its_proof_is_told_the_claims(house: House, method: str) -> None:
    client = relying(house)
    response = await userinfo(client, await obtained(client), method=method)
    assert (response.status_code, response.json()["sub"]) == (200, "sub-alice")
    assert response.headers["content-type"] == "application/json"
    assert not [name for name in response.headers if name.startswith("access-control")]
    (fact,) = house.store.facts_of(AuditEvent.CLAIMS_TOLD)
    assert (fact.client_id, fact.subject, fact.jkt) == ("rp", "sub-alice", client.dpop_key.thumbprint)


LIES: dict[str, tuple[dict[str, Any], int, str]] = {
    "no token": ({"authorization": ...}, 401, "invalid_token"),
    "another scheme": ({"authorization": "Basic cnA6c2VjcmV0"}, 401, "invalid_token"),
    "two tokens in one field": ({"authorization": "DPoP one, DPoP two"}, 400, "invalid_request"),
    "no proof": ({"proof": ...}, 401, "invalid_dpop_proof"),
    "two proofs": ({"proof": ["a.b.c", "d.e.f"]}, 401, "invalid_dpop_proof"),
    "a proof for another method": ({"htm": "PUT"}, 401, "invalid_dpop_proof"),
    "a proof for another address": ({"htu": f"{ISSUER}/token"}, 401, "invalid_dpop_proof"),
    "a proof for another token": ({"ath": "x" * 43}, 401, "invalid_dpop_proof"),
    "a proof for no token": ({"ath": ...}, 401, "invalid_dpop_proof"),
    "a proof that is old": ({"iat": 1_799_999_900}, 401, "invalid_dpop_proof"),
    "no nonce": ({"nonce": ...}, 401, "use_dpop_nonce"),
}


@pytest.mark.requirement("OIDC-50", proves="refused")
@pytest.mark.parametrize("lie", LIES)
async def test_whoever_lacks_one_part_of_it_is_told_nothing(house: House, lie: str) -> None:
    said, status, error = LIES[lie]
    client = relying(house)
    tokens = await obtained(client)
    await userinfo(client, tokens)
    with client.lying(**said):
        response = await client.send(client.resource_request(tokens, USERINFO, method="GET"), method="GET")
    assert (response.status_code, error_of(response)) == (status, error)
    assert ("www-authenticate" in response.headers) == (status == 401)
    if lie == "no token":
        assert "error=" not in response.headers["www-authenticate"]
    assert len(house.store.facts_of(AuditEvent.CLAIMS_TOLD)) == 1


@pytest.mark.parametrize("where", ["query", "body"])
async def test_a_token_in_the_url_or_in_the_body_is_refused_even_beside_the_header(house: House, where: str) -> None:
    client = relying(house)
    tokens = await obtained(client)
    url, headers, _ = client.resource_request(tokens, USERINFO)
    sent = f"access_token={tokens.access_token}"
    form = ("content-type", "application/x-www-form-urlencoded")
    response = await house.http.post(
        f"{url}?{sent}" if where == "query" else url,
        content=b"" if where == "query" else sent.encode(),
        headers=[*headers, form],
    )
    assert (response.status_code, error_of(response)) == (400, "invalid_request")
    assert house.last_detail == "token in the URL or the body"


@pytest.mark.attack("CNF-10")
@pytest.mark.parametrize("theft", ["another key", "bearer", "bearer with a proof", "replay"])
async def test_a_stolen_token_is_worth_nothing_at_our_own_endpoint(house: House, theft: str) -> None:
    client = relying(house)
    tokens = await obtained(client)
    await userinfo(client, tokens)
    thief = PeerKey.es256(seed=666)
    message = client.resource_request(tokens, USERINFO, method="GET")
    if theft == "another key":
        stolen = Tokens(**{**tokens.__dict__, "key": thief})
        await client.call(stolen, USERINFO, method="GET")  # the thief learns a nonce of his own
        message = client.resource_request(stolen, USERINFO, method="GET")
    elif theft != "replay":
        lies = {"authorization": f"Bearer {tokens.access_token}"} | ({"proof": ...} if theft == "bearer" else {})
        with client.lying(**lies):
            message = client.resource_request(tokens, USERINFO, method="GET")
    else:
        assert (await client.send(message, method="GET")).status_code == 200
    response = await client.send(message, method="GET")
    assert response.status_code == 401
    assert error_of(response) == ("invalid_dpop_proof" if theft == "replay" else "invalid_token")


@pytest.mark.parametrize("bent", ["signature", "another issuer", "expired", "an id token", "no cnf"])
async def test_what_is_no_access_token_of_ours_is_none(house: House, bent: str) -> None:
    client = relying(house)
    tokens = await obtained(client)
    said = claims_of(tokens.access_token)
    if bent == "expired":
        house.clock.advance(timedelta(minutes=5))
        token = tokens.access_token
    elif bent == "signature":
        token = tokens.access_token[:-8] + "AAAAAAAA"
    elif bent == "an id token":
        token = id_token_of(tokens)
    else:
        changed = {"another issuer": {"iss": "https://evil.example"}, "no cnf": {}}[bent]
        kept = {name: value for name, value in said.items() if bent != "no cnf" or name != "cnf"}
        token = house.signer.sign({**kept, **changed}, typ="at+jwt")
    with client.lying(authorization=f"DPoP {token}"):
        assert await refused(house, client, tokens, 401, "invalid_token")


@pytest.mark.parametrize("ended", ["replayed code", "user", "client", "password of another", "time"])
async def test_what_ended_is_told_nothing_while_its_token_still_lives(house: House, ended: str) -> None:
    client = relying(house)
    tokens = await obtained(client)
    if ended == "user":
        house.change_user("alice", disabled=True)
    elif ended == "client":
        house.store.remove_client("rp")
    elif ended == "replayed code":
        house.store.rows.revoked.add(claims_of(tokens.access_token)["authorization_id"])
    elif ended == "time":
        opened = house.store.rows.authorizations[claims_of(tokens.access_token)["authorization_id"]]
        house.store.put_authorization(type(opened)(**{**_members(opened), "expires_at": house.clock.now()}))
    else:
        house.user("bob")
        house.change_user("bob")
        assert (await userinfo(client, tokens)).status_code == 200
        return
    assert await refused(house, client, tokens, 401, "invalid_token")


def _members(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


async def test_without_a_store_nobody_is_told_anything(house: House) -> None:
    client = relying(house)
    tokens = await obtained(client)
    await userinfo(client, tokens)
    house.store.unavailable = True
    response = await userinfo(client, tokens)
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")


@pytest.mark.requirement("OIDC-51", proves="holds")
@pytest.mark.parametrize("subject_type", ["public", "pairwise"])
async def test_the_sub_is_the_one_of_the_id_token(house: House, subject_type: str) -> None:
    client = relying(house, subject_type=subject_type)
    tokens = await obtained(client)
    assert (await userinfo(client, tokens)).json()["sub"] == claims_of(id_token_of(tokens))["sub"]


@pytest.mark.requirement("OIDC-51", proves="refused")
async def test_a_token_under_another_name_than_todays_is_told_nothing(house: House) -> None:
    client = relying(house)
    tokens = await obtained(client)
    house.change_client("rp", subject_type="pairwise")
    detail = await refused(house, client, tokens, 401, "invalid_token")
    assert detail == "the user is gone, or known under another name"


@pytest.mark.requirement("OIDC-52", proves="holds")
@pytest.mark.parametrize(
    ("scope", "asked", "expected"),
    [
        ("openid", ..., set()),
        ("openid profile", ..., {"name", "preferred_username"}),
        ("openid email", ..., {"email"}),
        ("openid", claims(userinfo={"email": None}), {"email"}),
        (
            "openid profile",
            claims(userinfo={"email": None}, id_token={"name": None}),
            {"name", "preferred_username", "email"},
        ),
    ],
)
async def test_what_was_allowed_is_told(house: House, scope: str, asked: Any, expected: set[str]) -> None:
    known(house)
    client = relying(house, scope=scope)
    response = await userinfo(client, await obtained(client, claims=asked))
    assert set(response.json()) == {"sub", *expected}


@pytest.mark.requirement("OIDC-52", proves="refused")
async def test_what_was_not_allowed_or_is_not_known_is_left_out(house: House) -> None:
    known(house, name=None, email="")
    client = relying(house, scope="openid profile email")
    tokens = await obtained(client, claims=claims(userinfo={"password_hash": None, "phone_number": None}))
    assert (await userinfo(client, tokens)).json() == {"sub": "sub-alice", "preferred_username": "alice"}
    narrow = relying(house, "narrow", scope="openid", registered="openid offline_access")
    assert (await userinfo(narrow, await obtained(narrow))).json() == {"sub": "sub-alice"}


@pytest.mark.requirement("OIDC-53", proves="holds")
async def test_openid_is_enough(house: House) -> None:
    client = relying(house, scope="openid")
    assert (await userinfo(client, await obtained(client))).status_code == 200


@pytest.mark.requirement("OIDC-53", proves="refused")
async def test_a_token_without_openid_is_not_enough(house: House) -> None:
    client = relying(house, scope="openid profile offline_access")
    tokens = await obtained(client, prompt="consent")
    narrow = await client.refresh(tokens.refresh_token or "", scope="profile")
    assert narrow.scope == "profile"
    await refused(house, client, narrow, 403, "insufficient_scope")
    response = await userinfo(client, narrow)
    assert 'scope="openid"' in response.headers["www-authenticate"]


@pytest.mark.requirement("OIDC-54", proves="holds")
@pytest.mark.parametrize("alg", ["PS256", "ES256", "Ed25519"])
async def test_a_client_that_registered_for_it_gets_a_signed_answer(house: House, alg: str) -> None:
    client = relying(house, userinfo_signed_response_alg=alg)
    response = await userinfo(client, await obtained(client))
    assert response.headers["content-type"] == "application/jwt"
    keys = jwk.parse_set((await house.http.get(f"{ISSUER}/jwks")).json())
    token = jws.parse_compact(
        response.text, algorithms=frozenset({alg}), types=frozenset({"JWT"}), max_length=len(response.text)
    )
    told = jws.verify(token, keys).claims
    assert (told["iss"], told["aud"], told["sub"], told["preferred_username"]) == (ISSUER, "rp", "sub-alice", "alice")


@pytest.mark.requirement("OIDC-54", proves="refused")
@pytest.mark.parametrize("alg", ["RS256", "none", "HS256"])
async def test_nobody_registers_an_answer_without_a_signature_that_counts(house: House, alg: str) -> None:
    with pytest.raises(InvalidClientMetadata):
        parse_client(house.agent.registration(userinfo_signed_response_alg=alg), client_id="agent", version=1)


@pytest.mark.requirement("OIDC-55", proves="holds")
async def test_a_token_for_the_issuer_is_one_for_its_userinfo(house: House) -> None:
    client = relying(house)
    tokens = await obtained(client, resource=ISSUER)
    assert claims_of(tokens.access_token)["aud"] == ISSUER
    assert header_of(tokens.access_token)["typ"] == "at+jwt"
    assert (await userinfo(client, tokens)).status_code == 200


OTHERS: dict[str, Callable[[FapiClient], Any]] = {
    "an MCP server's": lambda client: obtained(client, scope="openid accounts:read", resource=client.resource),
    "the client's own": lambda client: client.client_credentials(scope="accounts:read"),
}


@pytest.mark.requirement("OIDC-55", proves="refused")
@pytest.mark.parametrize("whose", OTHERS)
async def test_a_token_for_another_resource_is_refused(house: House, whose: str) -> None:
    client = relying(house)
    own = await obtained(client)
    client.resource = house.agent.resource
    tokens = await OTHERS[whose](client)
    await userinfo(client, own)
    response = await userinfo(client, tokens)
    assert (response.status_code, error_of(response)) == (401, "invalid_token")
    assert house.last_detail == "aud is another resource"


@pytest.mark.parametrize("scope", ["openid", "accounts:read", "profile"])
async def test_no_client_gets_a_token_for_userinfo_on_its_own_behalf(house: House, scope: str) -> None:
    client = relying(house)
    answer = await client.attempt(lambda: client.credentials_request(resource=ISSUER, scope=scope))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target")


async def test_whoever_registers_a_resource_under_our_name_changes_nothing(house: House) -> None:
    house.resource(ISSUER, scopes={"profile": "Everything", "accounts:read": "See your balances"})
    client = relying(house, scope="openid")
    tokens = await obtained(client)
    assert (tokens.scope, (await userinfo(client, tokens)).status_code) == ("openid", 200)


@pytest.mark.requirement("OIDC-57", proves="holds")
async def test_claims_of_others_are_not_offered(house: House) -> None:
    document = (await house.http.get(f"{ISSUER}/.well-known/openid-configuration")).json()
    assert set(document.get("claim_types_supported", ["normal"])) == {"normal"}
    assert not [name for name in document["claims_supported"] if name.startswith("_claim")]
