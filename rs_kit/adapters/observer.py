"""The Observer port on standard logging."""

from __future__ import annotations

import logging
from typing import Final

from rs_kit.ports import AuthorizedCall, Refusal
from rs_kit.protocol.errors import MissingToken, Unavailable, UseDpopNonce

_EXPECTED: Final = (MissingToken, UseDpopNonce)  # steps of the protocol, not incidents
_LOGGED_LENGTH: Final = 200


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
