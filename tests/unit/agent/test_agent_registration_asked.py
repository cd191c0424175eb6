"""What an agent asks to be registered as, and what it will not ask."""

from __future__ import annotations

from typing import Any

import pytest

from fapi_as.agent.errors import (
    InsecureAddress,
    Misconfigured,
)
from fapi_as.agent.identity import GrantType
from fapi_as.agent.token_store import MemoryRegistrationStore
from rs_kit.protocol.secret import Secret
from tests.support.agent_peer import (
    ISSUER,
    REDIRECT_URI,
    Hands,
    agent_of,
    header,
    identity,
    opened,
)
from tests.support.registering_peer import (
    SOFTWARE,
    RegisteringPeer,
    registrant,
    registrar,
    statement,
    unregistered,
)

SECOND = "https://second.example"


# --- what it asks for


async def test_what_is_asked_for_follows_from_the_identity() -> None:
    peer = RegisteringPeer()
    await registrar(peer).introduced(registrant(metadata={"client_name": "Ledger agent", "scope": "accounts:read"}))
    (request,) = peer.requests_to("/register")
    asked = peer.body(request)
    assert asked["application_type"] == "web"
    assert asked["redirect_uris"] == [REDIRECT_URI]
    assert asked["grant_types"] == ["authorization_code", "refresh_token"]
    assert asked["response_types"] == ["code"]
    assert asked["token_endpoint_auth_method"] == "private_key_jwt"
    assert asked["dpop_bound_access_tokens"] is True
    assert asked["jwks"]["keys"][0]["kid"] == "agent-1"
    assert "d" not in asked["jwks"]["keys"][0]
    assert asked["software_statement"] == statement(aud=ISSUER)
    assert (asked["software_id"], asked["client_name"]) == (SOFTWARE, "Ledger agent")
    assert "client_id" not in asked


@pytest.mark.parametrize(
    ("uris", "kind"),
    [
        (["http://127.0.0.1/callback"], "native"),
        (["http://[::1]:7000/callback", "http://localhost/callback"], "native"),
        (["https://agent.example/callback"], "web"),
        (["http://127.0.0.1/callback", "https://agent.example/callback"], "web"),
        (["http://127.0.0.1.agent.example/callback"], "web"),
    ],
)
def test_the_application_type_is_always_said(uris: list[str], kind: str) -> None:
    assert registrant(metadata={"redirect_uris": uris}).asked()["application_type"] == kind


def test_refresh_tokens_that_nobody_approved_are_not_asked_for() -> None:
    made = registrant(software_statement=Secret(statement(grant_types=["authorization_code"])))
    assert made.asked()["grant_types"] == ["authorization_code"]


def test_an_agent_for_itself_says_it_as_well_and_has_no_redirect_uris() -> None:
    asked = registrant(grant_type=GrantType.CLIENT_CREDENTIALS, identity=unregistered(redirect_uri=None)).asked()
    assert (asked["application_type"], asked["grant_types"], asked["response_types"]) == (
        "web",
        ["client_credentials"],
        [],
    )
    assert "redirect_uris" not in asked


async def test_a_token_of_the_operator_opens_the_door_as_a_bearer_token() -> None:
    peer = RegisteringPeer()
    token = Secret("initial-token-1")
    await registrar(peer).introduced(registrant(software_statement=None, initial_access_token=token))
    (request,) = peer.requests_to("/register")
    assert header(request, "authorization") == "Bearer initial-token-1"
    assert opened(header(request, "dpop"))[1]["ath"]  # what was registered is bound to a key all the same


async def test_a_token_of_the_operator_that_is_bound_to_a_key_comes_with_its_proof() -> None:
    peer, key = RegisteringPeer(), Hands().proof_key()
    token = Secret("initial-token-1")
    made = registrant(software_statement=None, initial_access_token=token, proof_key=key)
    registration = await registrar(peer).introduced(made)
    (request,) = peer.requests_to("/register")
    assert header(request, "authorization") == "DPoP initial-token-1"
    assert opened(header(request, "dpop"))[1]["ath"]
    assert registration.jkt == key.thumbprint
    assert registration.proof_key is None  # it is kept by whoever gave it


async def test_a_statement_for_the_agents_key_comes_with_a_proof_of_that_key() -> None:
    peer, key = RegisteringPeer(), identity().key
    assert key is not None
    bound = Secret(statement(aud=ISSUER, cnf={"jkt": key.thumbprint}))
    store = MemoryRegistrationStore()
    registration = await registrar(peer, store=store).introduced(registrant(software_statement=bound))
    (request,) = peer.requests_to("/register")
    assert opened(header(request, "dpop"))[0]["jwk"]["x"] == key.public_jwk()["x"]
    assert (registration.jkt, registration.proof_key) == (key.thumbprint, None)
    assert (await registrar(peer, store=store).read(registrant(software_statement=bound)))["software_id"] == SOFTWARE


async def test_a_request_can_be_signed_as_the_software() -> None:
    peer = RegisteringPeer()
    await registrar(peer).introduced(registrant(signed=True))
    (request,) = peer.requests_to("/register")
    assert header(request, "content-type") == "application/jwt"
    head, claims = opened(request.body.decode())
    assert (head["typ"], head["kid"]) == ("JWT", "agent-1")
    assert (claims["iss"], claims["aud"]) == (SOFTWARE, ISSUER)
    assert claims["exp"] - claims["iat"] == 60
    assert claims["jti"]
    assert claims["software_statement"] == statement(aud=ISSUER)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"identity": identity()}, "registered already"),
        ({"metadata": {"client_secret": "x"}}, "client_secret is nothing that a client asks"),
        ({"metadata": {"software_statement": "x"}}, "software_statement is nothing that a client asks"),
        ({"identity": unregistered(redirect_uri=None)}, "needs a redirect_uri"),
        ({"initial_access_token": Secret("token")}, "one approval is enough"),
        ({"software_statement": Secret("no statement")}, "is no JWT"),
        ({"software_statement": Secret("a.b.c")}, "is no JWT"),
        ({"software_statement": None, "signed": True}, "needs the agent's key and the software_id"),
        ({"client_id_metadata_document": "https://agent.example/"}, "has a path"),
    ],
)
def test_what_does_not_fit_together_is_told(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Misconfigured, match=sentence):
        registrant(**changes)


def test_a_metadata_document_is_at_an_https_address() -> None:
    with pytest.raises(InsecureAddress):
        registrant(client_id_metadata_document="http://agent.example/client.json")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"identities": (), "registrants": ()}, "at least one identity"),
        ({"registrants": (registrant(), registrant())}, "same issuer"),
        ({"identities": (unregistered(),)}, "as a registrant"),
        (
            {"registrants": (registrant(), registrant(SECOND, grant_type=GrantType.CLIENT_CREDENTIALS))},
            "another grant type",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_told(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Misconfigured, match=sentence):
        agent_of(**changes)
