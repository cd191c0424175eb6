"""Work that is dear and rare takes turns, so that it does not hold up what is cheap and frequent.

Fifty registrations that arrive together would all run in one turn of the event loop, and a token request among them
waits for all of them, once for each of its own steps. So they begin one by one, with a pause in which the others go on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from fapi_as.protocol.errors import TooManyAtOnce

PAUSE_SECONDS: Final = 0.008  # several times what a registration takes: most of a worker's time is left to others
WAITING_LIMIT: Final = 256  # about two seconds
WAITING_LIMIT_OF_ONE: Final = 64  # half a second, which is what one can make all others wait


class PacedTurns:
    """The turns of one worker, which is one event loop, in the order of arrival.

    Args:
        pause_seconds: from the begin of one turn to that of the next.
        waiting_limit: how many may wait; one more is refused.
        waiting_limit_of_one: how many of them may be of one party.
    """

    def __init__(
        self,
        *,
        pause_seconds: float = PAUSE_SECONDS,
        waiting_limit: int = WAITING_LIMIT,
        waiting_limit_of_one: int = WAITING_LIMIT_OF_ONE,
    ) -> None:
        self._pause_seconds = pause_seconds
        self._waiting_limit = waiting_limit
        self._waiting_limit_of_one = waiting_limit_of_one
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()
        self._is_paused = False

    async def take(self, party: str) -> None:
        """Come back when it is the caller's turn.

        Raises:
            TooManyAtOnce: too many are waiting, of all or of this party.
        """
        loop = asyncio.get_running_loop()
        if not self._is_paused:
            self._pause(loop)
            return
        # whoever went away keeps no place; there are few enough to look at them all
        self._waiting = deque((waits, turn) for waits, turn in self._waiting if not turn.done())
        parties = [waits for waits, _ in self._waiting]
        if len(parties) >= self._waiting_limit or parties.count(party) >= self._waiting_limit_of_one:
            raise TooManyAtOnce("too many wait for their turn")
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append((party, turn))
        await turn

    def _pause(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_paused = True
        loop.call_later(self._pause_seconds, self._go_on, loop)

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_paused = False
        while self._waiting:
            _, turn = self._waiting.popleft()
            if not turn.done():  # whoever went away has no turn
                self._pause(loop)
                turn.set_result(None)
                return
