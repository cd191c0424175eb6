"""Work that is dear and rare takes turns, so that it does not hold up what is cheap and frequent.

Fifty registrations that arrive together would all run in one turn of the event loop, and a token request among them
waits for all of them, once for each of its own steps. So they begin one by one, with a pause in which the others go on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from fapi_as.protocol.errors import TooManyRequests

PAUSE_SECONDS: Final = 0.008  # several times what a registration takes: most of a worker's time is left to others
WAITING_LIMIT: Final = 256  # about two seconds


class PacedTurns:
    """The turns of one worker, in the order of arrival.

    Args:
        pause_seconds: from the begin of one turn to that of the next.
        waiting_limit: how many may wait; one more is refused.
    """

    def __init__(self, *, pause_seconds: float = PAUSE_SECONDS, waiting_limit: int = WAITING_LIMIT) -> None:
        self._pause_seconds = pause_seconds
        self._waiting_limit = waiting_limit
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._pausing: asyncio.TimerHandle | None = None

    async def take(self) -> None:
        """Come back when it is the caller's turn.

        Raises:
            TooManyRequests: too many are waiting.
        """
        loop = asyncio.get_running_loop()
        if self._pausing is None:
            self._pause(loop)
            return
        if len(self._waiting) >= self._waiting_limit:
            raise TooManyRequests("too many wait for their turn")
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        await turn

    def give_back(self) -> None:
        """Let the next one go on at once, because nothing came of a turn."""
        if self._pausing is not None:
            self._pausing.cancel()
            loop = asyncio.get_running_loop()
            self._pausing = loop.call_later(0, self._go_on, loop)

    def _pause(self, loop: asyncio.AbstractEventLoop) -> None:
        self._pausing = loop.call_later(self._pause_seconds, self._go_on, loop)

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        self._pausing = None
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # whoever went away has no turn
                self._pause(loop)
                turn.set_result(None)
                return
