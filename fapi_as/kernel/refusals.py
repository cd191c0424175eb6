"""Refusals: a fact each up to a budget, then one counting fact (docs/decisions/0012 and 0017).

Two budgets of one shape: one for sources, before authentication, and one for clients, after it.
Kept in memory, by each worker for itself: a flood costs neither a write nor a row beyond the budget.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Protocol

from fapi_as.kernel.owed import Owed
from fapi_as.ports import Store
from fapi_as.protocol.audit_events import AuditEvent, AuditFact, Stamp
from fapi_as.protocol.decisions import Issue
from fapi_as.protocol.effects import Record
from fapi_as.protocol.errors import ProtocolError
from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import (
    REFUSAL_REASONS_PER_SOURCE,
    REFUSALS_TOLD_IN_ALL,
    REFUSALS_TOLD_PER_SOURCE,
    REFUSALS_WINDOW,
)
from fapi_as.protocol.source import site_of

_WINDOW: Final = seconds(REFUSALS_WINDOW)
_TALLIES: Final = 1_000  # of one minute; whatever comes beside them is one tally per error code
_ENDED_KEPT: Final = 4_000  # while the store cannot be written
_MANY_SOURCES: Final = "many sources"
_MANY_CLIENTS: Final = "many clients"
_SEVERAL_REASONS: Final = "several reasons"


class Reason(NamedTuple):
    """Who was refused and why, within one minute: a source, or a client wherever it was."""

    minute: int
    source: str | None
    client_id: str | None
    error: str
    detail: str

    @property
    def who(self) -> str:
        """Whose budget it is."""
        return self.client_id or self.source or ""

    @property
    def folded(self) -> Reason:
        """The same among others for which there is no room."""
        source = self.source and _MANY_SOURCES
        client_id = self.client_id and _MANY_CLIENTS
        return self._replace(source=source, client_id=client_id, detail=_SEVERAL_REASONS)


@dataclass(slots=True, kw_only=True)
class Tally:
    """How many refusals of one reason left no fact of their own; `first` is the stamp of the first of them."""

    reason: Reason
    first: Stamp
    count: int = 0

    def fact(self) -> AuditFact:
        """The counting fact."""
        detail = f"{self.count} times: {self.reason.detail}"
        return AuditFact(
            event=AuditEvent.REFUSALS_COUNTED, error=self.reason.error, detail=detail, client_id=self.reason.client_id
        )

    def stamp(self) -> Stamp:
        """When and where from; the reference is the first counted request's."""
        return replace(self.first, source=self.reason.source or self.first.source)


class RefusalBudget:
    """Who may still leave a fact of its own this minute, and how many did not."""

    def __init__(self) -> None:
        self._minute = 0
        self._told: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._tallies: dict[Reason, Tally] = {}
        self._ended: dict[Reason, Tally] = {}

    def spend(self, error: ProtocolError, stamp: Stamp, *, client_id: str | None = None) -> bool:
        """Whether this refusal leaves a fact of its own; if not, it is counted.

        The first refusal of a reason always does, so that nothing new is hidden by a flood of something else.
        """
        self._turn(stamp.at)
        source = site_of(stamp.source) if client_id is None else None
        reason = Reason(self._minute, source, client_id, error.error, error.detail)
        who = reason.who
        tally = self._tallies.get(reason)
        is_first = tally is None and self._has_room(who)
        if is_first:
            self._reasons[who] += 1
        elif tally is None:
            reason = reason.folded
        tally = self._tallies.setdefault(reason, Tally(reason=reason, first=stamp))
        if is_first or self._may_tell(who):
            self._told[who] += 1
            return True
        if tally.count == 0:
            tally.first = stamp
        tally.count += 1
        return False

    def ended(self, now: int) -> tuple[Tally, ...]:
        """The tallies of minutes that are over."""
        self._turn(now)
        return tuple(self._ended.values())

    def written(self, tally: Tally, times: int) -> None:
        """Forget what is a fact now; what joined the tally meanwhile is told next time."""
        tally.count -= times
        if not tally.count:
            self._ended.pop(tally.reason, None)

    def _has_room(self, who: str) -> bool:
        return len(self._tallies) < _TALLIES and self._reasons[who] < REFUSAL_REASONS_PER_SOURCE

    def _may_tell(self, who: str) -> bool:
        return self._told[who] < REFUSALS_TOLD_PER_SOURCE and self._told.total() < REFUSALS_TOLD_IN_ALL

    def _turn(self, now: int) -> None:
        """Begin another minute, also when the clock was set back.

        A request that came in the minute before and is refused only now gives nobody a fresh budget.
        """
        if 0 <= self._minute - now // _WINDOW <= 1:
            return
        for tally in self._tallies.values():
            if tally.count:
                self._end(tally)
        self._minute = now // _WINDOW
        self._told.clear()
        self._reasons.clear()
        self._tallies.clear()

    def _end(self, tally: Tally) -> None:
        if tally.reason not in self._ended and len(self._ended) >= _ENDED_KEPT:
            tally.reason = tally.reason.folded._replace(minute=0)
        known = self._ended.setdefault(tally.reason, tally)
        if known is not tally:
            known.count += tally.count


class Evidence(Protocol):
    """What of a tenant's Context the counts need."""

    @property
    def store(self) -> Store:
        """Where facts are kept."""
        ...

    @property
    def refusals(self) -> RefusalBudget:
        """What was counted of sources."""
        ...

    @property
    def owed(self) -> Owed:
        """What else the store is to be told."""
        ...

    @property
    def refusals_of_clients(self) -> RefusalBudget:
        """What was counted of clients."""
        ...


async def write_counts(context: Evidence, now: int) -> None:
    """Write the counting facts of minutes that are over, and what else the store could not be told.

    Raises:
        StorageUnavailable: what was not written is kept for the next time.
    """
    await context.owed.pay(context.store, now)
    for budget in (context.refusals, context.refusals_of_clients):
        for tally in budget.ended(now):
            times, decision = tally.count, Issue(effects=(Record(fact=tally.fact()),))
            await context.store.commit(decision, tally.stamp())
            budget.written(tally, times)
