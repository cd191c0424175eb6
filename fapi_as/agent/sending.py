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

from fapi_as.agent.errors import AnswerRejected, Unreachable
from fapi_as.agent.steps import ANSWER_LIMIT, Answer, Call, Request

ANSWER_TIMEOUT: Final = timedelta(seconds=15)  # from the first byte sent to the last one received
_SENT: Final = ("send_request_headers.complete", "send_request_headers.failed")

Trace = Callable[[str, dict[str, Any]], Awaitable[None]]


async def sent(client: httpx2.AsyncClient, request: Request, within: timedelta) -> Answer:
    """Send a request that is all ours; give the answer, of whose body no more is read than the core wants to see.

    Raises:
        Unreachable: there was no whole answer in time.
        AnswerRejected: the answer is compressed, which nobody asked for.
    """
    host, seconds = urlsplit(request.url).hostname, within.total_seconds()
    try:
        outgoing = httpx2.Request(request.method, request.url, headers=list(request.headers), content=request.body)
        outgoing.extensions = {"timeout": httpx2.Timeout(seconds).as_dict()}
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


async def drained(response: Any, within: timedelta) -> None:
    """Read what is left of a refusal before the request is sent again, so that its connection can be used again.

    The HTTP client would read it without any limit.

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
    except TimeoutError as error:
        raise Unreachable("the resource did not come to the end of its refusal") from error
    finally:
        await stream.aclose()
    if len(body) > ANSWER_LIMIT:
        raise AnswerRejected(f"the refusal of the resource is larger than {ANSWER_LIMIT} bytes")
    response.headers.pop("content-encoding", None)
    response.stream = type(response)(response.status_code, content=b"").stream  # what was read is nobody's business


def dressed(request: Any, call: Call) -> Any:
    """The caller's request with our headers on it, or without any of ours."""
    _undress(request)
    if call.authorization is None:
        return request
    request.headers["authorization"] = call.authorization
    request.headers["dpop"] = call.proof or ""
    earlier = request.extensions.get("trace")
    trace = _Undressing(request, earlier.earlier if isinstance(earlier, _Undressing) else earlier)
    request.extensions = {**request.extensions, "trace": trace}
    return request


def answer_of(response: Any, body: bytes = b"") -> Answer:
    """What the core has to know of a response."""
    headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in response.headers.raw)
    return Answer(status=response.status_code, headers=headers, body=body)


class _Undressing:
    """Takes our headers off a request as soon as they have left.

    A client that follows redirects builds the next request from the headers of the last one: the proof goes to any
    server that the resource names, and the token to any path of the same server. There is nothing to copy by then.
    """

    def __init__(self, request: Any, earlier: Trace | None) -> None:
        self._request = request
        self.earlier = earlier

    async def __call__(self, name: str, info: dict[str, Any]) -> None:
        if name.endswith(_SENT):
            _undress(self._request)
        if self.earlier is not None:
            await self.earlier(name, info)


def _undress(request: Any) -> None:
    if request.headers.get("authorization", "").lower().startswith("dpop "):
        del request.headers["authorization"]
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
