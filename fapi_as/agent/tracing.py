"""Every HTTP exchange of an agent, told step by step as it happens, with what is secret blanked."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import httpx2

from fapi_as.agent.blanking import Blanking, is_form

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override  # httpx2 brings it to the Pythons that need it

_BODY_LIMIT: Final = 65_536  # bytes that are read ahead to be shown
_STREAM: Final = "text/event-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One exchange: what was asked and what came back, in lines that may be shown."""

    number: int
    asked: str
    request: tuple[str, ...] = ()
    status: int | None = None
    answer: tuple[str, ...] = ()


class Tracing:
    """Tells of every exchange that goes through its transports.

    Args:
        tell: called with each step when its answer is there.
    """

    def __init__(self, tell: Callable[[Step], None]) -> None:
        self._tell = tell
        self._numbers = count(1)
        self._blanking = Blanking()

    def transport(self, inner: httpx2.AsyncBaseTransport) -> httpx2.AsyncBaseTransport:
        """A transport that does what `inner` does and tells of it."""
        return _Transport(inner, self)

    def legible(self, value: Any) -> Any:
        """Text, or a JSON document, without what the exchanges had to hide."""
        return self._blanking.everywhere(value)

    def visited(self, url: str) -> None:
        """Tell that a person was sent to a page."""
        self._tell(Step(number=next(self._numbers), asked=f"the browser is sent to {self._blanking.url(url)}"))

    def came_back(self, url: str) -> None:
        """Tell where their browser came back to."""
        self._tell(Step(number=next(self._numbers), asked=f"the browser came back to {self._blanking.url(url)}"))

    def exchanged(self, sent: httpx2.Request, response: httpx2.Response, body: bytes | None) -> None:
        """Tell of one exchange; `sent` is the request as it was sent, and `body` None when it was not read."""
        headers = _pairs(sent.headers)
        asked, request = self._asked(sent), self._blanking.request(headers, sent.content)
        came = self._blanking.answer(_pairs(response.headers), body, of_form=is_form(dict(headers)))
        self._tell(
            Step(
                number=next(self._numbers),
                asked=asked,
                request=tuple(request),
                status=response.status_code,
                answer=tuple(came),
            )
        )

    def failed(self, sent: httpx2.Request, error: Exception) -> None:
        """Tell of one that brought no answer."""
        lines = self._blanking.request(_pairs(sent.headers), sent.content)
        asked = f"{self._asked(sent)}: {type(error).__name__}"
        self._tell(Step(number=next(self._numbers), asked=asked, request=tuple(lines)))

    def _asked(self, sent: httpx2.Request) -> str:
        return f"{sent.method} {self._blanking.url(str(sent.url))}"


class _Transport(httpx2.AsyncBaseTransport):
    def __init__(self, inner: httpx2.AsyncBaseTransport, tracing: Tracing) -> None:
        self._inner = inner
        self._tracing = tracing

    @override
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        # a copy: what proves something may have left the request before the answer is there
        sent = httpx2.Request(request.method, request.url, headers=request.headers, content=await request.aread())
        try:
            response = await self._inner.handle_async_request(request)
            shown = await _shown(response)
        except httpx2.TransportError as error:
            self._tracing.failed(sent, error)
            raise
        self._tracing.exchanged(sent, response, shown)
        return response

    @override
    async def aclose(self) -> None:
        await self._inner.aclose()


async def _shown(response: httpx2.Response) -> bytes | None:
    """The beginning of a body, which its reader still gets; None when it is a stream or cannot be read by people."""
    stream, headers = response.stream, response.headers
    if _STREAM in headers.get("content-type", "") or "content-encoding" in headers:
        return None
    if not isinstance(stream, httpx2.AsyncByteStream):
        return None
    response.stream = ahead = _Ahead(stream)
    try:
        return await ahead.read()
    except BaseException:
        await ahead.aclose()  # nobody else has it yet
        raise


class _Ahead(httpx2.AsyncByteStream):
    """A body whose beginning was read to be shown, and which its reader still gets whole."""

    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner
        self._rest = aiter(inner)
        self._read: list[bytes] = []

    async def read(self) -> bytes:
        async for chunk in self._rest:
            self._read.append(chunk)
            if sum(map(len, self._read)) >= _BODY_LIMIT:
                break
        return b"".join(self._read)

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._read:
            yield chunk
        async for chunk in self._rest:
            yield chunk

    @override
    async def aclose(self) -> None:
        await self._inner.aclose()


def _pairs(headers: httpx2.Headers) -> list[tuple[str, str]]:
    return [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers.raw]
