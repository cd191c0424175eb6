"""One agent process of many that share a token store: calls until it is told to stop, with a resource in its pocket.

The resource lets every token go three times in this process and then refuses it, so that renewals never end. The
authorization server is the real one. A line is printed for each call: the token that it went through with.

    python -m tests.support.agent_process '{"issuer": ..., "until": "the file that ends it", ...}'
"""

# ruff: noqa: ASYNC240 - the loop of this process has nothing else to do while a file is looked at

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fapi_as.agent import AgentAuth, AgentSettings, Identity
from fapi_as.agent.file_store import FileTokenStore
from rs_kit.protocol.jws import SigningKey

USES = 3


class Pocket(httpx2.AsyncBaseTransport):
    """The resource's own answers; everything else goes over the network, and `dies_after` ends the process there."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.resource, self.issuer = told["resource"], told["issuer"]
        self.network = httpx2.AsyncHTTPTransport(verify=ssl.create_default_context(cafile=told["ca"]))
        self.uses: Counter[str] = Counter()
        self.dies_after: str | None = told.get("dies_after")
        self.has_nonce = False  # so that the next request is one that the server does

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if str(request.url) == self.resource:
            return self._called(request.headers.get("authorization", ""))
        if "oauth-protected-resource" in request.url.path:
            return httpx2.Response(200, json={"resource": self.resource, "authorization_servers": [self.issuer]})
        if self.dies_after == f"asking {request.url.path}" and self.has_nonce:
            request.extensions["trace"] = _die_when_sent
        response = await self.network.handle_async_request(request)
        self.has_nonce = response.status_code == 400
        if self.dies_after == f"answer of {request.url.path}" and response.status_code == 200:
            await response.aread()
            os.kill(os.getpid(), signal.SIGKILL)
        return response

    def _called(self, authorization: str) -> httpx2.Response:
        token = authorization.removeprefix("DPoP ")
        self.uses[token] += 1
        if not token or self.uses[token] > USES:
            return httpx2.Response(401, headers={"www-authenticate": 'DPoP error="invalid_token"'})
        return httpx2.Response(200)


async def _die_when_sent(event: str, _: object) -> None:
    if event.endswith("send_request_body.complete"):
        os.kill(os.getpid(), signal.SIGKILL)


async def main(told: dict[str, Any]) -> None:
    key: Any = load_pem_private_key(Path(told["key"]).read_bytes(), password=None)
    identity = Identity(
        issuer=told["issuer"],
        client_id=told["client_id"],
        key=SigningKey.from_private_key(key, kid=told["kid"]),
        redirect_uri="http://127.0.0.1/callback",
    )
    settings = AgentSettings(resource=told["resource"], identities=(identity,), scope=("accounts:read",))
    store = FileTokenStore(Path(told["store"]), agent=f"{told['issuer']} {told['client_id']}")
    pocket = Pocket(told)
    async with httpx2.AsyncClient(transport=pocket) as back_channel:
        auth = AgentAuth(settings, back_channel=back_channel, store=store)  # without a browser: a sign-in would fail
        async with httpx2.AsyncClient(transport=pocket, auth=auth) as http:
            while not Path(told["until"]).exists():
                response = await http.post(settings.resource)
                tokens = auth.agent.tokens
                print(response.status_code, tokens.access_token.reveal()[-16:] if tokens else None, flush=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
