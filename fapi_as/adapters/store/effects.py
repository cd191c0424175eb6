"""Applies decisions: one synchronous function per effect, run on the writer thread inside one transaction."""

from __future__ import annotations

import json
from typing import assert_never

from fapi_as.adapters.store.approver_statements import approver_statements
from fapi_as.adapters.store.registration_effects import RegistrationEffects
from fapi_as.adapters.store.sealed_payload import Seal, associated_data
from fapi_as.adapters.store.statements import attempt_room, statements
from fapi_as.protocol.audit_events import AuditFact, Stamp
from fapi_as.protocol.decisions import Decision, meaning_of_loss
from fapi_as.protocol.effects import (
    Attempt,
    Effect,
    Forget,
    GiveBack,
    Keep,
    MarkUsed,
    Open,
    Record,
    Register,
    ReplaceRegistration,
    Require,
    Required,
    Revoke,
    Spend,
    SpendInitialToken,
    TakeOnce,
    Touch,
    Unregister,
    UseRegistrationToken,
)
from rs_kit.adapters.sqlite_writer import Transaction


class Effects:
    """The effects of one tenant."""

    def __init__(self, tenant: str, seal: Seal) -> None:
        self._tenant = tenant
        self._seal = seal
        self._text = statements()
        self._require_row = {
            Required.CLIENT: self._text.require_client,
            Required.USER: self._text.require_user,
            Required.RESOURCE: self._text.require_resource,
            Required.APPROVER: approver_statements().require_approver,
        }
        self._registrations = RegistrationEffects(tenant, self.record)

    def settle(self, transaction: Transaction, decision: Decision, stamp: Stamp) -> Decision:
        """Apply a decision, or the refusal that a lost effect means, and give the one that came true.

        Raises:
            UndeclaredLoss: an effect lost for which the decision names no refusal.
        """
        while True:
            for effect in decision.effects:
                if not self._apply(transaction, effect, stamp):
                    transaction.start_over()
                    decision = meaning_of_loss(decision, effect)
                    break
            else:
                return decision

    def _apply(self, transaction: Transaction, effect: Effect, stamp: Stamp) -> bool:
        """Whether the effect was won."""
        match effect:
            case TakeOnce():
                return self._take_once(transaction, effect, stamp.at)
            case Require():
                return self._require(transaction, effect, stamp.at)
            case Record():
                self.record(transaction, effect.fact, stamp)
                return True
            case Spend():
                return self._spend(transaction, effect, stamp.at)
            case Keep():
                return self._keep(transaction, effect)
            case Touch():
                return self._touch(transaction, effect)
            case Open():
                return self._open(transaction, effect, stamp.at)
            case Revoke():
                transaction.execute(self._text.revoke, (stamp.at, self._tenant, effect.authorization_id))
                return True
            case Attempt():
                return self._attempt(transaction, effect, stamp.at)
            case Forget():
                transaction.execute(self._text.forget, (self._tenant, effect.bucket))
                return True
            case GiveBack():
                bucket = (self._tenant, effect.bucket)
                transaction.execute(self._text.give_back, bucket + bucket)
                return True
            case (
                Register()
                | ReplaceRegistration()
                | UseRegistrationToken()
                | Unregister()
                | MarkUsed()
                | SpendInitialToken()
            ):
                return self._registrations.apply(transaction, effect, stamp)
        assert_never(effect)

    def _take_once(self, transaction: Transaction, effect: TakeOnce, now: int) -> bool:
        parameters = (self._tenant, effect.namespace, effect.digest, effect.until, now)
        return transaction.execute(self._text.take_once, parameters).rowcount == 1

    def _spend(self, transaction: Transaction, effect: Spend, now: int) -> bool:
        parameters = (now, self._tenant, effect.kind.value, effect.digest)
        return transaction.execute(self._text.spend, parameters).rowcount == 1

    def _keep(self, transaction: Transaction, effect: Keep) -> bool:
        parameters = (
            self._tenant,
            effect.kind.value,
            effect.digest,
            self._seal.seal(effect.payload, associated_data(self._tenant, effect.kind, effect.digest)),
            effect.client_id,
            effect.subject,
            effect.authorization_id,
            effect.usable_until,
            effect.delete_after,
        )
        return transaction.execute(self._text.keep, parameters).rowcount == 1

    def _touch(self, transaction: Transaction, effect: Touch) -> bool:
        parameters = (effect.usable_until, effect.delete_after, self._tenant, effect.kind.value, effect.digest)
        return transaction.execute(self._text.touch, parameters).rowcount == 1

    def _open(self, transaction: Transaction, effect: Open, now: int) -> bool:
        parameters = (
            self._tenant,
            effect.authorization_id,
            effect.client_id,
            effect.subject,
            json.dumps(effect.resources),
            json.dumps(effect.scope),
            now,
            effect.expires_at,
        )
        return transaction.execute(self._text.open, parameters).rowcount == 1

    def _attempt(self, transaction: Transaction, effect: Attempt, now: int) -> bool:
        row = (self._tenant, effect.bucket, now, now + effect.window_seconds)
        return transaction.execute(self._text.attempt, row + attempt_room(self._tenant, effect, now)).rowcount == 1

    def _require(self, transaction: Transaction, effect: Require, now: int) -> bool:
        if effect.required in {Required.AUTHORIZATION, Required.DOCUMENT} and effect.version is not None:
            return False  # they have no versions, so none can match
        if effect.required is Required.AUTHORIZATION:
            parameters = (self._tenant, effect.identifier, now)
            return transaction.execute(self._text.require_authorization, parameters).fetchone() is not None
        if effect.required is Required.DOCUMENT:
            named = (self._tenant, effect.identifier)
            return transaction.execute(approver_statements().require_document, named).fetchone() is not None
        text = self._require_row[effect.required]
        return transaction.execute(text, (self._tenant, effect.identifier, effect.version)).fetchone() is not None

    def record(self, transaction: Transaction, fact: AuditFact, stamp: Stamp) -> None:
        """Write one audit fact with its stamp."""
        parameters = (
            self._tenant,
            stamp.at,
            stamp.correlation_id,
            stamp.endpoint,
            stamp.source,
            fact.event.value,
            fact.error,
            fact.detail,
            fact.client_id,
            fact.subject,
            fact.authorization_id,
            fact.resource,
            fact.scope,
            fact.jkt,
            fact.x5t,
        )
        try:
            transaction.execute(self._text.record, parameters)
        except UnicodeEncodeError:  # a lone surrogate, which a peer can spell in JSON (JOS-16)
            transaction.execute(self._text.record, tuple(_storable(parameter) for parameter in parameters))


def _storable(parameter: object) -> object:
    if isinstance(parameter, str):
        return parameter.encode("utf-8", "backslashreplace").decode()
    return parameter
