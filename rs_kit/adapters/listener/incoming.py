"""What a peer sends, before anybody is woken for it.

A peer that sends a byte now and then would cost a task's turn and an application's turn for each of them. What only
prolongs a beginning is put where it belongs at once; the connection runs when there is something to do.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override


class Incoming(asyncio.StreamReaderProtocol):
    """The protocol of one connection; `absorb` takes bytes that nobody must be woken for, and says whether it did."""

    absorb: Callable[[bytes], bool] | None = None
    _unread = 0  # bytes on their way to whoever reads the stream: nothing may overtake them

    @override
    def data_received(self, data: bytes) -> None:
        if self._unread == 0 and self.absorb is not None and self.absorb(data):
            return
        self._unread += len(data)
        super().data_received(data)

    def was_read(self, count: int) -> None:
        """So many bytes of the stream have been read."""
        self._unread -= count
