"""`fapi-as serve` behind a proxy that tells certificates, as an operator sets it up, and its tokens at the tools."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from rs_kit.adapters.clock import SystemClock
from rs_kit.adapters.issuer_keys import StaticIssuerKeys
from rs_kit.adapters.used_once_memory import MemoryUsedOnce
from rs_kit.guard import Guard
from rs_kit.protocol.confirmation import SenderConstraint
from rs_kit.protocol.errors import InvalidToken
from rs_kit.protocol.http import HttpRequest
from rs_kit.protocol.tool_policy import ToolPolicy
from rs_kit.testing import RecordingObserver
from tests.support.authorization_server import RESOURCE, SCOPE, AuthorizationServer, register
from tests.support.certificates import self_signed
from tests.support.processes import running

SECRET: Final = "what-the-proxy-knows-and-nobody-else-does"
SHOWN: Final = self_signed("CN=own", now=SystemClock().now())
CALL: Final = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_balance","arguments":{}}}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuthorizationServer]:
    """One server that believes a proxy on this machine, once it tells the secret."""
    directory = tmp_path_factory.mktemp("behind")
    registered = register(directory)
    _kept(directory / "proxy.secret", SECRET + "\n")
    rule = 'client_cert_header = true\nproxy_networks = ["127.0.0.1/32"]\nproxy_secret_file = "proxy.secret"\n'
    registered.commands.change("[mtls]\n", f"[mtls]\n{rule}")
    client = {
        "client_id": "own",
        "client_name": "Own",
        "token_endpoint_auth_method": "self_signed_tls_client_auth",
        "tls_client_certificate_bound_access_tokens": True,
        "dpop_bound_access_tokens": False,
        "grant_types": ["client_credentials"],
        "redirect_uris": [],
        "response_types": [],
        "scope": SCOPE,
        "jwks": {"keys": [SHOWN.jwk(kid="own", use="sig")]},
    }
    registered.commands.json("client", "add", "-", stdin=json.dumps(client))
    with running(registered.serving(1), directory) as process:
        yield registered.running(process)


def _kept(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)


def item(octets: bytes) -> str:
    return f":{base64.b64encode(octets).decode()}:"


async def token(server: AuthorizationServer, **headers: str) -> httpx2.Response:
    """A token request of the client, with what a proxy adds."""
    form = {"grant_type": "client_credentials", "client_id": "own", "scope": SCOPE, "resource": RESOURCE}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with server.http() as http:
        return await http.post(f"{server.issuer}/token", data=form, headers=named)


async def test_the_proxy_is_believed_and_its_clients_tokens_are_good_at_the_tools(server: AuthorizationServer) -> None:
    answer = await token(server, client_cert=item(SHOWN.der), x_proxy_secret=SECRET)
    assert answer.status_code == 200, answer.text
    issued = answer.json()
    assert issued["token_type"] == "Bearer"
    async with server.http() as http:
        jwks: dict[str, Any] = (await http.get(f"{server.issuer}/jwks")).json()
    guard = Guard(
        resource=RESOURCE,
        issuer=server.issuer,
        keys=StaticIssuerKeys(server.issuer, jwks),
        used_once=MemoryUsedOnce(),
        tools=ToolPolicy(tools={"get_balance": [SCOPE]}),
        nonce_key=None,
        clock=SystemClock(),
        observer=RecordingObserver(),
        sender_constraint=SenderConstraint.CERTIFICATE,
    )
    authorization = ((b"authorization", f"Bearer {issued['access_token']}".encode()),)
    asked = HttpRequest("POST", "/mcp", authorization, CALL, SHOWN.der)
    assert (await guard.admit(asked)).token.client_id == "own"
    for other in (None, self_signed("CN=own").der):
        with pytest.raises(InvalidToken):
            await guard.admit(asked._replace(peer_certificate=other))


@pytest.mark.attack("MTL-15")
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"client_cert": item(SHOWN.der)},
        {"client_cert": item(SHOWN.der), "x_proxy_secret": SECRET[:-1]},
        {"x_ssl_cert": item(SHOWN.der), "x_proxy_secret": SECRET},
        {"client_cert": item(self_signed("CN=own").der), "x_proxy_secret": SECRET},
    ],
    ids=["nothing", "no secret", "another secret", "an older name", "another certificate"],
)
async def test_nobody_else_is_let_in(server: AuthorizationServer, headers: dict[str, str]) -> None:
    answer = await token(server, **headers)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_half_a_certificate_is_400_and_a_fact(server: AuthorizationServer) -> None:
    answer = await token(server, client_cert=item(SHOWN.der)[:-5] + ":", x_proxy_secret=SECRET)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    told = server.commands.run("explain", answer.headers["x-correlation-id"])
    assert "Client-Cert" in told.out
