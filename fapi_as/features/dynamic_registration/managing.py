"""GET, PUT and DELETE of a registration, by whoever has its registration access token (RFC 7592 §2)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final, NoReturn

from fapi_as.features.dynamic_registration.approval import by_statement, proof_spent
from fapi_as.features.dynamic_registration.asked import Asked, read_body, verified_signature
from fapi_as.features.dynamic_registration.credentials import (
    as_resource,
    count_failure,
    offered_token,
    proved,
    require_room,
)
from fapi_as.features.dynamic_registration.information import PATH, Information, information
from fapi_as.features.dynamic_registration.registering import described, require_room_for, take_turn
from fapi_as.features.dynamic_registration.rules import (
    Approved,
    PresentedToken,
    decide_reading,
    decide_removal,
    decide_update,
    of_its_updates,
    require_replacement,
)
from fapi_as.features.dynamic_registration.sector_document import require_sector_document
from fapi_as.kernel.door import refuse_client, settle
from fapi_as.kernel.messages import EndpointRequest, Json, NoContent
from fapi_as.kernel.seam import Context, Endpoint, Face
from fapi_as.kernel.sender_constraint import nonce_headers
from fapi_as.protocol.decisions import Refuse
from fapi_as.protocol.effects import Require, Required
from fapi_as.protocol.errors import (
    InvalidDpopProof,
    ProtocolError,
    RegistrationForbidden,
    StorageUnavailable,
    UnapprovedSoftwareStatement,
    UseDpopNonce,
)
from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from fapi_as.protocol.registration import KeptRegistration
from rs_kit.protocol.errors import InvalidToken, MissingToken


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manager:
    """Somebody with the token of this registration, and with its key where it is bound to one."""

    kept: KeptRegistration
    token: str
    presented: PresentedToken

    @property
    def client_id(self) -> str:
        return self.kept.client.client_id


async def read(context: Context, request: EndpointRequest) -> Json:
    """RFC 7592 §2.1: what is registered, and the token that was presented.

    Raises:
        ResourceRefused: no token, or not the one of this registration.
        Refused: the same, told in the client's name.
        StorageUnavailable: the store cannot answer.
    """
    manager = await _manager(context, request)
    try:
        decision = decide_reading(manager.kept, manager.presented)
        if decision is not None:
            await settle(context, request, decision)
    except StorageUnavailable:
        raise
    except ProtocolError as error:
        await _refuse(context, request, manager, error)
    told = Information(
        token=manager.token,
        registered_at=manager.kept.registered_at,
        statement=manager.kept.statement,
        proof=manager.presented.proof,
        status=HTTPStatus.OK,
    )
    return information(context, request, manager.kept.client, told)


async def update(context: Context, request: EndpointRequest) -> Json:
    """RFC 7592 §2.2: replace the registration by one that is judged as a new one would be today (DCM-9).

    Raises:
        ResourceRefused: no token, or not the one of this registration.
        Refused: the refusal of the client that is known now; nothing was changed.
        StorageUnavailable: the store cannot answer.
    """
    manager = await _manager(context, request)
    try:
        return await _update(context, request, manager)
    except StorageUnavailable:
        raise
    except ProtocolError as error:
        await _refuse(context, request, manager, error)


async def _update(context: Context, request: EndpointRequest, manager: _Manager) -> Json:
    asked = read_body(request)
    require_replacement(asked.members, manager.client_id)
    await take_turn(context, request, manager.kept.approver)
    manager = await _as_it_is_now(context, manager)
    kept = manager.kept
    by = await _approved_again(context, request, manager, asked)
    by = by.counted(of_its_updates(manager.client_id))
    await require_room_for(context, request, by.spends)
    client = described(context, request, asked, by, manager.client_id)
    await require_sector_document(context, client)
    once = await verified_signature(context, request, asked, client)
    token = context.entropy.handle()
    decision = decide_update(kept, client, manager.presented, digest_of(token), by.with_signature(once))
    await settle(context, request, decision)
    told = Information(
        token=token,
        registered_at=kept.registered_at,
        statement=None if by.statement is None else by.statement.compact,
        proof=manager.presented.proof,
        status=HTTPStatus.OK,
    )
    return information(context, request, client, told)


async def _as_it_is_now(context: Context, manager: _Manager) -> _Manager:
    """The registration after the wait, so that what is told of an update is what it changes (DCM-9).

    Raises:
        ResourceRefused: it is gone; whether the token still counts is decided in the transaction.
    """
    kept = await context.reading.registration(manager.client_id)
    if kept is None:
        raise manager.presented.not_counting
    return replace(manager, kept=kept)


async def remove(context: Context, request: EndpointRequest) -> NoContent:
    """RFC 7592 §2.3: end the registration and all that it was allowed.

    Raises:
        ResourceRefused: no token, or not the one of this registration.
        Refused: the same, told in the client's name.
        StorageUnavailable: the store cannot answer.
    """
    manager = await _manager(context, request)
    try:
        await settle(context, request, decide_removal(manager.client_id, manager.presented))
    except StorageUnavailable:
        raise
    except ProtocolError as error:
        await _refuse(context, request, manager, error)
    proof = manager.presented.proof
    return NoContent(headers=() if proof is None else nonce_headers(context, proof.jkt, request.now))


async def _manager(context: Context, request: EndpointRequest) -> _Manager:
    """Whoever has the token of the registration at this address.

    Raises:
        ResourceRefused: nobody; the same whether there is such a registration or not.
        TooManyRequests: too many failures at this address from this source.
        StorageUnavailable: the store cannot answer.
    """
    name = f"{PATH}/{request.segment}"
    require_room(context, request, name)
    try:
        return await _authenticated(context, request)
    except StorageUnavailable:
        raise
    except ProtocolError as error:
        if not isinstance(error, UseDpopNonce):  # whoever is asked for a nonce has not failed
            count_failure(context, request, name)
        raise as_resource(context, request, error) from None


async def _authenticated(context: Context, request: EndpointRequest) -> _Manager:
    offered = offered_token(request)
    if offered is None:
        raise MissingToken("no registration access token")
    digest = digest_of(offered.token)
    kept = await context.reading.registration(request.segment)
    if kept is None:
        raise InvalidToken("registration access token: no such registration")
    counting = (kept.token_digest, kept.previous_token_digest or kept.token_digest)
    if not any(hmac.compare_digest(digest, known) for known in counting):
        raise InvalidToken("registration access token: another one")
    proof = proved(context, request, offered, kept.token_jkt)
    spends = proof_spent(proof, as_resource(context, request, InvalidDpopProof("proof replayed")))
    gone = as_resource(context, request, InvalidToken("registration access token: it does not count any more"))
    presented = PresentedToken(digest=digest, not_counting=gone, proof=proof, spends=spends)
    return _Manager(kept=kept, token=offered.token, presented=presented)


async def _approved_again(context: Context, request: EndpointRequest, manager: _Manager, asked: Asked) -> Approved:
    """The approval as it is today: of the statement on file or a new one, or of the initial access token.

    Raises:
        RegistrationForbidden: whoever approved this client approves nothing any more (DCM-5).
        InvalidSoftwareStatement, UnapprovedSoftwareStatement: the statement does not hold any more, or another one
            is of another authority or about other software.
        InvalidClientMetadata: a statement for a client that none has approved.
    """
    kept, presented = manager.kept, manager.presented
    if kept.policy is None:
        raise RegistrationForbidden("the approver approves nothing any more")
    if kept.statement is None:
        if asked.statement is not None:
            raise InvalidClientMetadata("a statement for a token's client", "this client has no software statement")
        return _by_its_token(kept, presented)
    on_file = asked.statement is None or asked.statement == kept.statement
    offered = kept.statement if on_file else asked.statement
    by = await by_statement(context, request, offered, presented.proof, counted=not on_file)
    if by.approval.approver != kept.approver:
        raise UnapprovedSoftwareStatement("statement: of another authority than the one of this client")
    if by.statement is None or by.statement.software_id != kept.software_id:
        raise UnapprovedSoftwareStatement("statement: about other software than this client")
    return by.after(presented.spends)


def _by_its_token(kept: KeptRegistration, presented: PresentedToken) -> Approved:
    approval = kept.client.approval
    if approval is None or kept.policy is None:
        raise RegistrationForbidden("nobody approves this client")
    stands = Require(required=Required.APPROVER, identifier=approval.approver, version=approval.version)
    by = Approved(
        approval=approval,
        policy=kept.policy,
        statement=None,
        proof=presented.proof,
        spends={stands: Refuse(error=RegistrationForbidden("the approver changed"))},
    )
    return by.after(presented.spends)


async def _refuse(context: Context, request: EndpointRequest, manager: _Manager, error: ProtocolError) -> NoReturn:
    """Told in the name of the client, within its budget (docs/decisions/0017)."""
    await refuse_client(context, request, error, manager.client_id)


MANAGEMENT: Final = Endpoint(
    path=f"{PATH}/{{client_id}}",
    face=Face.PROTOCOL,
    methods={"GET": read, "PUT": update, "DELETE": remove},
)
