"""Turns what a rule allows into tokens: draws randomness, signs, and composes the one decision to commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fapi_as.kernel.seam import Context, TokenRequest, TokensToIssue
from fapi_as.kernel.spending import Authenticated
from fapi_as.protocol.access_token import ACCESS_TOKEN_TYPE, AccessTokenClaims
from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from fapi_as.protocol.decisions import Issue
from fapi_as.protocol.effects import Effect, HandleKind, Keep, Record
from fapi_as.protocol.errors import InvalidTarget
from fapi_as.protocol.handles import digest_of
from fapi_as.protocol.id_token import ID_TOKEN_TYPE
from fapi_as.protocol.pairwise import subject_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuance:
    """A decision and the answer that may be given once it came true."""

    decision: Issue
    payload: Mapping[str, object]


def issue(context: Context, caller: Authenticated, request: TokenRequest, tokens: TokensToIssue) -> Issuance:
    """Sign before the commit, so that nothing can fail after it (architecture.md §1).

    What the client's approval leaves it is judged here, once for every grant.

    Raises:
        InvalidTarget: a resource that the approval does not cover.
    """
    client_id, limits = caller.client_id, request.client.registered.limits
    if limits.resources is not None and tokens.resource not in {*limits.resources, context.policy.issuer}:
        raise InvalidTarget("a resource that the client's approval does not cover")
    lifetime_seconds = _at_most(tokens.access_token_seconds, limits.access_token_seconds)
    authorization_id = tokens.authorization_id or context.entropy.identifier()
    claims = AccessTokenClaims(
        issuer=context.policy.issuer,
        subject=_wire_subject(context, request, tokens),
        audience=tokens.resource,
        client_id=client_id,
        scope=tokens.scope,
        issued_at=request.now,
        lifetime_seconds=lifetime_seconds,
        jti=context.entropy.identifier(),
        binding=request.binding,
        authorization_id=authorization_id,
        more=tokens.claims,
    )
    access_token = context.signer.sign(claims.to_claims(), typ=ACCESS_TOKEN_TYPE)
    payload: dict[str, object] = {
        "access_token": access_token,
        "token_type": request.binding.token_type,
        "expires_in": lifetime_seconds,
        "scope": " ".join(tokens.scope),
    }
    if tokens.id_token is not None:
        alg = request.client.registered.id_token_signed_response_alg
        told = tokens.id_token.to_claims(claims.to_claims(), access_token, alg)
        payload["id_token"] = context.signer.sign(told, typ=ID_TOKEN_TYPE, alg=alg)
    effects: tuple[Effect, ...] = tokens.effects
    if tokens.refresh is not None and limits.refresh_tokens:
        refresh_token = context.entropy.handle()
        payload["refresh_token"] = refresh_token
        keep = Keep(
            kind=HandleKind.REFRESH_TOKEN,
            digest=digest_of(refresh_token),
            payload=tokens.refresh.payload,
            usable_until=tokens.refresh.usable_until,
            delete_after=tokens.refresh.expires_at,
            client_id=client_id,
            subject=tokens.subject,
            authorization_id=authorization_id,
        )
        effects = (*effects, keep)
    fact = AuditFact(
        event=AuditEvent.TOKEN_ISSUED,
        client_id=client_id,
        subject=tokens.subject,
        authorization_id=authorization_id,
        resource=tokens.resource,
        scope=" ".join(tokens.scope),
        jkt=request.binding.jkt,
        x5t=request.binding.x5t,
    )
    return Issuance(decision=caller.issue((*effects, Record(fact=fact)), tokens.lost), payload=payload)


def _at_most(seconds: int, limit: int | None) -> int:
    return seconds if limit is None else min(seconds, limit)


def _wire_subject(context: Context, request: TokenRequest, tokens: TokensToIssue) -> str:
    """What the client and its resource servers know the person by; a client that acts for itself is itself (AT-7)."""
    client = request.client.registered
    if tokens.subject == client.client_id:
        return tokens.subject
    return subject_for(client, tokens.subject, context.pairwise_key)
