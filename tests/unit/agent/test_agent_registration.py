"""How an agent makes itself known: the order of MCP, what it asks for, what it keeps, and what it shows to whom."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from fapi_as.agent.agent import Agent
from fapi_as.agent.errors import (
    AgentError,
    InsecureAddress,
    IssuerNotAllowed,
    Misconfigured,
    RegistrationNeeded,
    RegistrationRejected,
    ServerRefused,
)
from fapi_as.agent.file_store import FileRegistrationStore, StoreUnusable
from fapi_as.agent.identity import GrantType
from fapi_as.agent.registered import Registration
from fapi_as.agent.registrar import Registrar
from fapi_as.agent.steps import Introduce, Need, Reason, Send
from fapi_as.agent.token_store import MemoryRegistrationStore
from rs_kit.protocol.secret import Secret
from tests.support.agent_peer import (
    ISSUER,
    REDIRECT_URI,
    Hands,
    agent_of,
    as_json,
    form,
    header,
    identity,
    opened,
)
from tests.support.registering_peer import (
    SOFTWARE,
    RegisteringPeer,
    network,
    registrant,
    statement,
    unregistered,
)

SECOND = "https://second.example"
DOCUMENT = "https://agent.example/client.json"
DOCUMENTS = {"client_id_metadata_document_supported": True}


def registrar(*peers: RegisteringPeer, store: Any = None) -> Registrar:
    return Registrar(back_channel=network(*peers), store=store if store is not None else MemoryRegistrationStore())


# --- the order: registered beforehand, a metadata document, registering, a person (CIMD-15)


@pytest.mark.requirement("CIMD-15", proves="holds")
async def test_who_is_registered_beforehand_registers_nothing_and_publishes_nothing() -> None:
    peer = RegisteringPeer(metadata=DOCUMENTS)
    agent = agent_of(registrants=(registrant(client_id_metadata_document=DOCUMENT),))
    await renewed(agent, peer)
    assert not peer.requests_to("/register")
    assert {form(request)["client_id"] for request in peer.requests_to("/token")} == {"agent"}


async def test_a_metadata_document_goes_before_registering_where_it_is_advertised() -> None:
    peer = RegisteringPeer(metadata=DOCUMENTS)
    registration = await registrar(peer).introduced(registrant(client_id_metadata_document=DOCUMENT))
    assert (registration.client_id, registration.issuer) == (DOCUMENT, ISSUER)
    assert not peer.requests_to("/register")


@pytest.mark.parametrize("metadata", [{}, {"client_id_metadata_document_supported": "true"}])
async def test_a_metadata_document_is_used_nowhere_else(metadata: dict[str, object]) -> None:
    peer = RegisteringPeer(metadata=metadata)
    registration = await registrar(peer).introduced(registrant(client_id_metadata_document=DOCUMENT))
    assert registration.client_id == "client-1-of-as.example"


async def test_whether_documents_are_taken_is_asked_again_each_time() -> None:
    store, asking = MemoryRegistrationStore(), registrant(client_id_metadata_document=DOCUMENT)
    await registrar(RegisteringPeer(metadata=DOCUMENTS), store=store).introduced(asking)
    later = await registrar(RegisteringPeer(), store=store).introduced(asking)
    assert later.client_id == "client-1-of-as.example"


async def test_an_agent_registers_once_and_is_known_from_then_on() -> None:
    peer, store = RegisteringPeer(), MemoryRegistrationStore()
    first = await registrar(peer, store=store).introduced(registrant())
    assert await registrar(peer, store=store).introduced(registrant()) == first
    assert len(peer.registered) == 1


async def test_two_at_once_register_once() -> None:
    peer, store = RegisteringPeer(), MemoryRegistrationStore()
    known = await asyncio.gather(*(registrar(peer, store=store).introduced(registrant()) for _ in range(5)))
    assert len(set(known)) == len(peer.registered) == 1


async def test_where_nothing_can_be_registered_a_person_is_asked_for() -> None:
    peer = RegisteringPeer(metadata={"registration_endpoint": None})
    with pytest.raises(RegistrationNeeded, match=r"takes no registrations: have this agent registered there"):
        await registrar(peer).introduced(registrant())


async def test_where_nobody_gets_in_without_an_approval_a_person_is_asked_for() -> None:
    with pytest.raises(RegistrationNeeded, match="lets nobody in without a software statement or a token"):
        await registrar(RegisteringPeer()).introduced(registrant(software_statement=None))


async def test_an_agent_that_registers_itself_gets_its_tokens_as_what_it_was_registered_as() -> None:
    peer = RegisteringPeer()
    agent = agent_of(identities=(), registrants=(registrant(),))
    await renewed(agent, peer)
    assert agent.tokens is not None
    assert agent.tokens.client_id == "client-1-of-as.example"
    assert {form(request)["client_id"] for request in peer.requests_to("/par")} == {"client-1-of-as.example"}


# --- one issuer's credentials are for no other (CIMD-15)


@pytest.mark.requirement("CIMD-15", proves="refused")
async def test_a_resource_that_changes_its_issuer_gets_nothing_of_the_former_ones_credentials() -> None:
    first, second = RegisteringPeer(), RegisteringPeer(issuer=SECOND)
    both = (registrant(), registrant(SECOND, software_statement=Secret(statement(aud=SECOND, jti="statement-2"))))
    store = MemoryRegistrationStore()
    agent = agent_of(identities=(), registrants=both)
    await renewed(agent, first, store=store)
    earlier = agent.tokens
    assert earlier is not None
    first.resource_document["authorization_servers"] = [SECOND]
    await renewed(agent, first, second, store=store)

    assert agent.tokens is not None
    assert (agent.tokens.issuer, agent.tokens.client_id) == (SECOND, "client-1-of-second.example")
    assert set(second.registered) == {"client-1-of-second.example"}
    at_first = await store.load(ISSUER)
    assert at_first is not None
    assert at_first.registration_access_token is not None
    shown = "".join(f"{request.url} {request.headers} {request.body!r}" for request in second.seen)
    for secret in (
        at_first.client_id,
        at_first.registration_access_token.reveal(),
        earlier.access_token.reveal(),
        statement(aud=ISSUER),
    ):
        assert secret not in shown
    assert earlier.refresh_token is not None
    assert earlier.refresh_token.reveal() not in shown
    proofs = [header(request, "dpop") for request in second.seen if "dpop" in dict(request.headers)]
    keys = {json.dumps(opened(proof)[0]["jwk"]) for proof in proofs}
    assert earlier.proof_key is not None
    assert json.dumps(dict(earlier.proof_key.public.required)) not in keys


async def test_an_issuer_that_nobody_named_gets_no_registration() -> None:
    peer = RegisteringPeer(resource_document={"authorization_servers": [SECOND]})
    with pytest.raises(IssuerNotAllowed):
        await renewed(agent_of(identities=(), registrants=(registrant(),)), peer)
    assert not peer.requests_to("/register")


@pytest.mark.parametrize("audience", [SECOND, [SECOND], f"{ISSUER}/", [], 7])
def test_a_statement_for_another_issuer_is_not_shown_to_this_one(audience: object) -> None:
    with pytest.raises(Misconfigured, match="the software statement is for another issuer than"):
        registrant(software_statement=Secret(statement(aud=audience)))


def test_a_registration_of_another_issuer_is_not_taken() -> None:
    agent = agent_of(identities=(), registrants=(registrant(),))
    with pytest.raises(TypeError, match="good for the issuer that gave it"):
        agent.remember(registrant(), Registration(issuer=SECOND, client_id="client-1"))


async def test_tokens_of_another_registration_are_not_taken_up() -> None:
    peer = RegisteringPeer()
    agent = agent_of(identities=(), registrants=(registrant(),))
    await renewed(agent, peer)
    other = agent_of(identities=(), registrants=(registrant(),))
    other.remember(registrant(), Registration(issuer=ISSUER, client_id="client-7"))
    other.restore(agent.tokens)
    assert other.tokens is None
    other.remember(registrant(), Registration(issuer=ISSUER, client_id="client-1-of-as.example"))
    other.restore(agent.tokens)
    assert other.tokens is agent.tokens


async def test_a_client_that_the_issuer_does_not_know_any_more_is_looked_up_again() -> None:
    peer, store = RegisteringPeer(), MemoryRegistrationStore()
    agent = agent_of(identities=(), registrants=(registrant(),))
    await renewed(agent, peer, store=store)
    peer.overrides["/token"] = lambda request: as_json(401, {"error": "invalid_client"})
    tokens = agent.tokens
    with pytest.raises(ServerRefused, match="invalid_client"):
        await renewed(agent, peer, store=store, reason=Reason.STALE)
    assert agent.tokens is tokens  # a refusal that may pass costs nobody a sign-in
    del peer.overrides["/token"]
    anew = await registrar(peer, store=store).register(registrant())
    await renewed(agent, peer, store=store, reason=Reason.STALE)
    assert agent.tokens is None  # its tokens went with it, and the resource will say where to get others
    await renewed(agent, peer, store=store)
    assert agent.tokens is not None
    assert agent.tokens.client_id == anew.client_id


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


# --- where it is kept


@pytest.fixture
def store(tmp_path: Path) -> FileRegistrationStore:
    return FileRegistrationStore(tmp_path / "tokens", agent="ledger")


async def test_what_is_kept_in_a_file_is_its_owners_alone_and_comes_back_as_it_was(
    store: FileRegistrationStore, tmp_path: Path
) -> None:
    peer = RegisteringPeer()
    made = await registrar(peer, store=store).introduced(registrant())
    assert {oct(file.stat().st_mode & 0o777) for file in (tmp_path / "tokens").iterdir()} == {"0o600"}
    again = FileRegistrationStore(tmp_path / "tokens", agent="ledger")
    loaded = await again.load(ISSUER)
    assert loaded is not None
    assert (loaded.client_id, loaded.registration_access_token, loaded.jkt) == (
        made.client_id,
        made.registration_access_token,
        made.jkt,
    )
    assert (await registrar(peer, store=again).read(registrant()))["client_id"] == made.client_id


async def test_each_agent_and_each_issuer_has_a_file_of_its_own(store: FileRegistrationStore, tmp_path: Path) -> None:
    await registrar(RegisteringPeer(), store=store).introduced(registrant())
    assert await store.load(SECOND) is None
    assert await FileRegistrationStore(tmp_path / "tokens", agent="other").load(ISSUER) is None


async def test_a_file_of_one_issuer_in_the_place_of_another_is_not_taken(
    store: FileRegistrationStore, tmp_path: Path
) -> None:
    await store.save(ISSUER, Registration(issuer=ISSUER, client_id="client-1"))
    (here,) = (tmp_path / "tokens").glob("*.json")
    await store.save(SECOND, Registration(issuer=SECOND, client_id="client-2"))
    (there,) = set((tmp_path / "tokens").glob("*.json")) - {here}
    there.write_bytes(here.read_bytes())
    with pytest.raises(StoreUnusable, match="register again"):
        await store.load(SECOND)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: b"",
        lambda text: text[:-9],
        lambda text: text.replace(b'"version": 1', b'"version": 2'),
        lambda text: text.replace(b'"client-1"', b"7"),
        lambda text: text.replace(b'"proof_key": null', b'"proof_key": "none"'),
        lambda text: text + b" " * 300_000,
    ],
)
async def test_a_file_that_this_program_did_not_write_is_told(
    store: FileRegistrationStore, tmp_path: Path, damage: Any
) -> None:
    await store.save(ISSUER, Registration(issuer=ISSUER, client_id="client-1"))
    (here,) = (tmp_path / "tokens").glob("*.json")
    here.write_bytes(damage(here.read_bytes()))
    with pytest.raises(StoreUnusable, match="not what this program wrote"):
        await store.load(ISSUER)


async def test_a_key_that_cannot_leave_its_place_is_not_written_down(store: FileRegistrationStore) -> None:
    made = Registration(issuer=ISSUER, client_id="client-1", proof_key=Hands().proof_key())
    with pytest.raises(StoreUnusable, match="cannot leave where it lives"):
        await store.save(ISSUER, made)


def test_nothing_of_a_registration_shows_itself() -> None:
    made = Registration(issuer=ISSUER, client_id="client-1", registration_access_token=Secret("registration-token-1"))
    assert "registration-token-1" not in repr(made)
    assert "statement-1" not in repr(registrant())
    assert statement() not in repr(registrant())


async def renewed(
    agent: Agent,
    *peers: RegisteringPeer,
    store: MemoryRegistrationStore | None = None,
    reason: Reason = Reason.UNAUTHORIZED,
) -> None:
    """Drive one renewal; the first server is the resource's host as well."""
    clerk = registrar(*peers, store=store)
    exchange = agent.renew(Need(reason=reason, used=agent.tokens))
    try:
        step = next(exchange)
        while True:
            if isinstance(step, Send):
                step = exchange.send(_host(step.request.url, peers).answer(step.request))
            elif isinstance(step, Introduce):
                step = exchange.send(await clerk.introduced(step.registrant))
            else:
                peer = _host(step.url, peers)
                peer.response = {"iss": peer.issuer}
                step = exchange.send(peer.callback(step.url))
    except StopIteration:
        return


def _host(url: str, peers: tuple[RegisteringPeer, ...]) -> RegisteringPeer:
    return next((peer for peer in peers if url.startswith(peer.issuer)), peers[0])
