"""Asks the authorities, every five minutes, what they have withdrawn, and withdraws it here (SSA-9).

What cannot be had or read is told in the log and changes nothing: nobody comes back, and nobody is thrown out, because
a directory is down.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from typing import Final

from fapi_as.adapters.store import Approvals, NotFound, UnusableDatabase
from fapi_as.ports import Fetch
from fapi_as.protocol.audit_events import Stamp
from fapi_as.protocol.authority_status import (
    AUTHORITY_STATUS_LIMIT,
    AuthorityStatus,
    InvalidAuthorityStatus,
    parse_authority_status,
)
from fapi_as.protocol.errors import ProtocolError
from fapi_as.protocol.fetched_document import FetchFailed

PERIOD: Final = 300  # seconds
_AT_ONCE: Final = 4
_BATCH: Final = 50  # names in one transaction, so that requests are not kept waiting for long
_PAUSE_SECONDS: Final = 0.05  # after one that changed anything: other workers look for a moment in growing pauses
_IN_ONE_GO: Final = 16  # so that whoever is slow keeps the chores of a worker for 20 seconds at most

_logger: Final = logging.getLogger("fapi_as.authority_status")


class AuthorityStatusChecks:
    """Remembers when it asked whom; the one process of a tenant that does its chores has one.

    Args:
        open_approvals: of the tenant; the database is opened when it is time, in another thread.
        fetch: what has documents of others.
        sleep: replaces the pauses in tests; in seconds.
    """

    def __init__(
        self, open_approvals: Callable[[], Approvals], fetch: Fetch, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._open_approvals = open_approvals
        self._fetch = fetch
        self._sleep = sleep
        self._asked_at: dict[str, int] = {}

    async def run(self, stamp: Stamp) -> None:
        """Ask everybody whose last answer is old; those who were asked longest ago come first.

        Raises:
            UnusableDatabase: the store cannot answer.
        """
        named = await asyncio.to_thread(self._status_uris)
        self._asked_at = {issuer: at for issuer, at in self._asked_at.items() if issuer in named}
        due = sorted(
            (issuer for issuer in named if self._is_due(issuer, stamp.at)),
            key=lambda issuer: self._asked_at.get(issuer, 0),
        )[:_IN_ONE_GO]
        for begin in range(0, len(due), _AT_ONCE):
            together = due[begin : begin + _AT_ONCE]
            await asyncio.gather(*(self._ask(issuer, named[issuer], stamp) for issuer in together))

    def _is_due(self, issuer: str, now: int) -> bool:
        """One who was asked by a clock that ran ahead is asked again, and not when that time has come (TIM-02)."""
        asked_at = self._asked_at.get(issuer)
        return asked_at is None or not 0 <= now - asked_at < PERIOD

    async def _ask(self, issuer: str, uri: str, stamp: Stamp) -> None:
        self._asked_at[issuer] = stamp.at
        try:
            found = await self._fetch.get(uri, max_bytes=AUTHORITY_STATUS_LIMIT)
            status = parse_authority_status(found.body)
            await asyncio.to_thread(self._withdraw, issuer, status, stamp)
        except (FetchFailed, InvalidAuthorityStatus) as error:
            _logger.warning("the status of an authority is not known", extra={"issuer": issuer, "detail": str(error)})
        except NotFound:
            return  # it was removed meanwhile
        except (ProtocolError, UnusableDatabase) as error:
            _logger.warning("a withdrawal waits", extra={"issuer": issuer, "detail": str(error)})

    def _withdraw(self, issuer: str, status: AuthorityStatus, stamp: Stamp) -> None:
        approvals = self._open_approvals()
        for names in _batches(status.software):
            self._pause_after(approvals.withdraw(issuer, stamp, software=names))
        for names in _batches(status.statements):
            self._pause_after(approvals.withdraw(issuer, stamp, statements=names))

    def _pause_after(self, withdrawn: int) -> None:
        if withdrawn:
            self._sleep(_PAUSE_SECONDS)

    def _status_uris(self) -> dict[str, str]:
        """Of suspended ones, too: what they withdraw meanwhile does not count when they are believed again."""
        uris = ((stored.name, stored.members.get("status_uri")) for stored in self._open_approvals().authorities())
        return {issuer: uri for issuer, uri in uris if isinstance(uri, str)}


def _batches(names: frozenset[str]) -> Iterator[list[str]]:
    ordered = sorted(names)
    for begin in range(0, len(ordered), _BATCH):
        yield ordered[begin : begin + _BATCH]
