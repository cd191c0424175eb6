"""What a stranger or an application can do to the kit itself: no crash, no second reading, no answer cut off."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from rs_kit.adapters.asgi import RsKit
from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.protocol.access_token import present
from rs_kit.protocol.dpop import ProofExpectation
from rs_kit.protocol.errors import InvalidRequest
from rs_kit.protocol.http import credentials
from rs_kit.protocol.tool_policy import parse_message
from tests.support.asgi_peer import Application, AsgiAnswer, call_with, scope
from tests.support.fakes import NONCE_KEY, NOW
from tests.support.guarded_bank import RESOURCE, Bank, as_body, rpc, tool_call
from tests.support.kit_over_http import Site

EVENT = {"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True}


async def finished(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


async def answer_of(bank: Bank, application: Application, query: bytes = b"", token: str | None = None) -> AsgiAnswer:
    pairs = [(name.encode(), value.encode()) for name, value in bank.peer.headers(token)]
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": as_body(tool_call()), "more_body": False})
    asked = {**scope("POST", "/mcp", pairs), "query_string": query}
    return await call_with(RsKit(application, bank.guard), asked, inbox)


@pytest.mark.attack("HTT-24")
@pytest.mark.parametrize("query", [b"q=%C3%A9", b"%FF=1", b"\xff=1", b"q=%ED%A0%80", b"%", b"=", b"&;&", b"%u0061=1"])
async def test_a_query_in_any_alphabet_is_no_crash(query: bytes) -> None:
    assert (await answer_of(Bank(), finished, query)).status == 200


@pytest.mark.attack("HTT-24")
@pytest.mark.parametrize("query", [b"access_token=%FF", b"\xe9=1&access%5Ftoken", b"%C3%A9&%61ccess_token=x"])
async def test_a_token_in_the_query_is_seen_beside_any_other_character(query: bytes) -> None:
    bank = Bank()

    assert (await answer_of(bank, finished, query)).status == 400
    assert bank.observer.admissions == []


@pytest.mark.requirement("MCP-6", proves="refused")
@pytest.mark.parametrize(
    "more",
    [
        {"error": {"code": 1, "message": "", "data": 1}},  # the SDK reads a response
        {"result": {}},
        {"error": None},
        {"id": None},  # the SDK reads a notification
        {"id": 1.5},
    ],
)
async def test_a_message_that_the_sdk_reads_as_another_kind_is_refused(site: Site, more: dict[str, Any]) -> None:
    used_once = MemoryUsedOnce()
    async with site.serving(Bank(used_once=used_once)) as line:
        answer = await line.send(message={**rpc("ping"), **more})

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert len(used_once) == 0


@pytest.mark.requirement("RSV-9", proves="refused")
def test_what_the_kit_passes_around_shows_no_credential() -> None:
    bank = Bank()
    token = bank.peer.token()
    request = bank.request(bank.peer.headers(token))
    expected = ProofExpectation("POST", RESOURCE, NOW, 60, 30, NONCE_KEY, access_token=token)
    shown = repr([request, credentials(dict(request.headers)[b"authorization"]), present(token), expected])

    assert not any(part in shown for part in (*token.split("."), repr(NONCE_KEY)))


@pytest.mark.attack("EXH-12")
@pytest.mark.parametrize("body", [b"[" * 4_000_000, b"[" * 2_000_000 + b"]" * 2_000_000, b"[[]" * 1_300_000])
def test_a_large_body_of_brackets_is_refused_in_one_pass(body: bytes) -> None:
    started = time.process_time()
    with pytest.raises(InvalidRequest):
        parse_message(body)

    assert time.process_time() - started < 0.7


class Disconnected(Exception):
    """What a framework makes of an OSError when it sends (Starlette: ClientDisconnect)."""


def streaming(bank: Bank, media_type: bytes, seconds: int) -> Application:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", media_type)]})
        await send(EVENT)
        bank.clock.advance(seconds)
        try:
            await send(EVENT)
            await send({"type": "http.response.body", "body": b""})
        except OSError:
            try:
                await send({"type": "http.response.body", "body": b"late"})
            except OSError as error:
                raise Disconnected from error

    return application


@pytest.mark.attack("DPR-24")
@pytest.mark.parametrize("media_type", [b"text/event-stream", b"Text/Event-Stream; charset=utf-8"])
async def test_a_stream_is_ended_once_whatever_the_framework_makes_of_it(media_type: bytes) -> None:
    bank = Bank()

    answer = await answer_of(bank, streaming(bank, media_type, 310))

    assert [(sent["body"], sent["more_body"]) for sent in answer.messages[1:]] == [(EVENT["body"], True), (b"", False)]


@pytest.mark.attack("DPR-24")
async def test_the_answer_to_a_call_that_was_admitted_in_the_leeway_is_not_cut_off() -> None:
    bank = Bank()
    token = bank.peer.token(exp=bank.clock.now() - 5)

    answer = await answer_of(bank, streaming(bank, b"text/event-stream", 3), token=token)

    assert answer.body == b"data: 1\n\ndata: 1\n\n"
