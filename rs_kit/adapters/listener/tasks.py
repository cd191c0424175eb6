"""The tasks that run applications: they belong to the listener, so that a peer who leaves cancels nothing."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self

from hypercorn.config import Config
from hypercorn.typing import (
    AppWrapper,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendEvent,
    Scope,
    TaskGroup,
)

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override

Send = Callable[[ASGISendEvent | None], Awaitable[None]]


class ApplicationTasks(TaskGroup):
    """What Hypercorn calls a task group: it starts an application per request and keeps it until it is done."""

    def __init__(self, loop: asyncio.AbstractEventLoop, logger: logging.Logger) -> None:
        self._loop = loop
        self._logger = logger
        self.running: set[asyncio.Task[None]] = set()

    @override
    async def spawn_app(
        self, app: AppWrapper, config: Config, scope: Scope, send: Send
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        inbox: asyncio.Queue[ASGIReceiveEvent] = asyncio.Queue(config.max_app_queue_size)
        self.start(self._run(app, scope, inbox.get, send))
        return inbox.put

    @override
    def spawn(self, func: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        self.start(func(*args))

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run to its end, whatever becomes of the connection."""
        task = self._loop.create_task(coroutine)
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    async def _run(self, app: AppWrapper, scope: Scope, receive: ASGIReceiveCallable, send: Send) -> None:
        try:
            await app(scope, receive, send, _no_thread, _no_thread)
        except Exception:
            self._logger.exception("the application failed")
        # not after a cancellation, which is the end of the graceful time: the connection ends without a word
        await send(None)

    @override
    async def __aenter__(self) -> Self:
        return self

    @override
    async def __aexit__(self, *_: object) -> None:
        """Nothing: what runs belongs to the listener, which waits for it when it drains."""


def _no_thread(*_: Any) -> None:
    raise TypeError("only ASGI applications are served")
