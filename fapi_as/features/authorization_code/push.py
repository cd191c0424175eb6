"""POST /par (RFC 9126)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final

from fapi_as.features.authorization_code.rules import asked_resources, validate_push
from fapi_as.features.authorization_code.signed_request import asked
from fapi_as.kernel.client_authentication import serve_client
from fapi_as.kernel.door import settle
from fapi_as.kernel.messages import EndpointRequest, Json
from fapi_as.kernel.own_tokens import id_token_hint
from fapi_as.kernel.seam import Context, Endpoint, Face
from fapi_as.kernel.sender_constraint import nonce_headers, offered_proof
from fapi_as.kernel.spending import authenticated
from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from fapi_as.protocol.authorization_request import ValidatedAuthorizationRequest
from fapi_as.protocol.client import AuthenticatedClient
from fapi_as.protocol.decisions import Refuse
from fapi_as.protocol.effects import Attempt, Effect, HandleKind, Keep, Record
from fapi_as.protocol.errors import (
    InvalidRequest,
    InvalidRequestObject,
    InvalidTarget,
    TooManyRequests,
)
from fapi_as.protocol.handles import REQUEST_URI_PREFIX, digest_of
from fapi_as.protocol.openid_request import parse_openid
from fapi_as.protocol.parameters import Parameters
from fapi_as.protocol.policy import Policy, seconds
from fapi_as.protocol.profile import PUSHED_REQUESTS_LIMIT
from fapi_as.protocol.resource import RegisteredResource
from fapi_as.protocol.userinfo_resource import OPENID, with_userinfo

_CREATED: Final = 201  # RFC 9126 §2.2


async def push(context: Context, request: EndpointRequest) -> Json:
    """Keep a validated authorization request and hand out its request_uri.

    Raises:
        ProtocolError: the refusal; nothing was kept.
    """
    return await serve_client(context, request, _push)


async def _push(context: Context, request: EndpointRequest, client: AuthenticatedClient, form: Parameters) -> Json:
    parameters, once = await asked(context, client.registered, form, request.now)
    proof = offered_proof(context, request)  # a proof here is optional, but a wrong one is refused (PAR-23)
    resources = await _registered(context, client, parameters)
    pushed = validate_push(
        parameters, client.registered, resources, proof.jkt if proof else None, context.policy.issuer
    )
    hinted = _hinted_subject(context, client, parameters) if OPENID in pushed.scope else None
    validated = replace(pushed, openid=parse_openid(parameters, client.registered, pushed.scope, hinted))
    handle = context.entropy.handle()
    fact = AuditFact(
        event=AuditEvent.REQUEST_PUSHED,
        client_id=validated.client_id,
        resource=" ".join(validated.resources),
        scope=" ".join(validated.scope),
        jkt=validated.dpop_jkt,
    )
    keep, quota = _keep(handle, validated, context.policy, request.now), _quota(validated.client_id, context.policy)
    lost: dict[Effect, Refuse] = {quota: Refuse(error=TooManyRequests("the client has too many pushed requests"))}
    if once is not None:
        lost[once] = Refuse(error=InvalidRequestObject("request object: pushed before"))
    spent = (quota,) if once is None else (quota, once)
    caller = authenticated(client, proof, context.policy, request.now)
    decision = caller.issue((*spent, keep, Record(fact=fact)), lost)
    await settle(context, request, decision)
    return Json(
        payload={
            "request_uri": REQUEST_URI_PREFIX + handle,
            "expires_in": seconds(context.policy.request_uri_lifetime),
        },
        status=_CREATED,
        headers=nonce_headers(context, proof.jkt if proof else None, request.now),
    )


async def _registered(
    context: Context, client: AuthenticatedClient, parameters: Parameters
) -> dict[str, RegisteredResource]:
    try:
        asked = asked_resources(parameters, client.registered, context.policy.issuer)
    except InvalidTarget:
        return {}  # the rule says so in its own order
    found = [await context.reading.resource(name) for name in asked]
    resources = {registered.resource: registered for registered in found if registered is not None}
    return with_userinfo(resources, asked, context.policy.issuer)


def _hinted_subject(context: Context, client: AuthenticatedClient, parameters: Parameters) -> str | None:
    token = parameters.get("id_token_hint")
    if token is None:
        return None
    hint = id_token_hint(context, token)
    if hint.client_id != client.registered.client_id:  # a client may not find out whom others know (OIDC-60)
        raise InvalidRequest("id_token_hint of another client", "id_token_hint is not valid")
    return hint.subject


def _keep(handle: str, validated: ValidatedAuthorizationRequest, policy: Policy, now: int) -> Keep:
    usable_until = now + seconds(policy.request_uri_lifetime)
    return Keep(
        kind=HandleKind.REQUEST_URI,
        digest=digest_of(REQUEST_URI_PREFIX + handle),
        payload=validated.to_bytes(),
        usable_until=usable_until,
        # opening starts an interaction, and the row must outlive it: completion spends both (product.md)
        delete_after=usable_until + seconds(policy.interaction_lifetime),
        client_id=validated.client_id,
    )


def _quota(client_id: str, policy: Policy) -> Attempt:
    """PAR-24: no client fills the store; what it pushed within one lifetime is at least what is alive of it."""
    return Attempt(
        bucket=hashlib.sha256(f"pushed requests of {client_id}".encode()).digest(),
        limit=PUSHED_REQUESTS_LIMIT,
        window_seconds=seconds(policy.request_uri_lifetime),
    )


PUSH: Final = Endpoint(
    path="/par",
    face=Face.PROTOCOL,
    methods={"POST": push},
    metadata_member="pushed_authorization_request_endpoint",
)
