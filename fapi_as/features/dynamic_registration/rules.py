"""How many clients there may be, and what a registration, an update and a removal change: pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from fapi_as.protocol.audit_events import AuditEvent, AuditFact, Stamp
from fapi_as.protocol.client import Approval, RegisteredClient
from fapi_as.protocol.client_metadata import to_metadata
from fapi_as.protocol.decisions import Issue, Refuse
from fapi_as.protocol.effects import (
    Attempt,
    Effect,
    Record,
    Register,
    ReplaceRegistration,
    TakeOnce,
    Unregister,
    UseRegistrationToken,
)
from fapi_as.protocol.errors import ProtocolError, TooManyRequests
from fapi_as.protocol.metadata_members import InvalidClientMetadata, wrong
from fapi_as.protocol.policy import Policy, seconds
from fapi_as.protocol.profile import (
    CLIENTS_PER_DAY_WINDOW,
    CLOCK_AHEAD,
    EXPIRY_LEEWAY,
    REGISTRATIONS_WINDOW,
    UNFINISHED_REGISTRATION,
    UPDATES_PER_CLIENT,
)
from fapi_as.protocol.registration import KeptRegistration
from fapi_as.protocol.registration_policy import RegistrationPolicy
from fapi_as.protocol.software_statement import PresentedStatement, VerifiedStatement
from rs_kit.protocol.dpop import VerifiedProof
from rs_kit.protocol.jws import numeric_date

# RFC 7592 §2.2: what the server alone says; a client that sends it back has understood something else
_OURS: Final = (
    *("registration_access_token", "registration_client_uri", "client_id_issued_at"),
    *("client_secret_expires_at", "client_secret"),  # none is ever issued, so none can be equal (DCM-8)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """An approval that was checked, and what is spent for it, in this order, each with the refusal of who loses it.

    `proof` is what the request has proved possession of, to which the registration access token is bound.
    """

    approval: Approval
    policy: RegistrationPolicy
    statement: VerifiedStatement | None
    proof: VerifiedProof | None
    spends: Mapping[Effect, Refuse]

    def after(self, credentials: Mapping[Effect, Refuse]) -> Approved:
        """The same, with credentials that are spent first."""
        return replace(self, spends={**credentials, **self.spends})

    def with_signature(self, once: TakeOnce | None) -> Approved:
        """The same with the jti of a signed request, which is spent, too."""
        if once is None:
            return self
        sentence = "the signed registration request is not valid"
        return self.counted({once: Refuse(error=InvalidClientMetadata("signed registration: sent before", sentence))})

    def counted(self, quotas: Mapping[Effect, Refuse]) -> Approved:
        """The same, with what is counted after all that is spent already."""
        return replace(self, spends={**self.spends, **quotas})


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedToken:
    """A registration access token that came, as it is kept, and the refusal when it does not count any more."""

    digest: bytes
    not_counting: ProtocolError
    proof: VerifiedProof | None
    spends: Mapping[Effect, Refuse]


def statement_uses(presented: PresentedStatement, verified: VerifiedStatement, policy: RegistrationPolicy) -> Attempt:
    """One use of a statement among those that the policy allows, counted for as long as it can be used at all (SSA-5).

    The window is the whole life of the statement: a shorter one would forget its first uses before its end.
    """
    issued_at = numeric_date(presented.unverified.claims.get("iat")) or 0
    life = verified.expires_at - issued_at + seconds(CLOCK_AHEAD) + seconds(EXPIRY_LEEWAY)
    return Attempt(
        bucket=bucket("statement", verified.issuer, verified.jti), limit=policy.uses_per_statement, window_seconds=life
    )


def of_a_day(by: Approved) -> Mapping[Effect, Refuse]:
    """One registration among those that an approver may let in within a day (DCR-16)."""
    attempt = Attempt(
        bucket=bucket("registrations of", by.approval.approver),
        limit=by.policy.clients_per_day,
        window_seconds=seconds(CLIENTS_PER_DAY_WINDOW),
    )
    return {attempt: _too_many("registrations by one approver in a day")}


def of_a_source(source: str | None, limit: int) -> Mapping[Effect, Refuse]:
    """One among the registrations of a source; None is nobody in particular, whom nothing tells."""
    if source is None:
        return {}
    attempt = Attempt(
        bucket=bucket("registrations from", source), limit=limit, window_seconds=seconds(REGISTRATIONS_WINDOW)
    )
    return {attempt: _too_many("registrations from one source")}


def of_its_updates(client_id: str) -> Mapping[Effect, Refuse]:
    """One update among those that a client may make within a while."""
    attempt = Attempt(
        bucket=bucket("updates of", client_id), limit=UPDATES_PER_CLIENT, window_seconds=seconds(REGISTRATIONS_WINDOW)
    )
    return {attempt: _too_many("updates of one client")}


def of_its_software(
    client: RegisteredClient, token_digest: bytes, by: Approved, policy: Policy, stamp: Stamp
) -> Mapping[Effect, Refuse]:
    """A new client beside all others of its software, never in the place of one (DCR-17)."""
    statement = by.statement
    register = Register(
        client_id=client.client_id,
        registration=kept_json(client),
        approver=by.approval.approver,
        software_id=client.description.software_id,
        software_limit=by.policy.clients_per_software,
        unfinished_before=stamp.at - seconds(UNFINISHED_REGISTRATION),
        statement=None if statement is None else statement.compact,
        statement_jti=None if statement is None else statement.jti,
        token_digest=token_digest,
        token_jkt=None if by.proof is None else by.proof.jkt,
        expires_at=stamp.at + seconds(policy.pending_client_lifetime),
    )
    return {register: _too_many("clients of one software")}


def decide_registration(client: RegisteredClient, by: Approved) -> Issue:
    """A client is let in when everything that its approval counts and spends is won."""
    fact = AuditFact(
        event=AuditEvent.CLIENT_REGISTERED,
        client_id=client.client_id,
        detail=_told(by),
        scope=" ".join(sorted(client.scope)),
        jkt=None if by.proof is None else by.proof.jkt,
    )
    return Issue(effects=(*by.spends, Record(fact=fact)), lost=by.spends)


def decide_update(
    kept: KeptRegistration, client: RegisteredClient, presented: PresentedToken, new_digest: bytes, by: Approved
) -> Issue:
    """RFC 7592 §2.2: the whole registration anew, and another token; what was not there before is not kept."""
    replaced = ReplaceRegistration(
        client_id=client.client_id,
        token_digest=presented.digest,
        new_token_digest=new_digest,
        registration=kept_json(client),
        statement=None if by.statement is None else by.statement.compact,
        statement_jti=None if by.statement is None else by.statement.jti,
    )
    changed = changed_members(kept.client, client)
    fact = AuditFact(
        event=AuditEvent.CLIENT_UPDATED,
        client_id=client.client_id,
        detail=f"{_told(by)}; changed: {', '.join(changed) or 'nothing'}",
        scope=" ".join(sorted(client.scope)),
        jkt=kept.token_jkt,
    )
    return Issue(
        effects=(*by.spends, replaced, Record(fact=fact)),
        lost={**by.spends, replaced: Refuse(error=presented.not_counting)},
    )


def decide_removal(client_id: str, presented: PresentedToken) -> Issue:
    """RFC 7592 §2.3: the client, its token and all that it was allowed are gone."""
    removed = Unregister(client_id=client_id, token_digest=presented.digest)
    fact = AuditFact(event=AuditEvent.CLIENT_UNREGISTERED, client_id=client_id)
    return Issue(
        effects=(*presented.spends, removed, Record(fact=fact)),
        lost={**presented.spends, removed: Refuse(error=presented.not_counting)},
    )


def decide_reading(kept: KeptRegistration, presented: PresentedToken) -> Issue | None:
    """Reading changes nothing, unless a proof is spent or a new token is used for the first time (DCM-2)."""
    ends_the_old = kept.previous_token_digest is not None and presented.digest == kept.token_digest
    if not presented.spends and not ends_the_old:
        return None
    used = UseRegistrationToken(client_id=kept.client.client_id, token_digest=presented.digest)
    return Issue(
        effects=(*presented.spends, used), lost={**presented.spends, used: Refuse(error=presented.not_counting)}
    )


def require_replacement(members: Mapping[str, object], client_id: str) -> None:
    """What an update must and must not say about itself (DCM-7, DCM-8).

    Raises:
        InvalidClientMetadata: the client_id is missing or another one, or a member that is the server's.
    """
    if members.get("client_id") != client_id:
        raise wrong("client_id is required and must be the one of this registration")
    for name in _OURS:
        if name in members:
            raise wrong(f"{name} must not be sent")


def changed_members(before: RegisteredClient, after: RegisteredClient) -> tuple[str, ...]:
    """The names of the members that differ, for the audit (DCM-9)."""
    old, new = to_metadata(before), to_metadata(after)
    return tuple(sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name)))


def kept_json(client: RegisteredClient) -> str:
    """The registration as it is kept."""
    return json.dumps(to_metadata(client), ensure_ascii=False, separators=(",", ":"))


def _told(by: Approved) -> str:
    if by.statement is None:
        return f"approved by {by.approval.approver}"
    return f"approved by {by.approval.approver} for {by.statement.software_id} with statement {by.statement.jti}"


def _too_many(detail: str) -> Refuse:
    return Refuse(error=TooManyRequests(detail, "there are too many registrations, try again later"))


def bucket(kind: str, *names: str) -> bytes:
    """Under what attempts are counted; with lengths, so that no name can pass for the end of another one."""
    named = "".join(f"{len(name)}:{name}" for name in (kind, *names))
    return hashlib.sha256(named.encode("utf-8", "surrogatepass")).digest()
