"""How an agent becomes known: in the order of MCP, and at each issuer for itself."""

from __future__ import annotations

import asyncio
import json

import pytest

from fapi_as.agent.agent import Agent
from fapi_as.agent.errors import (
    IssuerNotAllowed,
    Misconfigured,
    RegistrationNeeded,
    ServerRefused,
)
from fapi_as.agent.registered import Registration
from fapi_as.agent.steps import Introduce, Need, Reason, Send
from fapi_as.agent.token_store import MemoryRegistrationStore
from rs_kit.protocol.secret import Secret
from tests.support.agent_peer import (
    ISSUER,
    agent_of,
    as_json,
    form,
    header,
    opened,
)
from tests.support.registering_peer import (
    RegisteringPeer,
    registrant,
    registrar,
    statement,
)

SECOND = "https://second.example"
DOCUMENT = "https://agent.example/client.json"
DOCUMENTS = {"client_id_metadata_document_supported": True}


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
