"""The same bank on bare ASGI: no framework and no checks of its own, so that whatever stops a thief is the kit."""

from __future__ import annotations

import json
from typing import Any

from rs_kit.adapters.asgi import CALL, Receive, Scope, Send
from rs_kit.ports import AuthorizedCall
from tests.support.guarded_bank import Bank

_JSON = (b"content-type", b"application/json")
Owner = tuple[str, str, str]


class PlainBank:
    """Does what it is told. A session belongs to whoever opened it, by what the kit says about the caller."""

    def __init__(self, bank: Bank, *, stateless: bool, json_response: bool) -> None:
        self._bank = bank
        self._stateless = stateless
        self._streams = not json_response
        self._sessions: dict[str, Owner] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        body = await _body(receive)
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["path"] != "/mcp":
            await _answer(send, 404)
            return
        owner = _owner(scope.get(CALL))
        session = headers.get("mcp-session-id")
        if session is not None and self._sessions.get(session) != owner:
            await _answer(send, 404)
        elif scope["method"] != "POST":
            await _answer(send, 200)
        else:
            await self._rpc(json.loads(body), owner, headers, scope, send)

    async def _rpc(self, message: Any, owner: Owner, headers: dict[str, str], scope: Scope, send: Send) -> None:
        if "id" not in message:
            await _answer(send, 202)
            return
        more: list[tuple[bytes, bytes]] = []
        if message["method"] == "initialize" and not self._stateless:
            name = f"session-{len(self._sessions)}"
            self._sessions[name] = owner
            more.append((b"mcp-session-id", name.encode()))
        if message["method"] != "tools/call":
            await _answer(send, 200, _result(message, {}), more)
        elif message["params"]["name"] == "follow" and self._streams:
            await self._follow(message, send)
        else:
            self._bank.seen.append(headers)
            said = self._tool(message["params"], scope[CALL])
            await _answer(send, 200, _result(message, {"structuredContent": {"result": said}}), more)

    def _tool(self, params: Any, call: AuthorizedCall) -> str:
        token = call.token
        if params["name"] == "whoami":
            return json.dumps({"sub": token.subject, "client": token.client_id, "iss": token.issuer, "token": ""})
        amount = f" {params['arguments'].get('amount', 0)}" if params["name"] == "transfer" else ""
        return self._bank.do(params["name"] + amount)

    async def _follow(self, message: Any, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        while (news := await self._bank.news.get()) is not None:
            event = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"message": news}}
            body = b"data: " + json.dumps(event).encode() + b"\n\n"
            await send({"type": "http.response.body", "body": body, "more_body": True})
        last = b"data: " + _result(message, {"structuredContent": {"result": "followed"}}) + b"\n\n"
        await send({"type": "http.response.body", "body": last})


def _owner(call: AuthorizedCall | None) -> Owner:
    assert call is not None, "reached without an admitted call"
    return call.token.issuer, call.token.client_id, call.token.subject


def _result(message: Any, result: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"content": [], **result}}).encode()


async def _answer(send: Send, status: int, body: bytes = b"", more: list[tuple[bytes, bytes]] | None = None) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [_JSON, *(more or [])]})
    await send({"type": "http.response.body", "body": body})


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return body


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
