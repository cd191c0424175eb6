"""Replays, races and nonces, through ASGI down to the tools of an unmodified MCP application."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.ports import UsedOnce
from rs_kit.protocol.errors import Unavailable
from tests.support.guarded_bank import ABSENT, Bank, Peer, rpc, tool_call
from tests.support.guarded_refusals import refused
from tests.support.kit_over_http import Site
from tests.support.peer_keys import PeerKey

OTHER_KEY = PeerKey.es256(seed=13)


@pytest.mark.attack("DPR-07")
@pytest.mark.parametrize(
    "second_body",
    [
        pytest.param(tool_call(), marks=pytest.mark.requirement("DPOP-RS-11", proves="refused")),
        pytest.param(
            tool_call("get_balance", account="another"), marks=pytest.mark.requirement("DPOP-RS-13", proves="refused")
        ),
        pytest.param(rpc("tools/list"), marks=pytest.mark.requirement("DPOP-RS-15", proves="refused")),
    ],
)
async def test_a_proof_works_once_whatever_the_second_body_is(site: Site, second_body: dict[str, Any]) -> None:
    bank = Bank()
    headers = bank.peer.headers()
    async with site.serving(bank) as line:
        assert (await line.send(headers)).status_code == 200
        bank.done.clear()
        for _ in range(3):
            await refused(bank, line, headers, "invalid_dpop_proof", message=second_body)
        bank.clock.advance(60)
        await refused(bank, line, headers, "invalid_dpop_proof", message=second_body)


@pytest.mark.requirement("DPOP-RS-11", proves="holds")
@pytest.mark.requirement("DPOP-RS-15", proves="holds")
async def test_a_retry_with_a_new_jti_is_another_call(site: Site) -> None:
    bank = Bank()
    token = bank.peer.token()
    async with site.serving(bank) as line:
        for _ in range(2):
            assert (await line.send(bank.peer.headers(token))).status_code == 200
    assert bank.done == ["get_balance"] * 2


@pytest.mark.requirement("DPOP-16", proves="holds")
async def test_the_same_jti_under_another_key_is_another_proof(site: Site) -> None:
    bank = Bank()
    other = Peer(bank.clock, OTHER_KEY)
    async with site.serving(bank) as line:
        for peer in (bank.peer, other):
            token = peer.token()
            assert (await line.send(peer.headers(token, peer.proof(token, jti="the-same")))).status_code == 200


@pytest.mark.attack("RAC-03")
@pytest.mark.requirement("DPOP-16", proves="refused")
async def test_of_fifty_simultaneous_copies_exactly_one_runs(site: Site) -> None:
    bank = Bank()
    headers = bank.peer.headers()
    async with site.serving(bank) as line:
        responses = await asyncio.gather(*(line.send(headers) for _ in range(50)))
    assert sorted(response.status_code for response in responses) == [200] + [401] * 49
    assert bank.done == ["get_balance"]


class BrokenStore:
    async def take(self, namespace: str, digest: bytes, *, until: int, now: int) -> bool:
        raise Unavailable("disk is full")


class SurprisingStore:
    async def take(self, namespace: str, digest: bytes, *, until: int, now: int) -> bool:
        raise ConnectionResetError("peer")


@pytest.mark.attack("DPR-10")
@pytest.mark.requirement("RSE-10", proves="refused")
@pytest.mark.parametrize("store", [BrokenStore(), SurprisingStore(), MemoryUsedOnce(limit=0)])
async def test_a_replay_store_that_cannot_answer_is_503_and_never_a_yes(site: Site, store: UsedOnce) -> None:
    bank = Bank(used_once=store)
    async with site.serving(bank) as line:
        response = await refused(bank, line, None, None, status=503)
    assert response.headers["retry-after"] == "2"
    assert response.json()["error"] == "temporarily_unavailable"


@pytest.mark.requirement("DPOP-RS-9", proves="refused")
@pytest.mark.attack("DPR-11")
@pytest.mark.requirement("DPOP-13", proves="refused")
@pytest.mark.parametrize("kind", ["none", "wrong", "stale", "of another client", "of another server", "too long"])
async def test_without_our_own_fresh_nonce_a_new_one_is_given_and_works(site: Site, kind: str) -> None:
    bank = Bank()
    token = bank.peer.token()
    offered = {
        "none": ABSENT,
        "wrong": "A" * 32,
        "stale": bank.peer.nonce(windows_ago=2),
        "of another client": bank.peer.nonce(OTHER_KEY),
        "of another server": "eyJub25jZSI6ImZyb20tdGhlLWFzIn0",
        "too long": "A" * 4096,
    }[kind]
    async with site.serving(bank) as line:
        headers = bank.peer.headers(token, bank.peer.proof(token, nonce=offered))
        response = await refused(bank, line, headers, "use_dpop_nonce")
        nonces = response.headers.get_list("dpop-nonce")
        assert len(nonces) == 1
        retry = bank.peer.headers(token, bank.peer.proof(token, nonce=nonces[0]))
        assert (await line.send(retry)).status_code == 200


@pytest.mark.attack("DPR-12")
@pytest.mark.requirement("DPOP-13", proves="holds")
async def test_the_current_and_the_previous_nonce_work_and_the_one_before_does_not(site: Site) -> None:
    bank = Bank()
    token = bank.peer.token()
    async with site.serving(bank) as line:
        statuses = []
        for windows_ago in (0, 1, 2):
            proof = bank.peer.proof(token, nonce=bank.peer.nonce(windows_ago=windows_ago))
            statuses.append((await line.send(bank.peer.headers(token, proof))).status_code)
    assert statuses == [200, 200, 401]


@pytest.mark.requirement("RSE-9", proves="holds")
@pytest.mark.requirement("DPOP-RS-10", proves="holds")
async def test_every_answer_brings_the_next_nonce_and_may_not_be_kept(site: Site) -> None:
    bank = Bank()
    token = bank.peer.token()
    async with site.serving(bank) as line:
        response = await line.send(bank.peer.headers(token))
        nonces = response.headers.get_list("dpop-nonce")
        assert len(nonces) == 1
        bank.clock.advance(120)
        proof = bank.peer.proof(token, nonce=nonces[0])
        assert (await line.send(bank.peer.headers(token, proof))).status_code == 200
    assert response.headers["cache-control"] == "private, no-store"
    assert response.headers["vary"] == "authorization, dpop"


@pytest.mark.requirement("DPOP-RS-9", proves="holds")
async def test_the_nonce_of_a_first_challenge_saves_the_round_trip(site: Site) -> None:
    bank = Bank()
    async with site.serving(bank) as line:
        first = await refused(bank, line, [], None)
        token = bank.peer.token()
        proof = bank.peer.proof(token, nonce=first.headers["dpop-nonce"])
        assert (await line.send(bank.peer.headers(token, proof))).status_code == 200
