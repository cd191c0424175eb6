"""The honest peer is honest, and lies only where it is told to."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, parse_qsl

import httpx2
import pytest

from fapi_as.protocol.client_assertion import authenticate, present
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.errors import InvalidClient
from rs_kit.protocol.dpop import ProofExpectation, ProofKeys, verify_proof
from rs_kit.protocol.errors import InvalidDpopProof
from tests.support.browser import Browser, Callback, Page
from tests.support.fapi_client import FapiClient, Refused, Stuck
from tests.support.peer_keys import PeerKey, unb64

NOW = 1_790_000_000
ISSUER = "https://as.example"


class ToyServer:
    """Answers as the endpoints of an authorization server do, and believes everything."""

    def __init__(self) -> None:
        self.nonce = "nonce-1"
        self.seen: list[tuple[str, str, dict[str, list[str]], dict[str, str]]] = []
        self.sign_in_fails = False

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        query = parse_qs(scope["query_string"].decode())
        form = parse_qs(body.decode(), keep_blank_values=True) or query
        self.seen.append((scope["method"], scope["path"], form, headers))
        status, extra, content = self.answer(scope["method"], scope["path"], form, headers)
        lines = [(name.encode(), value.encode()) for name, value in extra]
        await send({"type": "http.response.start", "status": status, "headers": lines})
        await send({"type": "http.response.body", "body": content.encode()})

    def answer(self, method: str, path: str, form: dict[str, list[str]], headers: dict[str, str]) -> Any:
        if path in ("/par", "/token", "/mcp"):
            return self.back_channel(path, form, headers)
        if path == "/authorize":
            return 303, [("location", "/login?i=1"), ("set-cookie", "__Host-i=abc; Secure; Path=/; HttpOnly")], ""
        if (method, path) == ("GET", "/login"):
            page = """<p>Sign in <b id="who">to <i>Ledger</i></b></p><form action="" method="post" id="f">
                <input type="hidden" name="csrf" value="a&amp;b"><input id="username" name="u"><br>
                <input id="password" name="p" type="password"><input type="checkbox" name="stay">
                <button id="login-cancel" name="go" value="no">No</button></form>
                <button form="f" id="login-submit" name="go" value="yes">Sign in</button>"""
            return 200, [], page
        if path == "/login":
            if self.sign_in_fails:
                return 400, [], '<h1>No</h1><code id="oauth-error">access_denied</code>'
            return 303, [("location", "/consent"), ("set-cookie", "__Host-s=1; Secure; Path=/")], ""
        if (method, path) == ("GET", "/consent"):
            deny = '<form method="post"><button id="consent-deny">No</button></form>'
            return (
                200,
                [],
                f'{deny}<form method="post"><input type="submit" id="consent-approve" name="d" value="y"></form>',
            )
        answer = "code=abc" if form.get("d") else "error=access_denied"
        location = f"https://client.example/callback?{answer}&state={self.state}&iss=https%3A%2F%2Fas.example"
        return 303, [("location", location), ("set-cookie", "__Host-i=; Max-Age=0; Secure; Path=/")], ""

    def back_channel(self, path: str, form: dict[str, list[str]], headers: dict[str, str]) -> Any:
        said = json.loads(unb64(headers["dpop"].split(".")[1])).get("nonce")
        if said != self.nonce:
            challenge = ("www-authenticate", 'DPoP error="use_dpop_nonce", algs="ES256"')
            body = "" if path == "/mcp" else '{"error":"use_dpop_nonce"}'
            return 401 if path == "/mcp" else 400, [("dpop-nonce", self.nonce), challenge], body
        if path == "/par":
            self.state = form["state"][0]
            return 201, [], json.dumps({"request_uri": "urn:x", "expires_in": 90})
        if path == "/mcp":
            return 200, [], "{}"
        answer = {"access_token": "at", "token_type": "DPoP", "expires_in": 300, "refresh_token": "rt"}
        return 200, [("cache-control", "no-store")], json.dumps(answer)


def client_of(server: Any, **changes: Any) -> FapiClient:
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=server))
    options: dict[str, Any] = {
        "issuer": ISSUER,
        "client_id": "agent",
        "client_key": PeerKey.es256(seed=61),
        "scope": "accounts:read",
        "resource": f"{ISSUER}/mcp",
        "now": lambda: NOW,
    }
    return FapiClient(http, **options | changes)


async def test_the_whole_flow_runs_with_one_retry_for_a_nonce() -> None:
    server = ToyServer()
    client = client_of(server)
    tokens = await client.obtain(username="alice", password="pässword")
    assert (tokens.access_token, tokens.refresh_token) == ("at", "rt")
    assert [(method, path) for method, path, _, _ in server.seen] == [
        ("POST", "/par"),
        ("POST", "/par"),
        ("GET", "/authorize"),
        ("GET", "/login"),
        ("POST", "/login"),
        ("GET", "/consent"),
        ("POST", "/consent"),
        ("POST", "/token"),
    ]
    login, consent = server.seen[4], server.seen[6]
    assert login[2] == {"csrf": ["a&b"], "u": ["alice"], "p": ["pässword"], "go": ["yes"]}
    assert login[3]["cookie"] == "__Host-i=abc"
    assert (login[3]["sec-fetch-site"], login[3]["origin"]) == ("same-origin", ISSUER)
    assert consent[3]["cookie"] == "__Host-i=abc; __Host-s=1"
    assert client.browser.cookies[ISSUER] == {"__Host-s": "1"}
    assert "cookie" not in server.seen[7][3]
    assert client.browser.trail[-1][0] == 303
    assert (await client.call_tool(tokens, "get_balance")).status_code == 200
    assert (await client.refresh("rt")).access_token == "at"
    assert (await client.client_credentials(scope=...)).access_token == "at"
    assert "scope" not in server.seen[-1][2]


async def test_a_new_nonce_is_asked_for_once_and_a_lie_is_not_repeated() -> None:
    server = ToyServer()
    client = client_of(server)
    server.nonce = "nonce-2"
    await client.client_credentials()
    assert len(server.seen) == 2
    with client.lying(nonce="wrong"), pytest.raises(Refused) as caught:
        await client.client_credentials()
    assert (caught.value.status, caught.value.error, len(server.seen)) == (400, "use_dpop_nonce", 3)
    tokens = await client.client_credentials()
    server.nonce = "nonce-3"
    assert (await client.call(tokens, json_body={})).status_code == 200
    assert len(server.seen) == 6


async def test_a_person_who_says_no_or_fails_ends_elsewhere() -> None:
    server = ToyServer()
    client = client_of(server)
    pushed = await client.push()
    callback = await client.authorize(pushed, username="a", password="b", approve=False)
    assert (callback.error, callback.code) == ("access_denied", None)
    server.sign_in_fails = True
    with pytest.raises(Stuck) as caught:
        await client.authorize(await client.push(), username="a", password="b")
    assert caught.value.error == "access_denied"


async def test_the_parts_of_a_page_are_found_by_id() -> None:
    browser = Browser(client_of(ToyServer()).http)
    page = await browser.open(f"{ISSUER}/login")
    assert isinstance(page, Page)
    assert page.texts["who"] == "to Ledger"
    assert page.has("login-submit")
    assert page.error is None
    with pytest.raises(AssertionError):
        await browser.submit(page, "login-submit", {"nobody": "x"})
    with pytest.raises(AssertionError):
        page.form_of("consent-approve")


def test_a_repeated_callback_parameter_is_an_error() -> None:
    with pytest.raises(AssertionError):
        Callback("https://c.example/?code=a&code=b", 303, httpx2.Response(303)).parameters  # noqa: B018 - reading checks


def test_what_it_says_is_what_the_server_wants() -> None:
    client = client_of(ToyServer())
    registered = parse_client(client.registration(), client_id="agent", version=1)
    url, headers, body = client.token_request("client_credentials", resource="https://rs.example/mcp")
    form, lines = dict(parse_qsl(body.decode())), dict(headers)
    assert url == "https://as.example/token"
    assert form["resource"] == "https://rs.example/mcp"
    presented = present(form["client_assertion"], client_id=form["client_id"])
    assert authenticate(presented, registered, registered.keys, issuer=ISSUER, now=NOW).registered == registered
    expect = ProofExpectation("POST", url, NOW, 60, 30, None)
    assert verify_proof(lines["dpop"], expect=expect, keys=ProofKeys()).jkt == client.dpop_key.thumbprint


@pytest.mark.parametrize(
    "lies",
    [
        {"htu": "https://as.example/par"},
        {"htm": "GET"},
        {"iat": NOW - 3600},
        {"jti": ...},
        {"proof_key": PeerKey.es256(seed=62)},
        {"proof_header": {"typ": "JWT"}},
        {"proof_claims": {"htu": ...}},
        {"proof": "a.b.c"},
    ],
    ids=str,
)
def test_a_lie_in_the_proof_is_told_until_it_is_taken_back(lies: dict[str, Any]) -> None:
    client = client_of(ToyServer())
    expect = ProofExpectation("POST", "https://as.example/token", NOW, 60, 30, None)
    with client.lying(**lies):
        lied = dict(client.token_request("client_credentials").headers)["dpop"]
    honest = dict(client.token_request("client_credentials").headers)["dpop"]
    with pytest.raises(InvalidDpopProof):
        verify_proof(lied, expect=expect, keys=ProofKeys())
    assert verify_proof(honest, expect=expect, keys=ProofKeys()).issued_at == NOW


@pytest.mark.parametrize(
    "lies",
    [
        {"aud": "https://as.example/token"},
        {"aud": ["https://as.example"]},
        {"exp": NOW - 60},
        {"iss": "other"},
        {"assertion_jti": ...},
        {"assertion_key": PeerKey.es256(seed=63)},
        {"assertion_header": {"alg": "none"}},
        {"assertion_claims": {"nbf": NOW + 100}},
        {"assertion": "a.b.c"},
    ],
    ids=str,
)
def test_a_lie_in_the_assertion_is_told(lies: dict[str, Any]) -> None:
    client = client_of(ToyServer())
    registered = parse_client(client.registration(), client_id="agent", version=1)
    with client.lying(**lies), pytest.raises(InvalidClient):
        authenticate(
            present(client.assertion(), client_id="agent"), registered, registered.keys, issuer=ISSUER, now=NOW
        )


def test_lies_around_the_proof_reach_the_wire() -> None:
    client = client_of(ToyServer())
    with client.lying(proof=["a", "b"], form={"client_id": ..., "scope": ["x", "y"]}, headers=[("x-a", "1")]):
        _, headers, body = client.credentials_request()
    assert [value for name, value in headers if name == "dpop"] == ["a", "b"]
    assert ("x-a", "1") in headers
    assert [value for name, value in parse_qsl(body.decode()) if name == "scope"] == ["x", "y"]
    assert b"client_id=" not in body
    with client.lying(proof=...):
        assert "dpop" not in dict(client.credentials_request().headers)
    with pytest.raises(AttributeError), client.lying(nosuchknob=1):
        pass
    with pytest.raises(AttributeError):
        client.lies.nosuchknob = 1  # type: ignore[attr-defined] # that is the test
