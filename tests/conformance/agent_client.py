"""The client under test: our agent, unmodified, below the official SDK's client; the suite says where its server is.

The suite's authorization server is no FAPI server: it takes no pushed requests and authenticates nobody. `FapiFace`
lends it the two, in this process; tokens, proofs, nonces and the MCP server are the suite's own.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from fapi_as.agent import AgentAuth, AgentSettings, Identity
from rs_kit.testing import new_key

CLIENT_ID: Final = "conformance"
REDIRECT_URI: Final = "http://127.0.0.1:8400/callback"
_METADATA: Final = "/.well-known/oauth-authorization-server"
_PAR: Final = "/par"


class FapiFace(httpx2.AsyncBaseTransport):
    """Stands in front of an authorization server that knows neither pushed requests nor private_key_jwt."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, issuer: str) -> None:
        self._inner = inner
        self._issuer = issuer
        self._pushed: dict[str, list[tuple[str, str]]] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = str(request.url)
        if url == self._issuer + _PAR:
            return self._push(await request.aread())
        response = await self._inner.handle_async_request(request)
        if url != self._issuer + _METADATA:
            return response
        metadata = json.loads(await response.aread())
        metadata["pushed_authorization_request_endpoint"] = self._issuer + _PAR
        metadata["token_endpoint_auth_methods_supported"] = ["private_key_jwt"]
        return httpx2.Response(200, json=metadata)

    def _push(self, body: bytes) -> httpx2.Response:
        request_uri = f"urn:ietf:params:oauth:request_uri:{len(self._pushed)}"
        self._pushed[request_uri] = [
            (name, value) for name, value in parse_qsl(body.decode()) if not name.startswith("client_assertion")
        ]
        return httpx2.Response(201, json={"request_uri": request_uri, "expires_in": 60})

    async def authorize(self, url: str) -> str:
        """The person who says yes: the suite's page redirects at once."""
        address, _, query = url.partition("?")
        pushed = self._pushed.pop(dict(parse_qsl(query))["request_uri"])
        response = await self._inner.handle_async_request(httpx2.Request("GET", f"{address}?{urlencode(pushed)}"))
        await response.aread()
        return response.headers["location"]


class WithoutProofs(httpx2.AsyncHTTPTransport):
    """What must be seen: calls whose proofs are taken away on their way."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers.pop("dpop", None)
        return await super().handle_async_request(request)


async def run(server: str, *, proofs: bool) -> None:
    """Sign in, list the tools, call one, twice: what the suite watches."""
    trust = ssl.create_default_context(cafile=os.environ["CONFORMANCE_AUTHORITY"])
    async with httpx2.AsyncClient(verify=trust) as anybody:
        parts = urlsplit(server)
        where = f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource{parts.path}"
        issuer = cast("dict[str, Any]", (await anybody.get(where)).json())["authorization_servers"][0]
    # an agent believes only the issuers that it was registered at; the suite's has another port each time
    identity = Identity(issuer=issuer, client_id=CLIENT_ID, key=new_key(), redirect_uri=REDIRECT_URI)
    face = FapiFace(httpx2.AsyncHTTPTransport(verify=trust), issuer)
    async with httpx2.AsyncClient(transport=face) as back_channel:
        auth = AgentAuth(
            AgentSettings(resource=server, identities=(identity,)), back_channel=back_channel, authorize=face.authorize
        )
        transport = (httpx2.AsyncHTTPTransport if proofs else WithoutProofs)(verify=trust)
        async with (
            httpx2.AsyncClient(transport=transport, auth=auth) as http,
            Client(streamable_http_client(server, http_client=http)) as client,
        ):
            await client.list_tools()
            for _ in range(2):
                await client.call_tool("test-tool", {})


if __name__ == "__main__":
    asyncio.run(run(sys.argv[-1], proofs="--without-proofs" not in sys.argv))
