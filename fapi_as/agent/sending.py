"""How an agent's requests leave and answers come in: bounded in size and time, nothing left for a redirect to copy.

Requests and responses of a caller are those of httpx2 or of httpx, which differ in nothing that is used here.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import httpx2

from fapi_as.agent.errors import AnswerRejected, CertificateNotShown, Unreachable
from fapi_as.agent.ports import Certificate
from fapi_as.agent.steps import ANSWER_LIMIT, Answer, Call, Request
from fapi_as.agent.tokens import TokenSet

ANSWER_TIMEOUT: Final = timedelta(seconds=15)  # from the first byte sent to the last one received
_HANDSHAKE: Final = "start_tls.complete"
_SENT: Final = ("send_request_headers.complete", "send_request_headers.failed")

Trace = Callable[[str, dict[str, Any]], Awaitable[None]]


async def sent(client: httpx2.AsyncClient, request: Request, within: timedelta) -> Answer:
    """Send a request that is all ours; give the answer, of whose body no more is read than the core wants to see.

    Raises:
        Unreachable: there was no whole answer in time.
        AnswerRejected: the answer is compressed, which nobody asked for.
        CertificateNotShown: the request needs a certificate, and the client does not show it.
    """
    host, seconds = urlsplit(request.url).hostname, within.total_seconds()
    try:
        outgoing = httpx2.Request(request.method, request.url, headers=list(request.headers), content=request.body)
        outgoing.extensions = {"timeout": httpx2.Timeout(seconds).as_dict()}
        if request.certificate is not None:
            outgoing.extensions["trace"] = _Shown(request.certificate, host, None)
        with anyio.fail_after(seconds):
            response = await client.send(outgoing, stream=True, auth=None, follow_redirects=False)
            try:
                if response.headers.get("content-encoding", "identity").lower() != "identity":
                    raise AnswerRejected(f"{host} sent a compressed answer, which was not asked for")
                return answer_of(response, await _bounded(response.stream))
            finally:
                await response.aclose()
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
        raise Unreachable(f"{host} did not answer: {type(error).__name__}") from error


async def drained(response: Any, within: timedelta, *, hang_up: bool = False) -> None:
    """Read what is left of a refusal before the request is sent again, so that its connection can be used again.

    The HTTP client would read it without any limit. With `hang_up` the connection is not to be used again.

    Raises:
        AnswerRejected: it is larger than any refusal has to be.
        Unreachable: it does not end in time.
    """
    if response.is_stream_consumed or response.is_closed:
        return
    stream = response.stream
    try:
        with anyio.fail_after(within.total_seconds()):
            body = await _bounded(stream)
            if hang_up and (connection := response.extensions.get("network_stream")) is not None:
                await connection.aclose()  # before the client has it back and gives it to another call
    except TimeoutError as error:
        raise Unreachable("the resource did not come to the end of its refusal") from error
    finally:
        await stream.aclose()
    if len(body) > ANSWER_LIMIT:
        raise AnswerRejected(f"the refusal of the resource is larger than {ANSWER_LIMIT} bytes")
    response.headers.pop("content-encoding", None)
    response.stream = type(response)(response.status_code, content=b"").stream  # what was read is nobody's business


def dressed(request: Any, call: Call, held: TokenSet | None) -> Any:
    """The caller's request with our headers on it, or without any of ours, the token that we hold among them."""
    _undress(request, held.authorization if held is not None else None)
    earlier = request.extensions.get("trace")
    if isinstance(earlier, _Undressing):
        earlier = earlier.earlier
    if isinstance(earlier, _Shown):
        earlier = earlier.earlier
    if call.certificate is not None:
        earlier = _Shown(call.certificate, urlsplit(str(request.url)).hostname, earlier)
    if call.authorization is not None:
        request.headers["authorization"] = call.authorization
        if call.proof is not None:
            request.headers["dpop"] = call.proof
        earlier = _Undressing(request, call.authorization, earlier)
    others = {name: value for name, value in request.extensions.items() if name != "trace"}
    request.extensions = others if earlier is None else {**others, "trace": earlier}
    return request


def answer_of(response: Any, body: bytes = b"", certificate: Certificate | None = None) -> Answer:
    """What the core has to know of a response to a request that had to show this certificate."""
    headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers.raw)
    former = certificate is not None and certificate.was_renewed_since(_tls_of(response.extensions))
    return Answer(status=response.status_code, headers=headers, body=body, former_certificate=former)


def _tls_of(extensions: Any) -> Any:
    """The `ssl.SSLObject` of the connection that brought a response, where its transport tells."""
    connection = extensions.get("network_stream")
    return connection.get_extra_info("ssl_object") if connection is not None else None


class _Shown:
    """Ends a connection that does not show the certificate, before anything is sent on it.

    What a client shows is a matter of its TLS context, which nobody can tell from a request; but a transport tells of
    each handshake. One that tells nothing (a mock, another library) has to be right by itself.
    """

    def __init__(self, certificate: Certificate, host: str | None, earlier: Trace | None) -> None:
        self._certificate = certificate
        self._host = host
        self.earlier = earlier

    async def __call__(self, name: str, info: dict[str, Any]) -> None:
        if name.endswith(_HANDSHAKE) and (connection := info.get("return_value")) is not None:
            tls = connection.get_extra_info("ssl_object")
            to_host = getattr(tls, "server_hostname", None) == self._host  # and not a proxy on the way there
            if to_host and not self._certificate.is_shown_on(tls):
                await connection.aclose()
                raise CertificateNotShown(
                    "the HTTP client does not show the agent's certificate: make it with verify=certificate.context"
                )
        if self.earlier is not None:
            await self.earlier(name, info)


class _Undressing:
    """Takes our headers off a request as soon as they have left.

    A client that follows redirects builds the next request from the headers of the last one: the proof goes to any
    server that the resource names, and the token to any path of the same server. There is nothing to copy by then.
    """

    def __init__(self, request: Any, authorization: str, earlier: Trace | None) -> None:
        self._request = request
        self._authorization = authorization
        self.earlier = earlier

    async def __call__(self, name: str, info: dict[str, Any]) -> None:
        if name.endswith(_SENT):
            _undress(self._request, self._authorization)
        if self.earlier is not None:
            await self.earlier(name, info)


def _undress(request: Any, ours: str | None) -> None:
    """Leave nothing of ours on a request; a bearer token of the caller's own stays."""
    authorization = request.headers.get("authorization", "")
    if authorization.lower().startswith("dpop ") or authorization == ours:
        request.headers.pop("authorization", None)
    request.headers.pop("dpop", None)


async def _bounded(stream: object) -> bytes:
    """As much as the core wants to see, and one byte more, by which it knows that there was too much."""
    if not isinstance(stream, AsyncIterable):
        raise TypeError("the stream of an asynchronous client")
    body = bytearray()
    async for chunk in stream:
        body += chunk
        if len(body) > ANSWER_LIMIT:
            break
    return bytes(body[: ANSWER_LIMIT + 1])
