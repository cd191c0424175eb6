"""The Observer port: standard logging, counters for Prometheus, and several observers as one."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from rs_kit.ports import AuthorizedCall, Observer, Refusal
from rs_kit.protocol.errors import MissingToken, ProofOutOfTime, Unavailable, UseDpopNonce

_EXPECTED: Final = (MissingToken, UseDpopNonce)  # steps of the protocol, not incidents
_LOGGED_LENGTH: Final = 200
_OFFSETS: Final = (-300, -60, -30, -10, -5, -2, -1, 0, 1, 2, 5, 10, 30, 60)  # seconds; upper bounds
_REASONS_KEPT: Final = 256  # reasons are sentences of ours, and few; what cannot be bounded is not counted by name
_FARTHEST: Final = 86_400  # seconds: one clock that is years off must not drown the sum of all others


def _shown(value: str | None) -> str | None:
    """A value that a peer chose, as one line of printable ASCII and not too long (LOG-01)."""
    return None if value is None else ascii(value[:_LOGGED_LENGTH])[1:-1]


class LoggingObserver:
    """One record per decision: ids and outcomes, never a token, a proof or an argument (RSV-9).

    Args:
        logger: where the records go; by default `rs_kit.guard`, with the facts as attributes of the record.
    """

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logging.getLogger("rs_kit.guard") if logger is None else logger

    def admitted(self, call: AuthorizedCall) -> None:
        """Log at INFO."""
        if self._logger.isEnabledFor(logging.INFO):
            token = call.token
            facts = {
                "client_id": _shown(token.client_id),
                "subject": _shown(token.subject),
                "token_id": _shown(token.jti),
                "rpc_method": _shown(call.rpc_method),
                "target": _shown(call.target),
            }
            self._logger.info("call admitted: %s %s", facts["rpc_method"], facts["target"], extra=facts)

    def refused(self, refusal: Refusal) -> None:
        """Log at INFO what is a step of the protocol, at ERROR what is our failure, and at WARNING the rest."""
        error = refusal.error
        level = logging.WARNING
        if isinstance(error, _EXPECTED):
            level = logging.INFO
        elif isinstance(error, Unavailable):
            level = logging.ERROR
        if not self._logger.isEnabledFor(level):
            return
        facts: dict[str, str | None] = {
            "error": error.error,
            "detail": _shown(error.detail),
            "http_method": _shown(refusal.http_method),
            "path": _shown(refusal.path),
        }
        if refusal.token is not None:
            facts["client_id"] = _shown(refusal.token.client_id)
            facts["subject"] = _shown(refusal.token.subject)
            facts["token_id"] = _shown(refusal.token.jti)
        self._logger.log(
            level, "call refused: %s (%s)", facts["error"] or "no credentials", facts["detail"], extra=facts
        )


class MetricsObserver:
    """Counts decisions: admissions, refusals by their private reason, and how far the clocks of agents are off.

    `exposition` gives them in Prometheus' text format, without a client library. It tells why calls are refused, so it
    belongs on an address that only the operator reaches. Each process counts its own.
    """

    __slots__ = ("_admitted", "_offset_sum", "_offsets", "_refused")

    def __init__(self) -> None:
        self._admitted = 0
        self._refused: Counter[tuple[str, str]] = Counter()
        self._offsets = [0] * (len(_OFFSETS) + 1)
        self._offset_sum = 0

    def admitted(self, call: AuthorizedCall) -> None:
        """Count it."""
        self._admitted += 1
        if call.iat_offset is not None:
            self._clock_was_off(call.iat_offset)

    def refused(self, refusal: Refusal) -> None:
        """Count it by its reason."""
        error = refusal.error
        reason = (error.error or "no_credentials", _shown(error.detail) or "")
        if reason not in self._refused and len(self._refused) >= _REASONS_KEPT:
            reason = (reason[0], "other")
        self._refused[reason] += 1
        if isinstance(error, ProofOutOfTime):
            self._clock_was_off(error.iat_offset)

    def exposition(self) -> str:
        """Everything that was counted, in text format 0.0.4 (`text/plain; version=0.0.4`)."""
        return "\n".join((*self._calls(), *self._clocks(), ""))

    def _clock_was_off(self, seconds: int) -> None:
        self._offsets[bisect_left(_OFFSETS, seconds)] += 1
        self._offset_sum += max(-_FARTHEST, min(_FARTHEST, seconds))

    def _calls(self) -> Iterator[str]:
        yield "# HELP rs_kit_calls_admitted_total Calls that passed every check."
        yield "# TYPE rs_kit_calls_admitted_total counter"
        yield f"rs_kit_calls_admitted_total {self._admitted}"
        yield "# HELP rs_kit_calls_refused_total Calls that the kit answered itself, by error code and private reason."
        yield "# TYPE rs_kit_calls_refused_total counter"
        for (error, reason), count in sorted(self._refused.items()):
            yield f'rs_kit_calls_refused_total{{error="{error}",reason="{_label(reason)}"}} {count}'

    def _clocks(self) -> Iterator[str]:
        name = "rs_kit_dpop_iat_offset_seconds"
        yield f"# HELP {name} By how much the iat of proofs was ahead of this clock; negative: behind."
        yield f"# TYPE {name} histogram"
        *bounded, total = accumulate(self._offsets)
        for bound, count in zip(_OFFSETS, bounded, strict=True):
            yield f'{name}_bucket{{le="{bound}"}} {count}'
        yield f'{name}_bucket{{le="+Inf"}} {total}'
        yield f"{name}_sum {self._offset_sum}"
        yield f"{name}_count {total}"


class Observers:
    """Several observers as one: `Observers(LoggingObserver(), MetricsObserver())`, told in this order."""

    __slots__ = ("_observers",)

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def admitted(self, call: AuthorizedCall) -> None:
        """Tell each; one that fails stops the call."""
        for observer in self._observers:
            observer.admitted(call)

    def refused(self, refusal: Refusal) -> None:
        """Tell each, whichever of them fails.

        Raises:
            ExceptionGroup: what those raised that failed.
        """
        failures: list[Exception] = []
        for observer in self._observers:
            try:
                observer.refused(refusal)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others must be told
                failures.append(error)
        if failures:
            raise ExceptionGroup("observers failed", failures)


def _label(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
