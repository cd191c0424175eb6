"""What clients asked for and were told while things broke, and a checker of the promises made to them.

A history is written by the clients alone: an operation is invoked and ends as ok, refused (an answer below 500),
unavailable (a 503) or unknown (no answer). The checker compares it with the audit facts and with the stored rows that
are found once everything has come back (`tests.support.stored_state`); it knows the promises and no code of the server.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

CODE_SECONDS: Final = 60
REQUEST_URI_SECONDS: Final = 90
_TOO_MANY: Final = 429
_RETRY_LATER: Final = 503
_ATTEMPTED: Final = "user.sign_in_attempted"  # counted by itself, before the password is looked at
_SERVER_ERROR: Final = 500


class Kind(StrEnum):
    """What a client can ask for; each leaves one fact of its own kind when it is granted."""

    PUSH = "push"
    COMPLETE = "complete"
    REDEEM = "redeem"
    REFRESH = "refresh"
    CREDENTIALS = "credentials"


class Outcome(StrEnum):
    """How an operation ended for the one who asked."""

    OK = "ok"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"


GRANTED_FACT: Final = {
    Kind.PUSH: "request.pushed",
    Kind.COMPLETE: "consent.given",
    Kind.REDEEM: "token.issued",
    Kind.REFRESH: "token.issued",
    Kind.CREDENTIALS: "token.issued",
}


@dataclass(slots=True, kw_only=True)
class Operation:
    """One thing asked; `uses` is the handle it presents, `makes` the one it was given, both by a name of the client.

    `began` and `ended` are monotonic; `server_time` and `server_time_after` are the server's wall clock then, as far as
    the client knows it; `waited` is how long the last answer took. `wrong` is what the client itself found
    wrong with the answer, such as a token bound to another key.
    """

    kind: Kind
    uses: str | None
    assertion: str
    began: float
    server_time: float
    ended: float = float("inf")
    server_time_after: float = 0.0
    outcome: Outcome = Outcome.UNKNOWN
    makes: str | None = None
    status: int = 0
    error: str | None = None
    retry_after: str | None = None
    waited: float = 0.0
    correlation_id: str | None = None
    wrong: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """An audit fact as far as the checker reads it."""

    id: int
    event: str
    correlation_id: str
    authorization_id: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One broken promise."""

    promise: str
    text: str


@dataclass(slots=True)
class History:
    """Operations in the order in which they were invoked."""

    operations: list[Operation] = field(default_factory=list)

    def invoke(self, kind: Kind, *, uses: str | None, assertion: str, server_time: float) -> Operation:
        """Note that something is asked now; until it ends it is unknown."""
        operation = Operation(
            kind=kind, uses=uses, assertion=assertion, began=time.monotonic(), server_time=server_time
        )
        self.operations.append(operation)
        return operation

    def outcomes(self) -> Counter[Outcome]:
        return Counter(operation.outcome for operation in self.operations)

    def write(self, path: Path) -> None:
        """One line per operation, for somebody who wants to look."""
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(asdict(operation)) for operation in self.operations)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def check(operations: Sequence[Operation], facts: Sequence[Fact], *, unavailable_may_be_kept: bool) -> list[Finding]:
    """Every promise that the history shows as broken.

    Args:
        operations: everything that was asked.
        facts: the whole audit of that server.
        unavailable_may_be_kept: whether a 503 may have come true all the same. After a failed fsync nobody can know;
            in every other case a 503 says that nothing was changed.
    """
    vague = {Outcome.UNKNOWN} | ({Outcome.UNAVAILABLE} if unavailable_may_be_kept else set())
    return [
        *_answers(operations),
        *_used_once(operations),
        *_lost(operations, vague),
        *_revoked(operations),
        *_audited(operations, facts, vague),
    ]


def _answers(operations: Iterable[Operation]) -> list[Finding]:
    """P8: a failure is a 503 that says when to come back. I7: the token is the requester's."""
    found = []
    for operation in operations:
        if operation.status >= _SERVER_ERROR and operation.status != _RETRY_LATER:
            found.append(Finding(promise="P8", text=f"{operation.kind} was answered with {operation.status}"))
        if operation.status == _RETRY_LATER and not (operation.retry_after or "").isdecimal():
            found.append(Finding(promise="P8", text=f"{operation.kind}: a 503 without Retry-After"))
        if operation.wrong is not None:
            found.append(Finding(promise="I7", text=f"{operation.kind}: {operation.wrong}"))
    return found


def _used_once(operations: Iterable[Operation]) -> list[Finding]:
    """I1 codes, I4 assertions, I5 request_uris: at most one success each."""
    codes: Counter[str] = Counter()
    requests: Counter[str] = Counter()
    assertions: Counter[str] = Counter()
    for operation in operations:
        if operation.outcome is not Outcome.OK:
            continue
        if operation.kind is Kind.REDEEM:
            codes[operation.uses or ""] += 1
        if operation.kind is Kind.COMPLETE:
            requests[operation.uses or ""] += 1
        elif operation.assertion:
            assertions[operation.assertion] += 1
    named = (("I1", "code", codes), ("I4", "assertion", assertions), ("I5", "request_uri", requests))
    return [
        Finding(promise=promise, text=f"{what} {name} was good {count} times")
        for promise, what, counted in named
        for name, count in counted.items()
        if count > 1
    ]


_LIFETIMES: Final = {Kind.REDEEM: CODE_SECONDS, Kind.COMPLETE: REQUEST_URI_SECONDS}


def _lost(operations: Sequence[Operation], vague: set[Outcome]) -> list[Finding]:
    """I2: what was handed out is good until it expires, is used up or is revoked."""
    made = {operation.makes: operation for operation in operations if operation.makes is not None}
    codes = _codes_of_tokens(operations)
    by_handle: defaultdict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        by_handle[operation.uses or ""].append(operation)
    found = []
    for operation in operations:
        if operation.outcome is not Outcome.REFUSED or operation.uses not in made or _says_nothing(operation):
            continue
        born = made[operation.uses]
        lifetime = _LIFETIMES.get(operation.kind, float("inf"))
        if _has_expired(operations, born, operation, lifetime):
            continue
        # either may have been under way at a step: what was made ahead of a clock is not good yet by that clock
        if min(_clocks(operation)) < max(_clocks(born)) - 1:
            continue  # the clock was set back: it may be refused as one from the future
        if operation.kind is Kind.REFRESH:
            rivals = by_handle[codes.get(operation.uses, "")]
            excused = sum(_may_count(rival, operation, vague | {Outcome.OK, Outcome.REFUSED}) for rival in rivals) > 1
        else:
            rivals = by_handle[operation.uses]
            excused = any(_may_count(rival, operation, vague | {Outcome.OK}) for rival in rivals)
        if not excused:
            text = f"{operation.kind} of {operation.uses}, which was acknowledged, was refused: {operation.error}"
            found.append(Finding(promise="I2", text=text))
    return found


def _has_expired(operations: Iterable[Operation], born: Operation, last: Operation, lifetime: float) -> bool:
    # by any clock that the server has shown in between: what has expired once stays so when the clock is set back
    clocks = [
        max(other.server_time, other.server_time_after)
        for other in operations
        if born.began <= other.began <= last.ended and other is not born
    ]
    return max([last.server_time + (last.ended - last.began), *clocks]) >= born.server_time + lifetime - 1


def _clocks(operation: Operation) -> tuple[float, float]:
    """The server's clock when it was asked and when it had answered."""
    return operation.server_time, operation.server_time_after or operation.server_time


def _says_nothing(operation: Operation) -> bool:
    # a wrong clock or too many attempts are of the client; they say nothing about the handle
    spoken = operation.error in {"invalid_grant", "invalid_request_uri", "invalid_request"}
    return not spoken or operation.status == _TOO_MANY


def _may_count(rival: Operation, operation: Operation, outcomes: set[Outcome]) -> bool:
    return rival is not operation and rival.began < operation.ended and rival.outcome in outcomes


def _codes_of_tokens(operations: Iterable[Operation]) -> dict[str, str]:
    return {
        operation.makes: operation.uses
        for operation in operations
        if operation.kind is Kind.REDEEM and operation.makes is not None and operation.uses is not None
    }


def _revoked(operations: Sequence[Operation]) -> list[Finding]:
    """I3: once a replay of a redeemed code was refused, what the code brought is never good again."""
    codes = _codes_of_tokens(operations)
    redeemed = {operation.uses for operation in operations if operation.makes in codes}
    revoked_at: dict[str, float] = {}
    for operation in operations:
        replayed = operation.kind is Kind.REDEEM and operation.uses in redeemed
        if replayed and operation.outcome is Outcome.REFUSED and operation.error == "invalid_grant":
            code = operation.uses or ""
            revoked_at[code] = min(operation.ended, revoked_at.get(code, float("inf")))
    return [
        Finding(promise="I3", text=f"{operation.uses} was good after the end of its authorization was acknowledged")
        for operation in operations
        if operation.kind is Kind.REFRESH
        and operation.outcome is Outcome.OK
        and operation.began > revoked_at.get(codes.get(operation.uses or "", ""), float("inf"))
    ]


def _audited(operations: Iterable[Operation], facts: Sequence[Fact], vague: set[Outcome]) -> list[Finding]:
    """I6: an acknowledged operation has exactly one fact of its kind, one that failed for certain has none."""
    numbers = [fact.id for fact in facts]
    found = []
    if numbers != list(range(1, len(numbers) + 1)):
        found.append(Finding(promise="I6", text="audit facts are missing from the middle of the record"))
    facts_of: defaultdict[str, list[str]] = defaultdict(list)
    for fact in facts:
        facts_of[fact.correlation_id].append(fact.event)
    for operation in operations:
        if operation.correlation_id is None:
            continue
        events = [event for event in facts_of[operation.correlation_id] if event != _ATTEMPTED]
        granted = events.count(GRANTED_FACT[operation.kind])
        wrong = None
        if operation.outcome is Outcome.OK and granted != 1:
            wrong = f"was acknowledged and has {granted} facts"
        elif operation.outcome is Outcome.REFUSED and granted:
            wrong = "was refused and has a fact of success"
        elif operation.outcome is Outcome.REFUSED and operation.error == "invalid_grant" and len(events) == 0:
            wrong = "was refused to a known client without a fact"
        elif operation.outcome is Outcome.UNAVAILABLE and events and operation.outcome not in vague:
            wrong = f"was answered with a 503 and has facts: {events}"
        if wrong is not None:
            found.append(Finding(promise="I6", text=f"{operation.kind} {operation.correlation_id} {wrong}"))
    return found
