"""From ASGI to `EndpointRequest`: raw bytes and ordered pairs, within limits of size and time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

from fapi_as.adapters.web.asgi import Receive, Scope
from fapi_as.kernel.messages import EndpointRequest
from fapi_as.protocol.errors import (
    InvalidRequest,
    MisdirectedRequest,
    PayloadTooLarge,
    RequestTimeout,
    UnsupportedContentEncoding,
)
from fapi_as.protocol.profile import REQUEST_BODY_LIMIT
from rs_kit.adapters.peer_certificate import MUTUAL_TLS, PEER_CERTIFICATE, PEER_CHAIN
from rs_kit.adapters.proxied_certificate import PROXIED, REFUSED

BODY_TIME_LIMIT: Final = timedelta(seconds=15)  # HTT-16 of the attack catalogue


class Disconnected(Exception):
    """The peer went away before its request was whole; there is nobody to answer."""


def endpoint_request(scope: Scope, *, path: str, now: int, correlation_id: str, body: bytes = b"") -> EndpointRequest:
    """What an endpoint sees of a request; nothing in it is merged, decoded or taken from `Host`."""
    client, state = scope.get("client"), scope.get("state", {})
    return EndpointRequest(
        method=scope["method"],
        path=path,
        query_string=scope["query_string"],
        headers=tuple(scope["headers"]),  # pairs of bytes, names in lower case (ASGI)
        body=body,
        now=now,
        correlation_id=correlation_id,
        source=client[0] if client else "unknown",
        peer_certificate=state.get(PEER_CERTIFICATE),
        peer_chain=state.get(PEER_CHAIN, ()),
        mutual_tls=state.get(MUTUAL_TLS, False),
        proxied=scope.get(PROXIED, False),
    )


def judge_host(scope: Scope, name: bytes | None) -> None:
    """Refuse a request for another host; nothing is ever derived from the field (SES-17).

    Its port is not judged: whatever forwards to us may have another one than we have.

    Raises:
        InvalidRequest: no Host field, or several (RFC 9112 §3.2).
        MisdirectedRequest: another host than `name`.
    """
    if name is None:
        return
    hosts = [value for header, value in scope["headers"] if header == b"host"]
    if len(hosts) != 1:
        raise InvalidRequest("no Host field or several")
    host = hosts[0].lower()
    asked, _, port = host.rpartition(b":")
    if host != name and (asked != name or not port.isdigit()):
        raise MisdirectedRequest("another host")


def judge_certificate(scope: Scope) -> None:
    """Refuse a request whose certificate the trusted proxy tells in a form that cannot be read (RFC 9440).

    Raises:
        InvalidRequest: it is repeated or malformed; without it the client would be judged as one without a certificate.
    """
    error: InvalidRequest | None = scope.get(REFUSED)
    if error is not None:
        raise error


def judge_body(scope: Scope) -> None:
    """Refuse a body by its head alone, before a byte of it is read.

    Raises:
        PayloadTooLarge: it is declared larger than we read.
        UnsupportedContentEncoding: it is compressed.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and (not value.isdigit() or int(value) > REQUEST_BODY_LIMIT):
            raise PayloadTooLarge("declared length")
        if name == b"content-encoding" and value.strip().lower() != b"identity":
            raise UnsupportedContentEncoding("content encoding")


async def read_body(receive: Receive) -> bytes:
    """The whole body.

    Raises:
        PayloadTooLarge: it is larger than we read.
        RequestTimeout: it did not come in time.
        Disconnected: it will never come.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIME_LIMIT.total_seconds()):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise Disconnected
                body += message.get("body", b"")
                if len(body) > REQUEST_BODY_LIMIT:
                    raise PayloadTooLarge("actual length")
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        raise RequestTimeout("slow body") from None
