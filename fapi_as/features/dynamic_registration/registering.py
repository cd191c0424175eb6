"""POST /register: approval → description → policy → signature → one decision (RFC 7591 §3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from fapi_as.features.dynamic_registration.approval import approved
from fapi_as.features.dynamic_registration.asked import Asked, read_body, verified_signature
from fapi_as.features.dynamic_registration.credentials import as_resource, count_failure, counted_source, require_room
from fapi_as.features.dynamic_registration.information import PATH, Information, information
from fapi_as.features.dynamic_registration.rules import (
    Approved,
    decide_registration,
    of_a_day,
    of_a_source,
    of_its_software,
)
from fapi_as.features.dynamic_registration.sector_document import require_sector_document
from fapi_as.kernel.capabilities import require_offered
from fapi_as.kernel.door import settle
from fapi_as.kernel.messages import EndpointRequest, Json
from fapi_as.kernel.seam import Context, Endpoint, Face
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.client_metadata import parse_client
from fapi_as.protocol.decisions import Refuse
from fapi_as.protocol.effects import Attempt, Effect, Register
from fapi_as.protocol.errors import (
    InvalidSoftwareStatement,
    ProtocolError,
    StorageUnavailable,
    TooManyRequests,
    UseDpopNonce,
)
from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from fapi_as.protocol.registration_request import judged, merged
from rs_kit.protocol.errors import InvalidToken

_CLIENT_ID: Final = "client-"  # never an https URL (CIMD-11), and never the subject of a person (XPA-17)


async def register(context: Context, request: EndpointRequest) -> Json:
    """Register a client that somebody whom we trust has approved.

    Raises:
        ProtocolError: the refusal; nothing was kept or spent.
    """
    require_room(context, request, PATH)
    try:
        return await _register(context, request)
    except (StorageUnavailable, TooManyRequests):
        raise
    except ProtocolError as error:
        if error.error != UseDpopNonce.error:  # whoever is asked for a nonce has not failed
            count_failure(context, request, PATH)
        raise


async def _register(context: Context, request: EndpointRequest) -> Json:
    asked = read_body(request)
    by = await approved(context, request, asked.statement)
    await take_turn(context, request, by.approval.approver)
    by = by.counted(of_a_day(by))
    by = by.counted(of_a_source(counted_source(request), context.policy.registrations_per_source))
    await require_room_for(context, request, by.spends)
    client = described(context, request, asked, by, _CLIENT_ID + context.entropy.identifier())
    await require_sector_document(context, client)
    once = await verified_signature(context, request, asked, client)
    token = context.entropy.handle()
    beside = of_its_software(client, digest_of(token), by, context.policy, request.stamp)
    await require_room_for(context, request, beside)
    await settle(context, request, decide_registration(client, by.with_signature(once).counted(beside)))
    told = Information(
        token=token,
        registered_at=request.now,
        statement=None if by.statement is None else by.statement.compact,
        proof=by.proof,
        status=HTTPStatus.CREATED,  # RFC 7591 §3.2.1
    )
    return information(context, request, client, told)


async def take_turn(context: Context, request: EndpointRequest, approver: str) -> None:
    """Wait until it is the turn of somebody who is approved, beside others from elsewhere (ADR 0036).

    Raises:
        TooManyAtOnce: too many are waiting, from there or in all.
    """
    await context.registration_turns.take(counted_source(request) or approver)


async def require_room_for(context: Context, request: EndpointRequest, spends: Mapping[Effect, Refuse]) -> None:
    """Refuse without a transaction what has no room now, however many ask (DCR-16); only a transaction lets one in.

    Raises:
        ProtocolError: what losing the effect means.
        StorageUnavailable: the store cannot answer.
    """
    for effect, lost in spends.items():
        if isinstance(effect, Attempt | Register) and not await context.reading.has_room(effect, request.now):
            raise lost.error


def described(
    context: Context, request: EndpointRequest, asked: Asked, by: Approved, client_id: str
) -> RegisteredClient:
    """The client that is asked for, as its approval and today's policy let it be registered.

    Raises:
        ResourceRefused, InvalidSoftwareStatement: the policy demands a certificate, or another one (DCR-20).
        InvalidClientMetadata, InvalidRedirectUri: RFC 7591 §3.2.2.
    """
    if by.policy.mutual_tls and request.peer_certificate is None:
        missing = InvalidToken("no certificate", "a client certificate is required, see mtls_endpoint_aliases")
        raise as_resource(context, request, missing)
    if by.policy.signed_request and asked.signed is None:
        raise InvalidClientMetadata("not signed", "the registration request must be signed")
    client = parse_client(merged(asked.members, by.statement), client_id=client_id, version=0)
    client = replace(client, approval=by.approval)
    if by.policy.mutual_tls:
        _require_known_certificate(context, request, by, client)
    client = judged(
        client,
        by.policy,
        statement=by.statement,
        certificate=request.peer_certificate,
        allowed_private_hosts=context.policy.allowed_private_hosts,
    )
    require_offered(client, context.policy, context.grants)
    return client


def _require_known_certificate(
    context: Context, request: EndpointRequest, by: Approved, client: RegisteredClient
) -> None:
    """Where certificates have authorities, a demanded one is of them, or the statement itself names it (DCR-20).

    Raises:
        InvalidSoftwareStatement, ResourceRefused: anybody could have made this certificate.
    """
    leaf, statement = request.peer_certificate, by.statement
    if leaf is None or not context.policy.client_authorities:
        return
    if statement is not None and (statement.bound or ("jwks" in statement.claims and leaf in client.certificates)):
        return
    untrusted = context.certificate_trust.refusal(leaf, request.peer_chain, request.now)
    if untrusted is None:
        return
    if statement is not None:
        raise InvalidSoftwareStatement(f"statement: the certificate is not trusted: {untrusted}")
    detail = f"the certificate is not trusted: {untrusted}"
    unknown = InvalidToken(detail, "a client certificate of an authority that is trusted here is required")
    raise as_resource(context, request, unknown)


REGISTRATION: Final = Endpoint(
    path=PATH,
    face=Face.PROTOCOL,
    methods={"POST": register},
    metadata_member="registration_endpoint",
)
