"""What a decision does to registrations (RFC 7591, RFC 7592): applied on the writer thread, as every effect is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, assert_never

from fapi_as.adapters.store.registration_statements import registration_statements, software_of
from fapi_as.protocol.audit_events import AuditEvent, AuditFact, Stamp
from fapi_as.protocol.effects import (
    MarkUsed,
    Register,
    ReplaceRegistration,
    SpendInitialToken,
    Unregister,
    UseRegistrationToken,
)
from rs_kit.adapters.sqlite_writer import Transaction

RegistrationEffect = Register | ReplaceRegistration | UseRegistrationToken | Unregister | MarkUsed | SpendInitialToken
RecordFact = Callable[[Transaction, AuditFact, Stamp], None]
_RECLAIMED: Final = "an unfinished registration made room"


class RegistrationEffects:
    """The effects on registrations of one tenant."""

    def __init__(self, tenant: str, record: RecordFact) -> None:
        self._tenant = tenant
        self._record = record
        self._text = registration_statements()

    def apply(self, transaction: Transaction, effect: RegistrationEffect, stamp: Stamp) -> bool:
        """Whether the effect was won."""
        match effect:
            case Register():
                return self._register(transaction, effect, stamp)
            case ReplaceRegistration():
                return self._replace(transaction, effect, stamp.at)
            case UseRegistrationToken():
                return self._use_token(transaction, effect)
            case Unregister():
                return self._unregister(transaction, effect, stamp.at)
            case MarkUsed():
                marked = (stamp.at, effect.expires_at, self._tenant, effect.client_id)
                transaction.execute(self._text.mark_used, marked)
                return True
            case SpendInitialToken():
                spent = (self._tenant, effect.approver, stamp.at)
                return transaction.execute(self._text.spend_initial_token, spent).rowcount == 1
        assert_never(effect)

    def _register(self, transaction: Transaction, effect: Register, stamp: Stamp) -> bool:
        row = (
            self._tenant,
            effect.client_id,
            effect.registration,
            self._tenant,
            1,
            stamp.at,
            stamp.at,
            effect.approver,
            effect.software_id,
            effect.statement,
            effect.statement_jti,
            effect.token_digest,
            effect.token_jkt,
            effect.expires_at,
        )
        software = software_of(self._tenant, effect)
        room = (*software, effect.software_limit)
        if transaction.execute(self._text.register, (*row, *room)).rowcount == 1:
            return True
        if transaction.execute(self._text.is_taken, (self._tenant, effect.client_id)).fetchone() is not None:
            return False  # room would not help, and it might be this very one that makes it (DCR-17)
        unfinished = transaction.execute(self._text.oldest_unfinished, (*software, effect.unfinished_before))
        oldest = unfinished.fetchone()
        if oldest is None:
            return False
        transaction.execute(self._text.remove, (self._tenant, oldest[0]))
        fact = AuditFact(event=AuditEvent.CLIENT_EXPIRED, detail=_RECLAIMED, client_id=oldest[0])
        self._record(transaction, fact, stamp)
        return transaction.execute(self._text.register, (*row, *room)).rowcount == 1

    def _replace(self, transaction: Transaction, effect: ReplaceRegistration, now: int) -> bool:
        transaction.execute(self._text.next_epoch, (self._tenant,))
        row = (
            effect.registration,
            self._tenant,
            now,
            effect.statement,
            effect.statement_jti,
            effect.token_digest,
            effect.new_token_digest,
        )
        presented = (self._tenant, effect.client_id, effect.token_digest, effect.token_digest)
        return transaction.execute(self._text.replace, (*row, *presented)).rowcount == 1

    def _use_token(self, transaction: Transaction, effect: UseRegistrationToken) -> bool:
        presented = (self._tenant, effect.client_id, effect.token_digest)
        if transaction.execute(self._text.use_current_token, presented).rowcount == 1:
            return True
        return transaction.execute(self._text.has_previous_token, presented).fetchone() is not None

    def _unregister(self, transaction: Transaction, effect: Unregister, now: int) -> bool:
        presented = (self._tenant, effect.client_id, effect.token_digest, effect.token_digest)
        if transaction.execute(self._text.unregister, presented).rowcount != 1:
            return False
        transaction.execute(self._text.next_epoch, (self._tenant,))
        transaction.execute(self._text.end_authorizations, (now, self._tenant, effect.client_id))
        return True
