"""What lies beyond one call over HTTP: other workers, restarts, issuers that fail, streams that outlive their token."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from rs_kit.adapters.bounded_fetch import HttpsGet
from rs_kit.adapters.issuer_keys import HttpsIssuerKeys
from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.adapters.used_once_sqlite import SqliteUsedOnce
from tests.support.guarded_bank import ISSUER_KEY, RESOURCE, VERSION, Bank, Peer, as_body, tool_call
from tests.support.guarded_refusals import refused, still_works
from tests.support.kit_over_http import RawHttp, Site, connected, listening, wire
from tests.support.peer_keys import PeerKey, b64

OTHER_KEY = PeerKey.es256(seed=13)
MINUTES = 60


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[Callable[[], SqliteUsedOnce]]:
    """Opens the replay store of one host once more, as each of its workers does."""
    async with contextlib.AsyncExitStack() as opened:

        def another() -> SqliteUsedOnce:
            store = SqliteUsedOnce(tmp_path / "used-once.db")
            opened.push_async_callback(store.aclose)
            return store

        yield another


@pytest.mark.attack("DPR-07")
async def test_a_proof_that_one_worker_took_is_taken_at_the_others_and_after_a_restart(
    site: Site, shared: Callable[[], SqliteUsedOnce]
) -> None:
    first, second = (Bank(used_once=shared()) for _ in range(2))
    headers = first.peer.headers()
    async with site.serving(first) as here, site.serving(second) as there:
        assert (await here.send(headers)).status_code == 200
        first.done.clear()
        await refused(first, here, headers, "invalid_dpop_proof")
        await refused(second, there, headers, "invalid_dpop_proof")
    started_again = Bank(used_once=shared())
    started_again.clock.advance(59)
    async with site.serving(started_again) as line:
        await refused(started_again, line, headers, "invalid_dpop_proof")


@pytest.mark.attack("DPR-07")
async def test_of_fifty_copies_sent_to_two_workers_at_once_exactly_one_runs(
    site: Site, shared: Callable[[], SqliteUsedOnce]
) -> None:
    banks = [Bank(used_once=shared()) for _ in range(2)]
    headers = banks[0].peer.headers()
    async with site.serving(banks[0]) as here, site.serving(banks[1]) as there:
        sent = [line.send(headers) for line in (here, there) for _ in range(25)]
        statuses = [response.status_code for response in await asyncio.gather(*sent)]
    assert sorted(statuses) == [200] + [401] * 49
    assert [bank.done for bank in banks] in ([["get_balance"], []], [[], ["get_balance"]])


@pytest.mark.attack("DPR-10")
async def test_a_replay_store_whose_file_went_away_is_503_and_runs_nothing(
    site: Site, shared: Callable[[], SqliteUsedOnce], tmp_path: Path
) -> None:
    bank = Bank(used_once=shared())
    async with site.serving(bank) as line:
        assert (await line.send()).status_code == 200
        bank.done.clear()
        _remove_all(tmp_path)
        response = await refused(bank, line, None, None, status=503)
    assert response.headers["retry-after"] == "2"


def _remove_all(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()


async def test_a_full_store_refuses_until_there_is_room_and_nothing_is_forgotten_for_it(site: Site) -> None:
    bank = Bank(used_once=MemoryUsedOnce(limit=3))
    token = bank.peer.token(exp=bank.clock.now() + 600)
    first = bank.peer.headers(token)
    async with site.serving(bank) as line:
        for headers in (first, bank.peer.headers(token), bank.peer.headers(token)):
            assert (await line.send(headers)).status_code == 200
        bank.done.clear()
        await refused(bank, line, bank.peer.headers(token), None, status=503)
        await refused(bank, line, first, "invalid_dpop_proof", works=False)
        bank.clock.advance(100)
        await still_works(bank, line)


@pytest.mark.attack("XPA-08")
async def test_a_token_for_one_resource_of_a_host_opens_no_other(site: Site) -> None:
    accounts, payments = Bank(), Bank(resource=RESOURCE + "/payments")
    token = accounts.peer.token()
    async with site.serving(accounts) as here, site.serving(payments, path="/mcp") as there:
        proof = accounts.peer.proof(token, htu=payments.resource)
        assert (await there.send(accounts.peer.headers(token, proof))).status_code == 401
        assert [refusal.error.detail for refusal in payments.observer.refusals] == ["aud is another resource"]
        assert (await here.send(accounts.peer.headers(token))).status_code == 200
        both = accounts.peer.token(aud=[accounts.resource, payments.resource])
        proof = accounts.peer.proof(both, htu=payments.resource)
        assert (await there.send(accounts.peer.headers(both, proof))).status_code == 200
    assert payments.done == ["get_balance"]


class Issuer:
    """The authorization server's two documents over TLS; `documents` may become anything that a bad day brings."""

    def __init__(self) -> None:
        self.url = ""
        self.answer: tuple[int, bytes, bytes] | None = None
        self.asked = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        status, kind, body = 200, b"application/json", json.dumps({"keys": [ISSUER_KEY.jwk(kid="as-1")]}).encode()
        if scope["path"] != "/jwks":
            body = json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}).encode()
        else:
            self.asked += 1
            status, kind, body = self.answer or (status, kind, body)
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        with contextlib.suppress(OSError):
            await send({"type": "http.response.body", "body": body})


class Outage:
    """An issuer over real TLS, its keys at the bank, and both clocks."""

    def __init__(self, issuer: Issuer, ca_file: Path) -> None:
        self.issuer = issuer
        self.time = 1000.0
        self.keys = HttpsIssuerKeys(issuer.url, fetch=HttpsGet(ca_file), monotonic=lambda: self.time)
        self.bank = Bank(keys=self.keys, issuer=issuer.url)

    def token(self, **claims: Any) -> str:
        return self.bank.peer.token(iss=self.issuer.url, **{"exp": self.bank.clock.now() + 600, **claims})

    def headers(self, token: str | None = None) -> list[tuple[str, str]]:
        return self.bank.peer.headers(self.token() if token is None else token)

    async def advance(self, seconds: int) -> None:
        self.time += seconds
        self.bank.clock.advance(seconds)
        self.keys.current()  # what a call does; the renewal that it begins is waited for
        if self.keys._running is not None:
            await self.keys._running


@pytest.fixture
async def outage(tmp_path: Path) -> AsyncIterator[Outage]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "as.pem")
    issuer = Issuer()
    both = str(tmp_path / "as.pem")
    async with listening(issuer, certfile=both, keyfile=both) as port:
        issuer.url = f"https://localhost:{port}"
        yield Outage(issuer, tmp_path / "ca.pem")


BAD_DAYS = {
    "500": (500, b"application/json", b"{}"),
    "HTML": (200, b"text/html", b"<html>"),
    "10 MiB": (200, b"application/json", b'{"keys":[' + b" " * 10 * 1024 * 1024 + b"]}"),
    "no keys": (200, b"application/json", b'{"keys":[]}'),
    "cut": (200, b"application/json", b'{"keys":['),
}


@pytest.mark.attack("DPR-27")
@pytest.mark.parametrize("answer", BAD_DAYS.values(), ids=BAD_DAYS)
async def test_a_bad_day_of_the_issuer_leaves_the_last_good_keys_for_five_minutes_and_then_503(
    site: Site, outage: Outage, answer: tuple[int, bytes, bytes]
) -> None:
    bank = outage.bank
    async with site.serving(bank) as line:
        assert (await line.send(outage.headers())).status_code == 200
        outage.issuer.answer = answer
        for _ in range(4):
            await outage.advance(MINUTES)
            assert (await line.send(outage.headers())).status_code == 200
        bank.done.clear()
        await outage.advance(MINUTES)
        await refused(bank, line, outage.headers(), None, status=503)
        outage.issuer.answer = None
        await outage.advance(5)
        assert (await line.send(outage.headers())).status_code == 200


@pytest.mark.attack("DPR-26")
async def test_ten_thousand_tokens_with_random_kids_cost_one_question(site: Site, outage: Outage) -> None:
    bank = outage.bank
    async with site.serving(bank) as line:
        assert (await line.send(outage.headers())).status_code == 200
        assert outage.issuer.asked == 1
        await outage.advance(30)
        assert isinstance(line.http, RawHttp)
        proof, claims = bank.peer.headers()[1][1], outage.token().split(".")[1]
        async with connected(line.http.port) as (reader, writer):
            for batch in range(100):
                for number in range(100):
                    header = b64(b'{"alg":"ES256","typ":"at+jwt","kid":"random-%d-%d"}' % (batch, number))
                    headers = [("authorization", f"DPoP {header}.{claims}.{'A' * 86}"), ("dpop", proof)]
                    writer.write(_kept_alive(headers))
                for _ in range(100):
                    assert b" 401 " in await reader.readline()
                    await _rest(reader)
        assert outage.issuer.asked == 2
        assert len(bank.observer.refusals) == 10_000
        bank.done.clear()
        assert (await line.send(outage.headers())).status_code == 200
        assert bank.done == ["get_balance"]
        assert outage.issuer.asked == 2


async def _rest(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.partition(b":")[2]))


def _kept_alive(pairs: list[tuple[str, str]]) -> bytes:
    headers = [(name.encode(), value.encode()) for name, value in pairs]
    more = [(b"content-type", b"application/json"), (b"connection", b"keep-alive")]
    return wire("POST", "/mcp", [*headers, *more], as_body(tool_call()))


@pytest.mark.attack("DPR-24")
async def test_a_stream_ends_with_its_token_and_a_new_request_needs_a_new_one(site: Site) -> None:
    bank = Bank()
    token = bank.peer.token()
    async with site.serving(bank, json_response=False) as line:
        assert isinstance(line.http, RawHttp)
        async with asyncio.timeout(20), connected(line.http.port) as (reader, writer):
            writer.write(_following(bank, token))
            bank.news.put_nowait("before")
            received = await reader.readuntil(b"before")
            assert received.startswith(b"HTTP/1.1 200 ")
            bank.clock.advance(309)
            bank.news.put_nowait("in the leeway")
            await reader.readuntil(b"in the leeway")
            bank.clock.advance(1)
            bank.news.put_nowait("too late")
            assert b"too late" not in await reader.read()
        await refused(bank, line, bank.peer.headers(token), "invalid_token")


def _following(bank: Bank, token: str) -> bytes:
    message = tool_call("follow")
    message["params"]["_meta"]["progressToken"] = 1
    headers = [
        *bank.peer.headers(token),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", VERSION),
        ("mcp-method", "tools/call"),
        ("mcp-name", "follow"),
    ]
    return wire("POST", "/mcp", [(name.encode(), value.encode()) for name, value in headers], as_body(message))


@pytest.mark.attack("DPR-23")
async def test_the_session_of_one_user_is_another_users_404_and_nothing_of_it_ends(site: Site) -> None:
    bank = Bank(legacy_streams=True)
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
    thief = Peer(bank.clock, OTHER_KEY)
    async with site.serving(bank, stateless=False) as line:
        session = (await line.send(message=hello, version="2025-06-18")).headers["mcp-session-id"]
        for claims in ({"sub": "mallory"}, {"client_id": "agent-2"}):
            hers = thief.token(**claims)
            ended = thief.headers(hers, thief.proof(hers, htm="DELETE"), mcp_session_id=session)
            assert (await line.send(ended, method="DELETE", version="2025-06-18")).status_code == 404
        again = bank.peer.headers(mcp_session_id=session)
        ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        assert (await line.send(again, ready, version="2025-06-18")).status_code == 202
