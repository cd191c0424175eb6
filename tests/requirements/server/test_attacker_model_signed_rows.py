"""Rows of the attacker model about signed messages: other audiences, downgrades, and other requests."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.support.fakes import ISSUER
from tests.support.fapi_client import FapiClient
from tests.support.house import PASSWORD, RESOURCE, House, callback
from tests.support.push_scene import validated_of
from tests.support.signed_responses import response_of
from tests.support.signing_client import SigningClient, signing_client
from tests.support.standing_still import ready, refused_message, refused_page, refused_push

EVIL: Final = [
    "https://evil.example",
    f"{ISSUER}/",
    f"{ISSUER}/par",
    f"{ISSUER}/token",
    ["https://evil.example"],
    [],
    ...,
]


@pytest.fixture
async def house() -> House:
    return await ready(House())


@pytest.fixture
async def signer(house: House) -> SigningClient:
    signer = signing_client(house, require_signed_request_object=True, response_modes=["jwt"])
    signer.response_mode = "jwt"
    await ready(house, signer)
    return signer


@pytest.mark.requirement("ATT-T-16", proves="holds")
@pytest.mark.requirement("ATT-T-2", proves="holds")
async def test_a_client_that_signs_everything_works(signer: SigningClient) -> None:
    tokens = await signer.obtain(username="alice", password=PASSWORD)
    assert tokens.scope == "accounts:read"


# --- ATT-T-2: JWTs that were made for somebody else


@pytest.mark.requirement("ATT-T-2", proves="refused")
@pytest.mark.parametrize("aud", EVIL)
async def test_a_request_object_for_another_server_is_refused(house: House, signer: SigningClient, aud: Any) -> None:
    with signer.saying(claims={"aud": aud}):
        assert await refused_push(house, client=signer) == (400, "invalid_request_object")


@pytest.mark.requirement("ATT-T-2", proves="refused")
@pytest.mark.parametrize(
    "grant_type", ["urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:token-exchange"]
)
async def test_a_grant_by_a_jwt_of_somebody_else_is_not_taken_at_all(house: House, grant_type: str) -> None:
    agent = house.agent
    other = agent.client_key.sign({"typ": "oauth-id-jag+jwt"}, {"iss": "https://evil.example", "aud": ISSUER})
    message = agent.token_request(grant_type, assertion=other, subject_token=other, resource=RESOURCE)
    response = await refused_message(house, message)
    assert (response.status_code, response.json()["error"]) == (400, "unsupported_grant_type")


@pytest.mark.requirement("ATT-T-2", proves="refused")
@pytest.mark.parametrize("aud", [ISSUER, "https://evil.example"])
async def test_an_attestation_authenticates_nobody(house: House, aud: str) -> None:
    agent = house.agent
    attestation = agent.client_key.sign({"typ": "oauth-client-attestation+jwt"}, {"iss": "agent", "sub": "agent"})
    proof = agent.client_key.sign({"typ": "oauth-client-attestation-pop+jwt"}, {"iss": "agent", "aud": aud})
    headers = [("oauth-client-attestation", attestation), ("oauth-client-attestation-pop", proof)]
    form = {"client_assertion": ..., "client_assertion_type": ...}
    assert await refused_push(house, headers=headers, form=form) == (401, "invalid_client")


# --- ATT-T-16: less than was agreed


@pytest.mark.requirement("ATT-T-16", proves="refused")
@pytest.mark.parametrize("outside", [{}, {"response_mode": "jwt"}, {"request": ""}])
async def test_a_client_that_must_sign_cannot_be_made_to_push_plainly(
    house: House, signer: SigningClient, outside: dict[str, str]
) -> None:
    with signer.saying(object=..., outside=outside):
        assert await refused_push(house, client=signer) == (400, "invalid_request")


@pytest.mark.requirement("ATT-T-16", proves="refused")
@pytest.mark.parametrize("mode", [..., "query", "form_post.jwt"])
async def test_nor_to_be_answered_plainly(house: House, signer: SigningClient, mode: Any) -> None:
    with signer.saying(claims={"response_mode": mode}, outside={"response_mode": "jwt"}):
        assert await refused_push(house, client=signer) == (400, "invalid_request")


@pytest.mark.requirement("ATT-T-16", proves="refused")
async def test_nor_to_go_on_with_parameters_that_nobody_signed(house: House, signer: SigningClient) -> None:
    with (
        signer.saying(outside={"scope": "transfers:write", "dpop_jkt": "j" * 43, "nonce": "n"}),
        signer.lying(proof=...),
    ):
        pushed = await signer.push()
    kept = validated_of(house, pushed)
    assert (kept.scope, kept.dpop_jkt, kept.nonce) == (("accounts:read",), None, None)
    query = {"client_id": "signer", "request_uri": pushed.request_uri, "response_mode": "query", "scope": "admin"}
    assert (await house.http.get(f"{ISSUER}/authorize", params=query)).status_code == 303
    assert validated_of(house, pushed) == kept


@pytest.mark.requirement("ATT-T-16", proves="refused")
async def test_nor_to_skip_the_push(house: House, signer: SigningClient) -> None:
    query = {"client_id": "signer", "request": signer.request_object({"response_type": "code"})}
    assert await refused_page(house, query) == (400, "request_not_supported")


# --- ISS-6: who answers, inside the signature


@pytest.mark.requirement("ISS-6", proves="holds")
async def test_the_issuer_is_told_inside_the_signed_response(signer: SigningClient) -> None:
    done = await signer.authorize(await signer.push(), username="alice", password=PASSWORD)
    assert done.parameters["iss"] == ISSUER


@pytest.mark.requirement("ISS-6", proves="refused")
@pytest.mark.parametrize("approve", [True, False])
async def test_and_not_outside(signer: SigningClient, approve: bool) -> None:
    pushed = await signer.push()
    place = callback(await signer.visit(pushed, username="alice", password=PASSWORD, approve=approve))
    assert set(place.parameters) == {"response"}


# --- what was signed for one request, shown for another


async def _two_responses(signer: SigningClient) -> tuple[Any, Any, Any, Any]:
    one, two = await signer.push(), await signer.push()
    first = await signer.authorize(one, username="alice", password=PASSWORD)
    second = await signer.authorize(two, username="alice", password=PASSWORD)
    return one, first, two, second


@pytest.mark.attack("XPA-16")
async def test_a_response_that_is_shown_for_another_request_is_known_by_its_state_and_its_code(
    house: House, signer: SigningClient
) -> None:
    one, first, two, second = await _two_responses(signer)
    assert response_of(first) != response_of(second)
    assert first.parameters["state"] == one.state != two.state
    refused = await signer.send(signer.code_request(first.code or "", two))
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert (await signer.redeem(first, one)).scope == "accounts:read"


@pytest.mark.attack("XPA-16")
async def test_a_response_that_is_shown_to_another_client_is_for_none_of_its_requests(
    house: House, signer: SigningClient
) -> None:
    other: FapiClient = house.client("other")
    pushed = await signer.push()
    done = await signer.authorize(pushed, username="alice", password=PASSWORD)
    refused = await other.attempt(lambda: other.code_request(done.code or "", pushed))
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
