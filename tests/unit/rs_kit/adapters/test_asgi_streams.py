"""Streams of events: they end with their token, whether anybody speaks or not; sessions only where they are wanted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rs_kit.adapters import asgi_exchange
from rs_kit.adapters.asgi import RsKit
from tests.support import asgi_peer
from tests.support.guarded_bank import Bank, as_body, tool_call

EVENTS = [(b"content-type", b"text/event-stream")]


class Silent:
    """Opens a stream, says nothing, and listens for the client to leave."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.failure: BaseException | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.heard.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        self.heard.append(await receive())
        try:
            await send({"type": "http.response.body", "body": b"data: late\n\n", "more_body": True})
        except OSError as error:
            self.failure = error
            raise


def time_that_moves(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Waiting for the end of a token moves the clock there."""
    waits: list[int] = []

    async def sleep(seconds: int) -> None:
        await asyncio.sleep(0)  # the application says what it has to say
        waits.append(seconds)
        bank.clock.advance(seconds if len(waits) > 1 else seconds - 1)  # the first time a second too early

    monkeypatch.setattr(asgi_exchange, "sleep", sleep)
    return waits


def headers_of(bank: Bank, **more: str) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in bank.peer.headers(**more)]


async def opened(bank: Bank, app: Any, *, leaves: bool = False) -> asgi_peer.AsgiAnswer:
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": as_body(tool_call())})
    if leaves:
        inbox.put_nowait({"type": "http.disconnect"})
    async with asyncio.timeout(5):
        return await asgi_peer.call_with(
            RsKit(app, bank.guard), asgi_peer.scope("POST", "/mcp", headers_of(bank)), inbox
        )


@pytest.mark.requirement("MCP-16", proves="refused")
async def test_a_silent_stream_is_ended_when_its_token_ends_and_its_application_hears_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bank, app = Bank(), Silent()
    waits = time_that_moves(bank, monkeypatch)
    answer = await opened(bank, app)
    assert waits == [310, 1]  # exp, and ten seconds by which clocks may differ
    assert answer.body == b"data: 1\n\n"
    assert [message["more_body"] for message in answer.messages[1:]] == [True, False]
    assert app.heard[1] == {"type": "http.disconnect"}
    assert isinstance(app.failure, asgi_exchange.StreamEnded)


@pytest.mark.requirement("MCP-16", proves="holds")
async def test_a_stream_lasts_as_long_as_its_token_and_its_client() -> None:
    bank, app = Bank(), Silent()
    answer = await opened(bank, app, leaves=True)
    assert app.heard[1] == {"type": "http.disconnect"}  # what closing means is the application's (cancellation)
    assert app.failure is None
    assert answer.body == b"data: 1\n\ndata: late\n\n"


async def test_a_stream_that_is_complete_is_not_ended_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bank = Bank()
    waits = time_that_moves(bank, monkeypatch)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
        await send({"type": "http.response.body", "body": b"data: 1\n\n"})
        for _ in range(5):
            await asyncio.sleep(0)

    answer = await opened(bank, app)
    assert [message.get("body") for message in answer.messages[1:]] == [b"data: 1\n\n"]
    assert len(waits) <= 1


async def test_an_application_hears_headers_by_the_names_that_were_judged() -> None:
    bank, seen = Bank(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(scope["headers"])

    headers = [*headers_of(bank), (b"Mcp-Name", b"get_balance")]
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": as_body(tool_call())})
    await asgi_peer.call_with(RsKit(app, bank.guard), asgi_peer.scope("POST", "/mcp", headers), inbox)
    assert (b"mcp-name", b"get_balance") in seen
    assert all(name == name.lower() for name, _ in seen)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("streams", [False, True])
async def test_get_and_delete_are_there_only_where_sessions_are_wanted(method: str, streams: bool) -> None:
    bank, reached = Bank(legacy_streams=streams), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["method"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    kit = RsKit(app, bank.guard)
    assert (await asgi_peer.call(kit, method, "/mcp")).status == 401  # discovery begins there
    token = bank.peer.token()
    proof = bank.peer.proof(token, htm=method)
    headers = {"authorization": f"DPoP {token}", "dpop": proof}
    answer = await asgi_peer.call(kit, method, "/mcp", headers)
    if streams:
        assert (answer.status, reached) == (200, [method])
        return
    assert (answer.status, reached) == (405, [])
    assert answer.header("allow") == "POST"
    assert len(bank.used_once) == 0  # the proof is not spent


@pytest.mark.parametrize("streams", [False, True])
async def test_an_answer_to_the_server_is_one_only_where_sessions_are_wanted(streams: bool) -> None:
    bank, reached = Bank(legacy_streams=streams), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 202, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    said = as_body({"jsonrpc": "2.0", "id": 3, "result": {"action": "accept"}})
    answer = await asgi_peer.call(RsKit(app, bank.guard), "POST", "/mcp", headers_of(bank), said)
    assert (answer.status, reached) == ((202, [said]) if streams else (400, []))
    poor = bank.peer.token(scope="accounts:read")  # not the base scopes
    headers = [(name.encode(), value.encode()) for name, value in bank.peer.headers(poor)]
    answer = await asgi_peer.call(RsKit(app, bank.guard), "POST", "/mcp", headers, said)
    assert answer.status == (403 if streams else 400)
