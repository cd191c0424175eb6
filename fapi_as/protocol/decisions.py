"""A decision is data: what is allowed or refused, and the ordered effects that make it true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from fapi_as.protocol.effects import Effect, Record
from fapi_as.protocol.errors import ProtocolError


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """A refusal; its own effects (ending a family on reuse) are committed."""

    error: ProtocolError
    effects: tuple[Effect, ...] = ()
    lost: Mapping[Effect, Refuse] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """A permission; `lost` names the refusal that each effect means when somebody else won it."""

    effects: tuple[Effect, ...]
    lost: Mapping[Effect, Refuse] = field(default_factory=dict)


Decision = Issue | Refuse


def recorded_refusal(error: ProtocolError, *effects: Effect, client_id: str | None = None) -> Refuse:
    """A refusal that leaves exactly one audit fact with its private reason."""
    fact = AuditFact(event=AuditEvent.REFUSED, error=error.error, detail=error.detail, client_id=client_id)
    return Refuse(error=error, effects=(*effects, Record(fact=fact)))


class UndeclaredLoss(Exception):
    """An effect lost and its decision names no refusal for that: a defect of a rule; nothing was changed."""


def meaning_of_loss(decision: Decision, effect: Effect) -> Refuse:
    """The refusal that a decision becomes when this effect has lost.

    Raises:
        UndeclaredLoss: the decision names none.
    """
    refusal = decision.lost.get(effect)
    if refusal is None:
        raise UndeclaredLoss(f"{type(effect).__name__} of a {type(decision).__name__}")
    return refusal
