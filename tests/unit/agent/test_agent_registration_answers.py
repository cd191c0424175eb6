"""What an agent takes from a server that registers it, and what it does with a registration."""

from __future__ import annotations

from pathlib import Path

import pytest

from fapi_as.agent.errors import (
    AgentError,
    Misconfigured,
    RegistrationNeeded,
    RegistrationRejected,
    ServerRefused,
)
from fapi_as.agent.file_store import FileRegistrationStore
from fapi_as.agent.token_store import MemoryRegistrationStore
from rs_kit.protocol.secret import Secret
from tests.support.agent_peer import (
    ISSUER,
    Hands,
    as_json,
    header,
    identity,
)
from tests.support.registering_peer import (
    RegisteringPeer,
    registrant,
    registrar,
    statement,
)

SECOND = "https://second.example"


# --- what it takes from the server


@pytest.mark.parametrize(
    ("lies", "member"),
    [
        ({"token_endpoint_auth_method": "client_secret_basic"}, "token_endpoint_auth_method"),
        ({"token_endpoint_auth_method": None}, "token_endpoint_auth_method"),
        ({"dpop_bound_access_tokens": False}, "dpop_bound_access_tokens"),
        ({"tls_client_certificate_bound_access_tokens": True}, "tls_client_certificate_bound_access_tokens"),
        ({"id_token_signed_response_alg": "none"}, "id_token_signed_response_alg"),
        ({"grant_types": ["implicit"]}, "grant_types"),
        ({"grant_types": "authorization_code"}, "grant_types"),
        ({"redirect_uris": ["https://thief.example/callback"]}, "redirect_uris"),
        ({"jwks": {"keys": [Hands().proof_key().public_jwk()]}}, "jwks"),
        ({"jwks": {"keys": []}}, "jwks"),
        ({"jwks": "none"}, "jwks"),
        ({"jwks": None, "jwks_uri": "https://thief.example/keys.json"}, "jwks_uri"),
        ({"jwks_uri": ["https://thief.example/keys.json"]}, "jwks_uri"),
        ({"tls_client_auth_san_dns": "thief.example"}, "tls_client_auth_san_dns"),
    ],
)
async def test_a_registration_as_something_else_is_not_used(lies: dict[str, object], member: str) -> None:
    store = MemoryRegistrationStore()
    with pytest.raises(RegistrationRejected, match=f"registered another {member} than"):
        await registrar(RegisteringPeer(lies=lies), store=store).introduced(registrant())
    assert await store.load(ISSUER) is None


async def test_a_key_beside_ours_is_not_accepted() -> None:
    ours, theirs = identity().key, Hands().proof_key()
    assert ours is not None
    peer = RegisteringPeer(lies={"jwks": {"keys": [ours.public_jwk(), theirs.public_jwk()]}})
    with pytest.raises(RegistrationRejected, match="another jwks"):
        await registrar(peer).introduced(registrant())


@pytest.mark.parametrize("name", ["jwks_uri", "software_jwks_endpoint"])
async def test_keys_may_be_where_the_statement_says_that_they_are(name: str) -> None:
    keys = "https://agents.example/keys.json"
    asked = registrant(software_statement=Secret(statement(aud=ISSUER, **{name: keys})))
    assert (await registrar(RegisteringPeer(lies={"jwks": None, "jwks_uri": keys})).introduced(asked)).client_id


async def test_keys_may_come_back_with_members_that_say_what_they_are_for() -> None:
    ours = identity().key
    assert ours is not None
    peer = RegisteringPeer(lies={"jwks": {"keys": [{**ours.public_jwk(), "use": "sig", "alg": "ES256"}]}})
    assert (await registrar(peer).introduced(registrant())).client_id


@pytest.mark.parametrize(
    ("lies", "sentence"),
    [
        ({"client_id": None}, "usable client_id"),
        ({"client_id": "a\nb"}, "usable client_id"),
        ({"client_id": ""}, "usable client_id"),
        ({"registration_access_token": "a b"}, "unusable registration_access_token"),
        ({"registration_access_token": 7}, "unusable registration_access_token"),
        ({"registration_client_uri": None}, "usable registration_client_uri"),
        ({"registration_client_uri": f"{SECOND}/register/1"}, "on another server than the issuer"),
        ({"registration_client_uri": "https://as.example:8443/register/1"}, "on another server than the issuer"),
        ({"registration_client_uri": "https://as.example@second.example/1"}, "credentials"),
    ],
)
async def test_what_could_hand_the_registration_to_others_is_not_kept(lies: dict[str, object], sentence: str) -> None:
    store = MemoryRegistrationStore()
    with pytest.raises(AgentError, match=sentence):
        await registrar(RegisteringPeer(lies=lies), store=store).introduced(registrant())
    assert await store.load(ISSUER) is None


async def test_a_secret_that_nobody_asked_for_is_not_kept(tmp_path: Path) -> None:
    store = FileRegistrationStore(tmp_path / "tokens", agent="ledger")
    await registrar(RegisteringPeer(lies={"client_secret": "a-secret-of-yours"}), store=store).introduced(registrant())
    assert all(b"a-secret-of-yours" not in file.read_bytes() for file in (tmp_path / "tokens").iterdir())


async def test_a_server_that_manages_nothing_is_used_all_the_same() -> None:
    peer = RegisteringPeer(omits=frozenset({"registration_client_uri", "registration_access_token"}))
    store = MemoryRegistrationStore()
    made = await registrar(peer, store=store).introduced(registrant())
    assert not made.is_managed
    with pytest.raises(Misconfigured, match=r"no registration at https://as\.example that this agent could manage"):
        await registrar(peer, store=store).read(registrant())


async def test_a_registration_endpoint_on_another_host_is_none() -> None:
    peer = RegisteringPeer(metadata={"registration_endpoint": f"{SECOND}/register"})
    with pytest.raises(RegistrationNeeded):
        await registrar(peer).introduced(registrant())


@pytest.mark.parametrize("code", ["invalid_software_statement", "unapproved_software_statement"])
async def test_a_refusal_is_told_with_its_code_and_without_the_statement(code: str) -> None:
    said = {"error": code, "error_description": f"no: {statement(aud=ISSUER)}"}
    peer = RegisteringPeer(refuses=lambda request: as_json(400, said))
    store = MemoryRegistrationStore()
    with pytest.raises(ServerRefused) as caught:
        await registrar(peer, store=store).introduced(registrant())
    assert (caught.value.status, caught.value.error) == (400, code)
    assert statement(aud=ISSUER).split(".")[1] not in str(caught.value)
    assert await store.load(ISSUER) is None


# --- what it does with a registration


async def test_a_registration_is_read_with_a_proof_of_the_key_it_was_made_with() -> None:
    peer, store = RegisteringPeer(), MemoryRegistrationStore()
    made = await registrar(peer, store=store).introduced(registrant())
    document = await registrar(peer, store=store).read(registrant())
    assert document["client_id"] == made.client_id
    assert "registration_access_token" not in document


async def test_a_server_that_binds_nothing_is_asked_with_a_bearer_token() -> None:
    peer, store = RegisteringPeer(binds_keys=False), MemoryRegistrationStore()
    made = await registrar(peer, store=store).introduced(registrant())
    await registrar(peer, store=store).read(registrant())
    asked = peer.requests_to(f"/register/{made.client_id}")
    assert [header(request, "authorization").partition(" ")[0] for request in asked] == ["DPoP", "Bearer"]


async def test_an_update_brings_another_token_which_is_the_one_from_then_on() -> None:
    peer, store = RegisteringPeer(), MemoryRegistrationStore()
    made = await registrar(peer, store=store).introduced(registrant())
    changed = registrant(metadata={"client_name": "Ledger agent 2"})
    updated = await registrar(peer, store=store).update(changed)
    assert updated.client_id == made.client_id
    assert updated.registration_access_token != made.registration_access_token
    assert peer.registered[made.client_id]["client_name"] == "Ledger agent 2"
    assert await store.load(ISSUER) == updated
    await registrar(peer, store=store).read(registrant())
    stale = MemoryRegistrationStore()
    await stale.save(ISSUER, made)
    with pytest.raises(ServerRefused, match="invalid_token"):
        await registrar(peer, store=stale).read(registrant())


async def test_an_update_says_its_client_id_and_nothing_that_only_the_server_says() -> None:
    peer, store = RegisteringPeer(), MemoryRegistrationStore()
    made = await registrar(peer, store=store).introduced(registrant())
    await registrar(peer, store=store).update(registrant())
    (request,) = [one for one in peer.seen if one.method == "PUT"]
    asked = peer.body(request)
    assert asked["client_id"] == made.client_id
    never = {"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"}
    assert not never & asked.keys()


async def test_an_answer_about_another_client_is_not_taken() -> None:
    peer, store = RegisteringPeer(), MemoryRegistrationStore()
    made = await registrar(peer, store=store).introduced(registrant())
    peer.lies = {"client_id": "client-7"}
    for ask in (registrar(peer, store=store).read, registrar(peer, store=store).update):
        with pytest.raises(RegistrationRejected, match="another client"):
            await ask(registrant())
    assert await store.load(ISSUER) == made


async def test_a_deleted_registration_is_forgotten_on_both_sides() -> None:
    peer, store = RegisteringPeer(), MemoryRegistrationStore()
    await registrar(peer, store=store).introduced(registrant())
    await registrar(peer, store=store).unregister(registrant())
    assert not peer.registered
    assert await store.load(ISSUER) is None


async def test_a_registration_that_is_gone_is_told_and_forgotten() -> None:
    peer, store = RegisteringPeer(), MemoryRegistrationStore()
    made = await registrar(peer, store=store).introduced(registrant())
    del peer.registered[made.client_id], peer._tokens[made.client_id]
    with pytest.raises(ServerRefused, match="401 invalid_token"):
        await registrar(peer, store=store).unregister(registrant())
    assert await store.load(ISSUER) is None


async def test_a_server_in_trouble_costs_no_registration() -> None:
    peer, store = RegisteringPeer(), MemoryRegistrationStore()
    made = await registrar(peer, store=store).introduced(registrant())
    peer.refuses = lambda request: as_json(503, {"error": "temporarily_unavailable"})
    with pytest.raises(ServerRefused):
        await registrar(peer, store=store).unregister(registrant())
    assert await store.load(ISSUER) == made


async def test_a_registration_whose_key_is_gone_is_told() -> None:
    store = MemoryRegistrationStore()
    peer, key = RegisteringPeer(), Hands().proof_key()
    await registrar(peer, store=store).introduced(registrant(proof_key=key))
    with pytest.raises(Misconfigured, match="bound to a key that this agent does not have"):
        await registrar(peer, store=store).read(registrant())
