"""The ASGI face by itself: what it passes on, what it answers, and what it never lets through."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
from typing import Any

import pytest

from rs_kit.adapters import asgi
from rs_kit.adapters.asgi import BODY_LIMIT, RsKit
from rs_kit.ports import AuthorizedCall
from rs_kit.protocol.confirmation import SenderConstraint
from tests.support.guarded_bank import ISSUER, RESOURCE, Bank, as_body, tool_call
from tests.support.peer_keys import b64

CERTIFICATE, OTHER = b"0 DER of a certificate", b"0 DER of another one"
PRM = "/.well-known/oauth-protected-resource/mcp"


class Application:
    """An ASGI application that writes down what it is given and answers what it is told to."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = messages or (
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]},
            {"type": "http.response.body", "body": b"{}"},
        )
        self.scopes: list[Any] = []
        self.received: list[Any] = []
        self.failure: BaseException | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        if scope["type"] == "http":
            self.received.append(await receive())
        for message in self.messages:
            try:
                await send(message)
            except OSError as error:
                self.failure = error
                raise


def scope_of(bank: Bank, headers: Any = None, **more: Any) -> dict[str, Any]:
    pairs = bank.peer.headers() if headers is None else headers
    encoded = [(name.encode(), value.encode()) for name, value in pairs]
    path = more.get("path", "/mcp")
    return {
        "type": "http",
        "method": "POST",
        "path": "/mcp",
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": encoded,
        **more,
    }


def incoming(*messages: Any) -> Any:
    left = list(messages)

    async def receive() -> Any:
        if not left:
            return {"type": "http.disconnect"}
        return left.pop(0)

    return receive


def whole(body: bytes) -> Any:
    return incoming({"type": "http.request", "body": body})


async def run(bank: Bank, app: Any, scope: Any, receive: Any, **options: Any) -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await RsKit(app, bank.guard, **options)(scope, receive, send)
    return sent


async def test_the_application_gets_the_same_bytes_and_the_call_but_no_credentials() -> None:
    bank, app = Bank(), Application()
    body = b" " + as_body(tool_call()) + b"\n"
    scope = scope_of(bank)
    pieces = [{"type": "http.request", "body": body[:9], "more_body": True}, {"type": "http.request", "body": body[9:]}]
    sent = await run(bank, app, scope, incoming(*pieces))
    assert app.received == [{"type": "http.request", "body": body, "more_body": False}]
    call = app.scopes[0][asgi.CALL]
    assert isinstance(call, AuthorizedCall)
    assert (call.token.subject, call.target, call.resource) == ("alice", "get_balance", RESOURCE)
    assert {name for name, _ in app.scopes[0]["headers"]} == {b"content-type"}
    assert len(scope["headers"]) == 3  # the server's own scope is left as it was
    assert asgi.CALL not in scope
    assert sent[0]["status"] == 200


@pytest.mark.requirement("RSE-9", proves="refused")
@pytest.mark.requirement("DPOP-RS-10", proves="refused")
async def test_what_the_application_says_about_caching_and_nonces_is_replaced() -> None:
    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": [
            (b"Cache-Control", b"public, max-age=3600, no-transform"),
            (b"DPoP-Nonce", b"of the application"),
            (b"content-type", b"text/event-stream"),
        ],
    }
    bank = Bank()
    app = Application(start, {"type": "http.response.body", "body": b"data: 1\n\n"})
    headers = (await run(bank, app, scope_of(bank), whole(as_body(tool_call()))))[0]["headers"]
    assert [value for name, value in headers if name.lower() == b"cache-control"] == [
        b"private, no-store, no-transform"
    ]
    nonces = [value for name, value in headers if name.lower() == b"dpop-nonce"]
    assert nonces == [bank.peer.nonce().encode()]


@pytest.mark.attack("DPR-24")
async def test_a_stream_ends_with_the_token_that_opened_it() -> None:
    bank = Bank()
    token = bank.peer.token()

    class Streaming(Application):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            headers = [(b"content-type", b"text/event-stream")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for _ in range(10):
                try:
                    await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
                except OSError as error:
                    self.failure = error
                    raise
                bank.clock.advance(62)  # five times, and the clocks may differ by ten seconds

    app = Streaming()
    sent = await run(bank, app, scope_of(bank, bank.peer.headers(token)), whole(as_body(tool_call())))
    assert [message.get("body") for message in sent[1:]] == [b"data: 1\n\n"] * 5 + [b""]
    assert sent[-1]["more_body"] is False
    assert app.failure is not None


async def test_an_answer_that_is_no_stream_is_finished_though_the_token_expired_meanwhile() -> None:
    bank = Bank()

    class Slow(Application):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            bank.clock.advance(400)
            await super().__call__(scope, receive, send)

    sent = await run(bank, Slow(), scope_of(bank), whole(as_body(tool_call())))
    assert sent[1]["body"] == b"{}"


async def test_the_applications_own_failure_is_not_hidden() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("a defect")

    bank = Bank()
    with pytest.raises(LookupError):
        await run(bank, broken, scope_of(bank), whole(as_body(tool_call())))


@pytest.mark.attack("HTT-10")
@pytest.mark.parametrize("kind", ["declared", "in one piece", "in pieces", "lying"])
async def test_a_body_over_the_limit_is_413(kind: str) -> None:
    bank, app = Bank(), Application()
    piece = b"x" * (1024 * 1024)
    receive, read = incoming(), []
    if kind == "in one piece":
        receive = whole(b"x" * (BODY_LIMIT + 1))
    elif kind in {"in pieces", "lying"}:

        async def receive() -> Any:
            read.append(piece)
            return {"type": "http.request", "body": piece, "more_body": True}

    headers = bank.peer.headers(
        **{"declared": {"content_length": str(BODY_LIMIT + 1)}, "lying": {"content_length": "10"}}.get(kind, {})
    )
    sent = await run(bank, app, scope_of(bank, headers), receive)
    assert sent[0]["status"] == 413
    assert app.scopes == []
    assert len(read) <= 5
    assert len(bank.observer.refusals) == 1


async def test_a_body_of_exactly_the_limit_is_read() -> None:
    bank, app = Bank(), Application()
    body = as_body(tool_call("get_balance", reference=""))
    body = body.replace(b'"reference": ""', b'"reference": "' + b"r" * (BODY_LIMIT - len(body)) + b'"')
    assert len(body) == BODY_LIMIT
    sent = await run(bank, app, scope_of(bank, bank.peer.headers(content_length=str(BODY_LIMIT))), whole(body))
    assert sent[0]["status"] == 200


@pytest.mark.attack("HTT-16")
async def test_a_body_that_does_not_come_in_time_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "BODY_SECONDS", 0.0)
    bank, app = Bank(), Application()
    never = asyncio.Event()

    async def receive() -> Any:
        await never.wait()

    sent = await run(bank, app, scope_of(bank), receive)
    assert sent[0]["status"] == 408
    assert app.scopes == []


@pytest.mark.parametrize("before", [[], [{"type": "http.request", "body": b"{", "more_body": True}]])
async def test_a_client_that_goes_away_is_not_answered(before: list[Any]) -> None:
    bank, app = Bank(), Application()
    assert await run(bank, app, scope_of(bank), incoming(*before)) == []
    assert app.scopes == []


@pytest.mark.requirement("PRM-1", proves="holds")
@pytest.mark.requirement("PRM-5", proves="holds")
async def test_the_metadata_stands_at_its_path_for_everybody() -> None:
    bank, app = Bank(), Application()
    sent = await run(bank, app, scope_of(bank, [], method="GET", path=PRM), incoming())
    headers = dict(sent[0]["headers"])
    assert sent[0]["status"] == 200
    assert headers[b"content-type"] == b"application/json"
    document = json.loads(sent[1]["body"])
    assert document == {
        "resource": RESOURCE,
        "authorization_servers": [ISSUER],
        "scopes_supported": ["mcp:use"],
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": ["PS256", "ES256", "EdDSA", "Ed25519"],
        "dpop_bound_access_tokens_required": True,
    }
    assert bank.observer.refusals == []


@pytest.mark.parametrize(
    ("member", "value"),
    [
        pytest.param("authorization_servers", [ISSUER], marks=pytest.mark.requirement("PRM-3", proves="holds")),
        pytest.param("resource", RESOURCE, marks=pytest.mark.requirement("PRM-8", proves="holds")),
        pytest.param("scopes_supported", ["mcp:use"], marks=pytest.mark.requirement("PRM-14", proves="holds")),
        pytest.param(
            "dpop_bound_access_tokens_required", True, marks=pytest.mark.requirement("DPOP-RS-14", proves="holds")
        ),
    ],
)
async def test_the_metadata_tells_what_this_resource_wants(member: str, value: object) -> None:
    sent = await run(Bank(), Application(), scope_of(Bank(), [], method="GET", path=PRM), incoming())
    document = json.loads(sent[1]["body"])
    assert document[member] == value
    assert "dpop_signing_alg_values_supported" in document


@pytest.mark.requirement("PRM-13", proves="holds")
async def test_the_metadata_may_be_read_from_any_origin_and_without_credentials() -> None:
    sent = await run(Bank(), Application(), scope_of(Bank(), [], method="GET", path=PRM), incoming())
    headers = dict(sent[0]["headers"])
    assert headers[b"access-control-allow-origin"] == b"*"
    assert b"access-control-allow-credentials" not in headers


@pytest.mark.requirement("PRM-1", proves="refused")
async def test_the_metadata_stands_nowhere_else_and_is_only_read() -> None:
    bank, app = Bank(), Application()
    for path in (PRM + "/", "/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server"):
        sent = await run(bank, app, scope_of(bank, [], method="GET", path=path), whole(b""))
        assert sent[0]["status"] == 404
    sent = await run(bank, app, scope_of(bank, [], method="GET", path="/mcp" + PRM), whole(b""))
    assert sent[0]["status"] == 401
    sent = await run(bank, app, scope_of(bank, [], path=PRM), incoming())
    assert (sent[0]["status"], dict(sent[0]["headers"])[b"allow"]) == (405, b"GET, HEAD")
    sent = await run(bank, app, scope_of(bank, [], method="HEAD", path=PRM), incoming())
    assert (sent[0]["status"], sent[1]["body"]) == (200, b"")
    assert app.scopes == []


@pytest.mark.attack("XPA-10")
async def test_the_challenge_names_the_configured_metadata_whatever_the_host_says() -> None:
    bank, app = Bank(), Application()
    scope = scope_of(bank, [("host", "evil.example"), ("x-forwarded-host", "evil.example")])
    sent = await run(bank, app, scope, incoming({"type": "http.request"}))
    challenge = dict(sent[0]["headers"])[b"www-authenticate"].decode()
    assert f'resource_metadata="https://mcp.bank.example{PRM}"' in challenge
    assert "evil" not in challenge


@pytest.mark.attack("HTT-25")
async def test_a_websocket_is_refused_and_the_application_never_sees_it() -> None:
    bank, app = Bank(), Application()
    sent = await run(bank, app, {"type": "websocket", "path": "/mcp"}, incoming({"type": "websocket.connect"}))
    assert sent == [{"type": "websocket.close", "code": 1008}]
    assert app.scopes == []


async def test_lifespan_passes_and_a_scope_that_nobody_knows_does_not() -> None:
    bank, app = Bank(), Application()
    await run(bank, app, {"type": "lifespan"}, incoming())
    assert app.scopes == [{"type": "lifespan"}]
    with pytest.raises(ValueError, match="webtransport"):
        await run(bank, app, {"type": "webtransport"}, incoming())
    assert len(app.scopes) == 1


async def test_the_resource_itself_cannot_be_made_public() -> None:
    with pytest.raises(ValueError, match="public"):
        RsKit(Application(), Bank().guard, public_paths=["/mcp"])


async def test_after_the_body_the_application_hears_what_the_server_says() -> None:
    heard: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.extend([await receive(), await receive()])

    bank = Bank()
    await run(bank, app, scope_of(bank), whole(as_body(tool_call())))
    assert [message["type"] for message in heard] == ["http.request", "http.disconnect"]


async def test_behind_a_proxy_the_public_path_is_no_second_way_in() -> None:
    bank, app = Bank(), Application()
    sent = await run(bank, app, scope_of(bank, path="/inside"), whole(as_body(tool_call())), path="/inside")
    assert sent[0]["status"] == 200
    sent = await run(bank, app, scope_of(bank), whole(as_body(tool_call())), path="/inside")
    assert sent[0]["status"] == 404
    assert len(app.scopes) == 1


async def test_a_server_that_tells_no_raw_path_is_served_too() -> None:
    bank, app = Bank(), Application()
    scope = scope_of(bank)
    del scope["raw_path"]
    assert (await run(bank, app, scope, whole(as_body(tool_call()))))[0]["status"] == 200
    del (other := scope_of(bank, path="/other"))["raw_path"]
    assert (await run(bank, app, other, whole(as_body(tool_call()))))[0]["status"] == 401


@pytest.mark.parametrize(
    ("state", "status"), [({"peer_certificate": CERTIFICATE}, 200), ({}, 401), ({"peer_certificate": "text"}, 401)]
)
async def test_the_certificate_of_the_connection_reaches_the_guard(state: dict[str, Any], status: int) -> None:
    bank, app = Bank(), Application()
    thumbprint = b64(hashlib.sha256(CERTIFICATE).digest())
    token = bank.peer.token(cnf={"jkt": bank.peer.key.thumbprint, "x5t#S256": thumbprint})
    scope = scope_of(bank, bank.peer.headers(token), state=state)
    sent = await run(bank, app, scope, whole(as_body(tool_call())))
    assert sent[0]["status"] == status


@pytest.mark.parametrize(
    ("state", "told", "status"),
    [(None, CERTIFICATE, 200), (CERTIFICATE, CERTIFICATE, 200), (CERTIFICATE, OTHER, 401), (None, OTHER, 401)],
    ids=["another server", "our listener", "two that differ", "another certificate"],
)
async def test_the_tls_extension_tells_the_certificate_and_contradicts_nobody(
    state: bytes | None, told: bytes, status: int
) -> None:
    bank, app = Bank(sender_constraint=SenderConstraint.CERTIFICATE), Application()
    token = bank.peer.token(cnf={"x5t#S256": b64(hashlib.sha256(CERTIFICATE).digest())})
    extensions = {"tls": {"client_cert_chain": [ssl.DER_cert_to_PEM_cert(told)]}}
    left = {} if state is None else {"peer_certificate": state}
    scope = scope_of(bank, bank.peer.bearer(token), state=left, extensions=extensions)
    sent = await run(bank, app, scope, whole(as_body(tool_call())))
    assert sent[0]["status"] == status
    assert len(bank.observer.refusals) == (status == 401)
    assert len(app.scopes) == (status == 200)
