"""A shim for tests: the suite knows no DPoP, so each of its requests is passed on with a token and a fresh proof."""

from __future__ import annotations

import ssl
from typing import Any, Final

import anyio
import httpx2
import trustme
from starlette.types import Receive, Scope, Send

from rs_kit.testing import TestAgent

# what belongs to one connection and not to the message (RFC 9110 §7.6.1)
_HOP: Final = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"te", b"upgrade", b"proxy-connection"})


class SigningProxy:
    """An ASGI application in front of the resource that `agent` has a token for."""

    def __init__(self, agent: TestAgent, authority: trustme.CA) -> None:
        self._agent = agent
        self._resource = agent._issuer.resource
        trust = ssl.create_default_context()
        authority.configure_trust(trust)
        self._client = httpx2.AsyncClient(verify=trust, timeout=None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on one request and stream the answer back."""
        if scope["type"] != "http":
            return
        body = await _body(receive)
        headers = [(name, value) for name, value in scope["headers"] if name not in _HOP]
        signed = self._agent.headers(scope["method"])
        headers += [(name.encode(), value.encode()) for name, value in signed.items()]
        url = httpx2.URL(self._resource).copy_with(raw_path=scope["raw_path"])
        request = self._client.build_request(scope["method"], url, content=body)
        request.headers = httpx2.Headers(headers)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_until_gone, receive, tasks.cancel_scope)
            await self._pass_on(request, send)
            tasks.cancel_scope.cancel()

    async def _pass_on(self, request: httpx2.Request, send: Send) -> None:
        answer = await self._client.send(request, stream=True)
        try:
            kept = [(name.lower(), value) for name, value in answer.headers.raw if name.lower() not in _HOP]
            await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
            async for piece in answer.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            with anyio.CancelScope(shield=True):
                await answer.aclose()


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    """A stream that its client left is left by us, too."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _body(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    while True:
        message: Any = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)
