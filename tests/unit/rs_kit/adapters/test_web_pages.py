"""Pages of other origins: those that are named may ask, call and read; for all others nothing is different."""

from __future__ import annotations

import pytest

from rs_kit.adapters.asgi import RsKit
from tests.support import asgi_peer
from tests.support.guarded_bank import Bank, as_body, tool_call

CONSOLE = "https://console.bank.example"
ASKS = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,DPoP,Mcp-Param-Amount",
}


async def application(scope: object, receive: object, send: object) -> None:
    headers = [(b"Access-Control-Allow-Origin", b"*"), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})  # type: ignore[operator] # ASGI
    await send({"type": "http.response.body", "body": b"{}"})  # type: ignore[operator] # ASGI


def cross_origin(answer: asgi_peer.AsgiAnswer) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in answer.pairs if name.startswith(b"access-control-")}


@pytest.mark.requirement("DPOP-RS-16", proves="holds")
async def test_a_page_that_is_named_may_ask_call_and_read_the_challenge_and_the_nonce() -> None:
    bank = Bank()
    kit = RsKit(application, bank.guard, allowed_origins=[CONSOLE])
    asked = await asgi_peer.call(kit, "OPTIONS", "/mcp", {"origin": CONSOLE, **ASKS})
    assert asked.status == 204
    told = cross_origin(asked)
    assert told["access-control-allow-origin"] == CONSOLE
    assert told["access-control-allow-methods"] == "POST"
    allowed = told["access-control-allow-headers"].split(", ")
    assert {"authorization", "dpop", "content-type", "mcp-protocol-version", "mcp-method", "mcp-name"} <= set(allowed)
    assert "mcp-param-amount" in allowed
    good = {**dict(bank.peer.headers()), "origin": CONSOLE}
    answers = [await asgi_peer.call(kit, "POST", "/mcp", headers, as_body(tool_call())) for headers in (good, good)]
    assert [answer.status for answer in answers] == [200, 401]  # the second time the proof is used up
    for answer in answers:
        told = cross_origin(answer)
        assert told["access-control-allow-origin"] == CONSOLE  # and not what the application said
        assert {"www-authenticate", "dpop-nonce"} <= set(told["access-control-expose-headers"].split(", "))
        assert "access-control-allow-credentials" not in told


@pytest.mark.requirement("DPOP-RS-16", proves="refused")
@pytest.mark.parametrize("origins", [[], [CONSOLE]], ids=["no page", "one page"])
async def test_a_page_that_is_not_named_is_told_nothing(origins: list[str]) -> None:
    bank = Bank()
    kit = RsKit(application, bank.guard, allowed_origins=origins)
    for origin in ("https://evil.example", "null", CONSOLE.upper()):
        asked = await asgi_peer.call(kit, "OPTIONS", "/mcp", {"origin": origin, **ASKS})
        assert (asked.status, cross_origin(asked)) == (403, {})
        called = await asgi_peer.call(kit, "POST", "/mcp", {**dict(bank.peer.headers()), "origin": origin}, b"{}")
        assert (called.status, cross_origin(called)) == (403, {})
    plain = await asgi_peer.call(kit, "POST", "/mcp", dict(bank.peer.headers()), as_body(tool_call()))
    assert (plain.status, cross_origin(plain)) == (200, {})  # an agent is no page; the application's own word is gone


async def test_a_question_is_no_way_to_the_application() -> None:
    reached: list[object] = []

    async def app(scope: object, receive: object, send: object) -> None:
        reached.append(scope)

    kit = RsKit(app, Bank().guard, allowed_origins=[CONSOLE])
    twice = [
        (b"origin", CONSOLE.encode()),
        (b"origin", b"https://evil.example"),
        (b"access-control-request-method", b"POST"),
    ]
    assert (await asgi_peer.call(kit, "OPTIONS", "/mcp", twice)).status == 400
    assert (await asgi_peer.call(kit, "OPTIONS", "/mcp", {"origin": CONSOLE})).status == 405
    odd = {"origin": CONSOLE, **ASKS, "access-control-request-headers": "x-evil\r, mcp-param-\xfc, cookie"}
    told = cross_origin(await asgi_peer.call(kit, "OPTIONS", "/mcp", odd))
    assert "evil" not in told["access-control-allow-headers"]
    assert "cookie" not in told["access-control-allow-headers"]
    assert reached == []
