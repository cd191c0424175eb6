"""Who lets a client in: an authority by its software statement, or an operator by an initial access token (DCR-2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fapi_as.features.dynamic_registration.credentials import as_resource, offered_token, proved
from fapi_as.features.dynamic_registration.rules import Approved, statement_uses
from fapi_as.kernel.messages import EndpointRequest
from fapi_as.kernel.seam import Context
from fapi_as.kernel.sender_constraint import offered_proof, proof_once
from fapi_as.protocol import software_statement
from fapi_as.protocol.client import Approval, KeysUnavailable
from fapi_as.protocol.client_certificate import SubjectKind
from fapi_as.protocol.decisions import Refuse
from fapi_as.protocol.effects import Effect, Require, Required, SpendInitialToken
from fapi_as.protocol.errors import (
    InvalidDpopProof,
    InvalidSoftwareStatement,
    ProtocolError,
    StorageUnavailable,
    UnapprovedSoftwareStatement,
)
from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from fapi_as.protocol.registration import ClaimNames, TrustedAuthority
from fapi_as.protocol.software_statement import VerifiedStatement
from rs_kit.protocol.dpop import VerifiedProof
from rs_kit.protocol.errors import InvalidToken, MissingToken
from rs_kit.protocol.http import Credentials

_SUBJECTS: Final = frozenset(map(str, SubjectKind))


async def approved(context: Context, request: EndpointRequest, statement: object | None) -> Approved:
    """The one approval of a new client.

    Raises:
        InvalidClientMetadata: two approvals in one request.
        ResourceRefused: none, or an initial access token that does not count (RFC 7591 §3).
        InvalidSoftwareStatement, UnapprovedSoftwareStatement: RFC 7591 §3.2.2.
        InvalidDpopProof, UseDpopNonce: the proof beside a statement is wrong.
        StorageUnavailable: the store cannot answer.
    """
    try:
        offered = offered_token(request)
        if offered is None and statement is None:
            raise MissingToken("neither a statement nor a token")
        if offered is not None and statement is None:
            return await _by_token(context, request, offered)
    except StorageUnavailable:
        raise
    except ProtocolError as error:
        raise as_resource(context, request, error) from None
    if offered is not None:
        raise InvalidClientMetadata(
            "a statement and a token", "use a software statement or an initial access token, not both"
        )
    proof = offered_proof(context, request)
    by = await by_statement(context, request, statement, proof)
    return by.after(proof_spent(proof, InvalidDpopProof("proof replayed")))


async def by_statement(
    context: Context,
    request: EndpointRequest,
    statement: object,
    proof: VerifiedProof | None,
    *,
    counted: bool = True,
) -> Approved:
    """What a trusted authority says; `counted` unless it stands on file for this client already.

    The proof is judged and not spent here.

    Raises:
        InvalidSoftwareStatement, UnapprovedSoftwareStatement: RFC 7591 §3.2.2.
        StorageUnavailable: the store cannot answer.
    """
    presented = software_statement.present(statement)
    authority = await context.reading.authority(presented.issuer)
    if authority is None:  # nothing is fetched for a stranger's sake (DCR-03)
        raise UnapprovedSoftwareStatement("statement: iss is not trusted, or suspended")
    try:
        keys = await context.client_keys.keys(authority, presented.kid)
    except KeysUnavailable as error:
        raise InvalidSoftwareStatement(f"statement: {error}") from None
    verified = software_statement.verify(
        presented,
        authority,
        keys,
        audience=context.policy.issuer,
        now=request.now,
        certificate=request.peer_certificate,
        jkt=None if proof is None else proof.jkt,
    )
    untrusted = _untrusted(context, request, authority, verified)
    if untrusted is not None:
        raise InvalidSoftwareStatement(f"statement: the certificate is not trusted: {untrusted}")
    if await context.reading.is_withdrawn(verified.issuer, verified.jti, verified.software_id):
        raise UnapprovedSoftwareStatement("statement: it or its software is withdrawn")
    stands = Require(required=Required.APPROVER, identifier=authority.issuer, version=authority.version)
    changed = Refuse(error=UnapprovedSoftwareStatement("statement: the authority changed"))
    spends: dict[Effect, Refuse] = {stands: changed}
    if counted:
        use = statement_uses(presented, verified, authority.policy)
        spends[use] = Refuse(error=InvalidSoftwareStatement("statement: used before"))
    return Approved(
        approval=Approval(approver=authority.issuer, version=authority.version),
        policy=authority.policy,
        statement=verified,
        proof=proof,
        spends=spends,
    )


def _untrusted(
    context: Context, request: EndpointRequest, authority: TrustedAuthority, verified: VerifiedStatement
) -> str | None:
    """Why names in the certificate are nobody's, where whoever brings the statement is judged by them (DCR-20)."""
    certificate = request.peer_certificate
    by_name = authority.claims is ClaimNames.OPEN_BANKING or not _SUBJECTS.isdisjoint(verified.claims)
    if certificate is None or not by_name:
        return None
    return context.certificate_trust.refusal(certificate, request.peer_chain, request.now)


async def _by_token(context: Context, request: EndpointRequest, offered: Credentials) -> Approved:
    """RFC 7591 §3: what an operator issued, as often as it may be used."""
    found = await context.reading.initial_access_token(digest_of(offered.token))
    if found is None:
        raise InvalidToken("initial access token: unknown or revoked")
    proof = proved(context, request, offered, found.jkt)
    if request.now >= found.expires_at or found.uses_left <= 0:
        raise InvalidToken("initial access token: over or used up")
    stands = Require(required=Required.APPROVER, identifier=found.approver, version=found.version)
    use = SpendInitialToken(approver=found.approver)
    replayed = as_resource(context, request, InvalidDpopProof("proof replayed"))
    over = Refuse(error=as_resource(context, request, InvalidToken("initial access token: used up meanwhile")))
    by = Approved(
        approval=Approval(approver=found.approver, version=found.version),
        policy=found.policy,
        statement=None,
        proof=proof,
        spends={stands: over, use: over},
    )
    return by.after(proof_spent(proof, replayed))


def proof_spent(proof: VerifiedProof | None, replayed: ProtocolError) -> Mapping[Effect, Refuse]:
    """What spends a proof, where there is one, and what losing that means (DPOP-16)."""
    return {} if proof is None else {proof_once(proof): Refuse(error=replayed)}
