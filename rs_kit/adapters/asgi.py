"""ASGI middleware: the guard in front of any application, an unmodified MCP server among them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from typing import Final
from urllib.parse import parse_qsl, unquote

from rs_kit.adapters import web_pages
from rs_kit.adapters.asgi_exchange import Application, Exchange, Message, Receive, Scope, Send
from rs_kit.adapters.peer_certificate import peer_certificate
from rs_kit.adapters.refusals import (
    OriginNotAllowed,
    PayloadTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
    answer,
    is_rpc,
)
from rs_kit.guard import Guard, MethodNotAllowed, UnknownPath
from rs_kit.protocol.errors import InvalidRequest, ProtocolError
from rs_kit.protocol.http import Headers, HttpRequest
from rs_kit.protocol.tool_policy import parse_message

CALL: Final = "rs_kit.call"  # where the application finds its AuthorizedCall in the scope
BODY_LIMIT: Final = 4 * 1024 * 1024
BODY_SECONDS: Final = 15.0  # HTT-16
_DIGITS: Final = len(str(BODY_LIMIT))

_METHODS: Final = frozenset({"POST", "GET", "DELETE"})  # what else the guard refuses, it tells authenticated callers
_WELL_KNOWN: Final = "/.well-known/"
_METADATA_CACHE: Final = b"public, max-age=300"
# Whoever reads the first of two and whoever reads the last would decide on different requests.
_ONCE: Final = frozenset({b"content-type", b"content-encoding", b"content-length", b"host", b"origin"})
_NOT_HANDED_ON: Final = frozenset({b"authorization", b"dpop"})  # MCP-2: the token cannot be passed on by mistake


class _Disconnected(Exception):
    """The client went away before its request was complete; there is nobody to answer."""


class RsKit:
    """Guards every path of an application but those that are named public.

    The RFC 9728 metadata is served here. The application gets admitted calls only, with the AuthorizedCall as
    `scope["rs_kit.call"]`, the body byte for byte, and without the credentials.

    Args:
        path: where the application serves the resource; by default the path of the resource's URL. They differ
            behind a proxy that takes a prefix away.
        public_paths: exact paths that anybody may reach.
        allowed_origins: web origins whose pages may call (MCP-5) and read the answers (DPOP-RS-16); none by default,
            agents send no Origin.
    """

    def __init__(
        self,
        app: Application,
        guard: Guard,
        *,
        path: str | None = None,
        public_paths: Collection[str] = (),
        allowed_origins: Collection[str] = (),
    ) -> None:
        self._app = app
        self._guard = guard
        # ASGI decodes paths, and so do the applications behind
        self._path = unquote(guard.address.path) if path is None else path
        self._metadata_path = unquote(guard.address.metadata_path)
        self._public_paths = frozenset(public_paths)
        self._allowed_origins = frozenset(origin.encode("ascii") for origin in allowed_origins)
        self._metadata = json.dumps(guard.metadata.document(), separators=(",", ":")).encode()
        if self._path in self._public_paths:
            raise ValueError("the resource itself cannot be public")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection."""
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "lifespan":
            await self._app(scope, receive, send)
        elif kind == "websocket":  # HTT-25; MCP has no such transport
            await send({"type": "websocket.close", "code": 1008})
        else:
            raise ValueError(f"rs_kit does not guard ASGI scopes of type {kind!r}")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == self._metadata_path:
            await self._serve_metadata(scope, send)
        elif path in self._public_paths:
            await self._app(scope, receive, send)
        else:
            await self._guarded(scope, receive, send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = HttpRequest(
            method=scope["method"],
            target_path=self._guard.address.path if scope["path"] == self._path else _raw_path(scope),
            headers=tuple((name.lower(), value) for name, value in scope["headers"]),
        )
        if await self._preflight(request, send):
            return
        try:
            request = await self._whole(scope, request, receive)
        except ProtocolError as error:
            self._guard.refused(error, request)
            await self._refuse(error, request, send)
            return
        except _Disconnected:
            return
        try:
            call = await self._guard.admit(request)
        except ProtocolError as error:
            await self._refuse(error, request, send)
            return
        inner = {**scope, CALL: call}
        # the names that were judged: an application that compares them otherwise would not see all of them
        inner["headers"] = [pair for pair in request.headers if pair[0] not in _NOT_HANDED_ON]
        exchange = Exchange(
            self._guard, call, body=request.body, receive=receive, send=send, more=self._readable(request)
        )
        try:
            await self._app(inner, exchange.receive, exchange.send)
        except Exception:
            # however the application's framework tells that its stream was ended, the answer is complete
            if not exchange.ended:
                raise
        finally:
            await exchange.close()

    async def _whole(self, scope: Scope, request: HttpRequest, receive: Receive) -> HttpRequest:
        """The request with its body and its certificate, once its head allows it (RSV-1 step 1).

        Raises:
            ProtocolError: the refusal.
            _Disconnected: the client went away.
        """
        self._check_head(scope, request)
        certificate = peer_certificate(scope)
        return request._replace(body=await _body(request.headers, receive), peer_certificate=certificate)

    def _check_head(self, scope: Scope, request: HttpRequest) -> None:
        """What is settled before the body is read (RSV-1 step 1).

        Raises:
            ProtocolError: the refusal.
        """
        seen: set[bytes] = set()
        values: dict[bytes, bytes] = {}
        for name, value in request.headers:
            if name in _ONCE or name.startswith(b"mcp-"):
                if name in seen:
                    raise InvalidRequest("a routing header is repeated", "a header field is given more than once")
                seen.add(name)
                values[name] = value
        origin = values.get(b"origin")
        if origin is not None and origin not in self._allowed_origins:
            raise OriginNotAllowed("origin is not allowed")
        if scope["path"].startswith(_WELL_KNOWN):
            # clients look for documents in several places and take 404, not 401, for "look elsewhere" (PRM-1)
            raise UnknownPath("no such well-known document")
        if scope["path"] != self._path and request.target_path == self._guard.address.path:
            raise UnknownPath("the public path, where the application serves another")
        if request.method not in _METHODS:
            raise MethodNotAllowed("method", allowed=self._guard.methods)
        query = scope.get("query_string", b"")
        # as text: given bytes, parse_qsl fails on every character that is not ASCII
        if query and "access_token" in dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)):
            # RFC 6750 §2.3 is not offered (MCP-3)
            raise InvalidRequest("token in the query", "the access token belongs in the Authorization header")
        # who brings no credentials is told so first: discovery starts there, whatever the body is (DPR-22)
        if request.method == "POST" and any(name == b"authorization" for name, _ in request.headers):
            media_type = values.get(b"content-type", b"").partition(b";")[0].strip().lower()
            if media_type != b"application/json" or b"content-encoding" in values:
                raise UnsupportedMediaType("content-type or content-encoding")

    async def _refuse(self, error: ProtocolError, request: HttpRequest, send: Send) -> None:
        # only what was refused after its body was read has JSON-RPC's form and names the request
        request_id = parse_message(request.body).request_id if is_rpc(error) else None
        status, headers, body = answer(error, challenge=self._guard.challenge(error), request_id=request_id)
        more = self._readable(request)
        await send({"type": "http.response.start", "status": status, "headers": [*headers, *more]})
        await send({"type": "http.response.body", "body": body})

    def _readable(self, request: HttpRequest) -> Headers:
        return web_pages.readable_by(self._page(request))

    def _page(self, request: HttpRequest) -> bytes | None:
        """The origin of the page that calls, if it is one that may; None where no page or several claim to."""
        origins = [value for name, value in request.headers if name == b"origin"] if self._allowed_origins else []
        return origins[0] if len(origins) == 1 and origins[0] in self._allowed_origins else None

    async def _preflight(self, request: HttpRequest, send: Send) -> bool:
        """A browser's question before a page that is named may call; it carries no credentials and reaches nobody."""
        origin = self._page(request)
        if origin is None or not web_pages.is_preflight(request.method, request.headers):
            return False
        headers = web_pages.preflight(origin, request.headers, self._guard.methods)
        await send({"type": "http.response.start", "status": 204, "headers": list(headers)})
        await send({"type": "http.response.body", "body": b""})
        return True

    async def _serve_metadata(self, scope: Scope, send: Send) -> None:
        """RFC 9728 §3.2: public, cacheable, readable from any origin (PRM-13)."""
        if scope["method"] not in {"GET", "HEAD"}:
            await send({"type": "http.response.start", "status": 405, "headers": [(b"allow", b"GET, HEAD")]})
            await send({"type": "http.response.body", "body": b""})
            return
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(self._metadata)),
            (b"cache-control", _METADATA_CACHE),
            (b"access-control-allow-origin", b"*"),
            (b"x-content-type-options", b"nosniff"),
        ]
        body = b"" if scope["method"] == "HEAD" else self._metadata
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _body(headers: Headers, receive: Receive) -> bytes:
    """The whole body, bounded in size and time.

    Raises:
        PayloadTooLarge: it is larger than 4 MiB, or says so.
        RequestTimeout: it is not complete after 15 seconds.
        _Disconnected: the client went away.
    """
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and (len(value) > _DIGITS or int(value) > BODY_LIMIT):
            raise PayloadTooLarge("content-length")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                body: bytes = message.get("body", b"")
                if len(body) > BODY_LIMIT:
                    raise PayloadTooLarge("body")
                return body
            return await _pieces(message, receive)
    except TimeoutError:
        raise RequestTimeout("body") from None


async def _pieces(message: Message, receive: Receive) -> bytes:
    pieces: list[bytes] = []
    room = BODY_LIMIT
    while True:
        if message["type"] != "http.request":
            raise _Disconnected
        piece = message.get("body", b"")
        room -= len(piece)
        if room < 0:
            raise PayloadTooLarge("body")
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)
        message = await receive()


def _raw_path(scope: Scope) -> str:
    """The path as sent where the server tells it; the guard compares URLs, not what an application decodes."""
    raw = scope.get("raw_path")
    if raw is None:
        return str(scope["path"])
    return bytes(raw).partition(b"?")[0].decode("latin-1")
