"""What FAPI 2.0 asks of a client, row by row: the agent at real guards, at several servers, at its loopback address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fapi_as.agent.agent import Agent
from fapi_as.agent.errors import AuthorizationDenied, ResponseRejected, ServerRefused, TooManyPrompts
from fapi_as.agent.loopback import Loopback
from fapi_as.agent.steps import Answer, Callback, Exchange, Renew, Send
from rs_kit.protocol.jws import SigningKey
from tests.support.agent_peer import (
    ISSUER,
    NOW,
    RESOURCE,
    Hands,
    Peer,
    agent_of,
    as_json,
    form,
    identity,
    opened,
    run_call,
)
from tests.support.agent_scene import insufficient
from tests.support.minting_peer import CALL, MintingPeer, bank

SECOND = "https://second.example"
SECOND_KEY = SigningKey.from_private_key(ec.generate_private_key(ec.SECP256R1()), kid="second-1")
BOTH = (identity(), identity(issuer=SECOND, client_id="agent-at-second"))


def second() -> MintingPeer:
    """An authorization server of an attacker, at which the agent is registered as well."""
    return MintingPeer(issuer=SECOND, key=SECOND_KEY)


# --- stolen tokens that come back through a second authorization server


@pytest.mark.requirement("ATT-T-3", proves="holds")
async def test_a_token_of_the_issuer_that_the_resource_trusts_is_admitted() -> None:
    async with bank(MintingPeer()) as place, place.client() as client:
        assert (await client.post(RESOURCE, json=CALL)).status_code == 200


@pytest.mark.requirement("ATT-T-3", proves="refused")
async def test_a_token_of_a_second_issuer_for_the_same_key_is_not_admitted() -> None:
    async with bank(MintingPeer(), second()) as place, place.client(identities=BOTH) as client:
        response = await client.post(RESOURCE, json=CALL)
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    assert len(place.calls) == 1


def keys_seen(peer: Peer) -> set[str]:
    return {str(opened(dict(request.headers)["dpop"])[0]["jwk"]) for request in peer.requests_to("/token")}


@pytest.mark.requirement("FAPI2-SEC-3", proves="holds")
async def test_each_authorization_server_sees_a_key_of_its_own() -> None:
    honest, attacker = MintingPeer(), second()
    async with bank(honest, attacker) as place, place.client(identities=BOTH) as client:
        await client.post(RESOURCE, json=CALL)
        place.authorization_servers = [ISSUER]
        assert (await client.post(RESOURCE, json=CALL)).status_code == 200
    assert (len(keys_seen(honest)), len(keys_seen(attacker))) == (1, 1)
    assert not keys_seen(honest) & keys_seen(attacker)


@pytest.mark.attack("XPA-07")
@pytest.mark.requirement("FAPI2-SEC-3", proves="refused")
async def test_a_stolen_token_that_a_second_server_hands_out_as_its_own_is_not_admitted() -> None:
    honest, attacker = MintingPeer(), second()
    async with bank(honest, attacker) as place, place.client(identities=BOTH) as client:
        place.authorization_servers = [ISSUER]
        assert (await client.post(RESOURCE, json=CALL)).status_code == 200
        stolen = place.calls[-1]
        attacker.injected = stolen.headers["authorization"].removeprefix("DPoP ")
        place.authorization_servers, place.turn_away = [SECOND], 1
        response = await client.post(RESOURCE, json=CALL)
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    assert place.calls[-1].headers["authorization"] == stolen.headers["authorization"]  # a good one, with the wrong key
    assert opened(place.calls[-1].headers["dpop"])[0]["jwk"] != opened(stolen.headers["dpop"])[0]["jwk"]


# --- replay


@pytest.mark.requirement("FAPI2-SEC-2", proves="holds")
async def test_two_calls_of_an_agent_have_a_proof_each_and_are_both_admitted() -> None:
    async with bank(MintingPeer()) as place, place.client() as client:
        assert [(await client.post(RESOURCE, json=CALL)).status_code for _ in range(2)] == [200, 200]


@pytest.mark.requirement("FAPI2-SEC-2", proves="refused")
async def test_a_call_of_an_agent_that_comes_again_is_not_admitted() -> None:
    async with bank(MintingPeer()) as place, place.client() as client:
        assert (await client.post(RESOURCE, json=CALL)).status_code == 200
        response = await place.again(place.calls[-1])
        assert response.status_code == 401
        assert 'error="invalid_dpop_proof"' in response.headers["www-authenticate"]
        assert (await client.post(RESOURCE, json=CALL)).status_code == 200


# --- one program with many connections


def begun(agent: Agent, peer: Peer) -> tuple[Exchange[None], Callback]:
    """One connection whose person has just come back; the exchange, and what the browser brought."""
    steps = agent.call("POST", RESOURCE)
    next(steps)
    renew = steps.send(Answer(status=401, headers=(("www-authenticate", peer.challenge),)))
    assert isinstance(renew, Renew)
    exchange = agent.renew(renew.need)
    todo = next(exchange)
    while isinstance(todo, Send):
        todo = exchange.send(peer.answer(todo.request))
    return exchange, peer.callback(todo.url)


def ended(exchange: Exchange[None], peer: Peer, callback: Callback) -> None:
    try:
        todo = exchange.send(callback)
        while isinstance(todo, Send):
            todo = exchange.send(peer.answer(todo.request))
    except StopIteration:
        return


@pytest.mark.requirement("ATT-T-5", proves="holds")
def test_two_connections_at_once_each_redeem_what_their_own_server_sent() -> None:
    honest, attacker = Peer(), second()
    attacker.resource_document["authorization_servers"] = [SECOND]
    ours, theirs = agent_of(), agent_of(identities=(identity(issuer=SECOND),))
    (first, to_first), (other, to_other) = begun(ours, honest), begun(theirs, attacker)
    ended(other, attacker, to_other)
    ended(first, honest, to_first)
    assert (ours.tokens is not None, theirs.tokens is not None) == (True, True)
    assert (len(honest.requests_to("/token")), len(attacker.requests_to("/token"))) == (1, 1)


@pytest.mark.requirement("ATT-T-5", proves="refused")
def test_what_came_back_for_one_connection_is_not_redeemed_by_another() -> None:
    honest, attacker = Peer(), second()
    attacker.resource_document["authorization_servers"] = [SECOND]
    ours, theirs = agent_of(), agent_of(identities=(identity(issuer=SECOND),))
    (first, to_first), (other, to_other) = begun(ours, honest), begun(theirs, attacker)
    with pytest.raises(ResponseRejected):
        ended(other, attacker, to_first)  # the code of the honest server, for the token endpoint of the attacker's
    with pytest.raises(ResponseRejected):
        ended(first, honest, to_other)
    assert honest.requests_to("/token") + attacker.requests_to("/token") == []
    assert (ours.tokens, theirs.tokens) == (None, None)


# --- another sign-in


def unmet(**parameters: str) -> Answer:
    said = {"error": "insufficient_user_authentication", **parameters}
    challenge = ", ".join(f'{name}="{value}"' for name, value in said.items())
    return Answer(status=401, headers=(("www-authenticate", f"DPoP {challenge}"),))


@pytest.mark.requirement("STEP-4", proves="holds")
@pytest.mark.parametrize(
    "wanted", [{"acr_values": "phr phrh"}, {"max_age": "300"}, {"acr_values": "phr", "max_age": "0"}]
)
def test_a_person_is_asked_to_sign_in_as_the_resource_says(wanted: dict[str, str]) -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)
    peer.resource_answers = [unmet(**wanted)]

    assert run_call(agent, peer).status == 200
    first, again = (form(request) for request in peer.requests_to("/par"))
    assert {name: again.get(name) for name in ("acr_values", "max_age")} == {
        "acr_values": None,
        "max_age": None,
        **wanted,
    }
    assert again["scope"] == first["scope"]
    assert {"acr_values", "max_age"} & set(first) == set()
    assert len(peer.visited) == 2


@pytest.mark.requirement("STEP-4", proves="refused")
def test_a_resource_that_repeats_its_wish_for_another_sign_in_is_given_up() -> None:
    hands, peer = Hands(), Peer()
    agent = agent_of(hands)
    run_call(agent, peer)
    for _ in range(3):
        peer.resource_answers = [unmet(max_age="0"), unmet(max_age="0")]
        assert run_call(agent, peer).status == 401
    peer.resource_answers = [unmet(max_age="0")]
    with pytest.raises(TooManyPrompts):
        run_call(agent, peer)
    assert len(peer.visited) == 1 + 3
    hands.time += 3600
    peer.resource_answers = [unmet(max_age="0")]
    assert run_call(agent, peer).status == 200


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"acr_values": ""},
        {"acr_values": "a" * 513},
        {"acr_values": "caf\u00e9"},
        {"max_age": "-1"},
        {"max_age": "soon"},
    ],
)
def test_a_wish_for_another_sign_in_that_says_nothing_usable_is_the_answer_to_the_call(wanted: dict[str, str]) -> None:
    peer, agent = Peer(), agent_of()
    run_call(agent, peer)
    peer.resource_answers = [unmet(**wanted)]

    assert run_call(agent, peer).status == 401
    assert len(peer.visited) == 1


# --- clocks


@pytest.mark.requirement("FAPI2-CL-17", proves="holds")
@pytest.mark.parametrize(("ahead", "told"), [(600, "600 s ahead of"), (-600, "600 s behind"), (30, None), (-30, None)])
def test_a_clock_that_may_be_the_reason_of_a_refusal_is_told(ahead: int, told: str | None) -> None:
    peer = Peer()
    date = format_datetime(datetime.fromtimestamp(NOW - ahead, UTC), usegmt=True)
    peer.overrides["/par"] = lambda _: as_json(401, {"error": "invalid_client"}, (("date", date),))

    with pytest.raises(ServerRefused) as caught:
        run_call(agent_of(), peer)
    assert (told in str(caught.value)) if told else ("clock" not in str(caught.value))


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 99 Foo 9999 99:99:99 GMT", "Fri, 31 Dec 9999 23:59:59 -2359"])
def test_a_date_that_cannot_be_read_is_not_talked_about(date: str) -> None:
    peer = Peer()
    peer.overrides["/par"] = lambda _: as_json(401, {"error": "invalid_client"}, (("date", date),))

    with pytest.raises(ServerRefused, match="invalid_client"):
        run_call(agent_of(), peer)


# --- the address that the browser comes back to


async def get(uri: str, target: str, **headers: str) -> str:
    """What this address answers to a browser."""
    authority = httpx2.URL(uri).netloc.decode()
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx2.URL(uri).port)
    lines = [
        f"GET {target} HTTP/1.1",
        f"host: {authority}",
        *(f"{n.replace('_', '-')}: {v}" for n, v in headers.items()),
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    answer = await reader.read()
    writer.close()
    return answer.decode()


@pytest.fixture
async def loopback() -> AsyncIterator[Loopback]:
    found = Loopback("http://127.0.0.1/callback")
    async with found.listening():
        yield found


@pytest.mark.requirement("FAPI2-CL-4", proves="holds")
async def test_a_browser_that_comes_back_is_told_so_on_the_spot(loopback: Loopback) -> None:
    waiting = asyncio.ensure_future(loopback.answer())
    await asyncio.sleep(0)
    answer = await get(loopback.redirect_uri, "/callback?code=c&state=s")
    assert answer.startswith("HTTP/1.1 200 ")
    assert await waiting == f"{loopback.redirect_uri}?code=c&state=s"


@pytest.mark.requirement("FAPI2-CL-4", proves="refused")
@pytest.mark.parametrize("value", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
@pytest.mark.parametrize("name", ["returnTo", "redirect_uri", "next", "url", "state", "error_uri"])
async def test_nothing_that_a_browser_brings_sends_it_anywhere(loopback: Loopback, name: str, value: str) -> None:
    waiting = asyncio.ensure_future(loopback.answer())
    await asyncio.sleep(0)
    for target in (f"/?{name}={value}", f"/{value}", f"/callback/?{name}={value}", f"/callback?code=c&{name}={value}"):
        answer = (await get(loopback.redirect_uri, target)).lower()
        assert "location:" not in answer
        assert "refresh" not in answer
        assert "evil.example" not in answer
        assert "alert(1)" not in answer
    await waiting


@pytest.mark.requirement("FAPI2-CL-10", proves="holds")
async def test_a_flow_begins_with_a_call_of_the_agents_own_program(loopback: Loopback) -> None:
    peer = Peer(callback_prefix=f"{loopback.redirect_uri}?")
    agent = agent_of(identities=(identity(redirect_uri=loopback.redirect_uri),))
    assert run_call(agent, peer).status == 200
    assert len(peer.visited) == 1


@pytest.mark.requirement("FAPI2-CL-10", proves="refused")
@pytest.mark.parametrize("path", ["/", "/start", "/login", "/authorize", "/callback", "/callback?code=c&state=s&iss=x"])
@pytest.mark.parametrize("mode", ["navigate", "no-cors", "cors"])
async def test_no_page_of_another_site_begins_a_flow(loopback: Loopback, path: str, mode: str) -> None:
    peer = Peer()
    agent = agent_of(identities=(identity(redirect_uri=loopback.redirect_uri),))
    answer = await get(loopback.redirect_uri, path, sec_fetch_site="cross-site", sec_fetch_mode=mode)
    assert answer.startswith("HTTP/1.1 4")
    assert (peer.seen, peer.visited, agent.tokens) == ([], [], None)


def test_a_no_of_the_person_begins_no_other_flow() -> None:
    peer, agent = Peer(response={"error": "access_denied", "code": None}), agent_of()
    with pytest.raises(AuthorizationDenied):
        run_call(agent, peer)
    assert len(peer.visited) == 1


# --- bounds


def test_a_resource_that_asks_for_ever_more_scopes_comes_to_an_end() -> None:
    hands, peer = Hands(), Peer(token_document={"expires_in": None})
    agent = agent_of(hands)
    run_call(agent, peer)
    for hour in range(10):
        hands.time += 3600
        peer.resource_answers = [insufficient(" ".join(f"s{hour}-{number}" for number in range(21)))]
        run_call(agent, peer)
    assert len(peer.visited) == 1 + 3  # 1 + 3 * 21 scopes are 64
    assert agent.tokens is not None
    assert len(agent.tokens.scope) == 64


@pytest.mark.parametrize("expires_in", [1e300, 2**53 - 1])
def test_no_token_is_kept_for_longer_than_a_year(expires_in: float) -> None:
    peer, agent = Peer(token_document={"expires_in": expires_in}), agent_of()
    run_call(agent, peer)
    assert agent.tokens is not None
    assert agent.tokens.expires_at == NOW + 366 * 86_400
