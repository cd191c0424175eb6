"""What may be pushed and when a code may be redeemed: pure, one screen each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from fapi_as.kernel.seam import RefreshToIssue, TokenDecision, TokenRequest, TokensToIssue
from fapi_as.protocol import openid_grant, pkce, redirect_uri, resource, scope
from fapi_as.protocol.audit_events import AuditEvent, AuditFact
from fapi_as.protocol.authorization_request import AuthorizationGrant, ValidatedAuthorizationRequest
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.client_message_metadata import RESPONSE_MODES
from fapi_as.protocol.decisions import Refuse
from fapi_as.protocol.effects import HandleKind, Record, Require, Required, Revoke, Spend
from fapi_as.protocol.errors import (
    InvalidAuthorizationDetails,
    InvalidDpopProof,
    InvalidGrant,
    InvalidRequest,
    InvalidRequestUri,
    InvalidScope,
    InvalidTarget,
    RequestNotSupported,
    RequestUriNotSupported,
    UnauthorizedClient,
    UnsupportedResponseType,
)
from fapi_as.protocol.handles import REQUEST_URI_PREFIX, KeptHandle, is_from_the_future
from fapi_as.protocol.openid_request import honoured
from fapi_as.protocol.parameters import Parameters
from fapi_as.protocol.policy import Policy, seconds
from fapi_as.protocol.profile import NONCE_LIMIT, RESOURCE_LIMIT, STATE_LIMIT
from fapi_as.protocol.resource import RegisteredResource
from fapi_as.protocol.user import RegisteredUser
from fapi_as.protocol.userinfo_resource import OPENID, identity_scope, with_userinfo

GRANT_TYPE: Final = "authorization_code"
_REQUEST_URI_LIMIT: Final = 512  # characters, JAR-5


def asked_resources(parameters: Parameters, client: RegisteredClient, issuer: str) -> tuple[str, ...]:
    """The resources a push names, or the client's default, or with `openid` the issuer (RES-2).

    Raises:
        InvalidTarget: none, or more than RESOURCE_LIMIT.
    """
    asked = tuple(dict.fromkeys(parameters.resources))
    if not asked and client.default_resource is not None:
        return (client.default_resource,)
    if not asked and OPENID in (parameters.get("scope") or "").split(" "):
        return (issuer,)
    if not 0 < len(asked) <= RESOURCE_LIMIT:
        raise InvalidTarget("no resource or too many")
    return asked


def validate_push(
    parameters: Parameters,
    client: RegisteredClient,
    resources: Mapping[str, RegisteredResource],
    proof_jkt: str | None,
    issuer: str,
) -> ValidatedAuthorizationRequest:
    """RFC 9126 §2.1 step 3: everything an authorization request must be, checked before anybody sees a page.

    `resources` holds the registered ones among those asked. Raises the error of the first check that fails.
    """
    _refuse_what_is_not_offered(parameters, client)
    asked_redirect = parameters.require("redirect_uri")  # FAPI2-AZ-7
    if not redirect_uri.is_registered(asked_redirect, client.redirect_uris, client.application_type):
        raise InvalidRequest("redirect_uri is not registered", "redirect_uri is not registered for this client")
    response_alg = _signed_response_alg(parameters, client)
    challenge = _validated_challenge(parameters)
    asked = asked_resources(parameters, client, issuer)
    if any(name not in resources for name in asked):
        raise InvalidTarget("unknown resource")
    covered = client.limits.resources
    if covered is not None and not set(asked) <= {*covered, issuer}:
        raise InvalidTarget("a resource that the client's approval does not cover")
    values = _validated_scope(parameters, client, resources)
    if any(not set(values) & set(resources[name].scopes) for name in asked):  # RES-2: nothing to be had there
        raise InvalidTarget("no asked scope means anything at a resource")
    return ValidatedAuthorizationRequest(
        client_id=client.client_id,
        client_version=client.version,
        redirect_uri=asked_redirect,
        scope=values,
        resources=asked,
        code_challenge=challenge,
        state=_bounded(parameters, "state", STATE_LIMIT),  # FAPI2-AZ-18
        nonce=_bounded(parameters, "nonce", NONCE_LIMIT),  # FAPI2-AZ-17
        dpop_jkt=_validated_jkt(parameters, proof_jkt),
        signed_response_alg=response_alg,
        document_digest=client.document_digest,
    )


def _refuse_what_is_not_offered(parameters: Parameters, client: RegisteredClient) -> None:
    if parameters.get("authorization_details") is not None:
        raise InvalidAuthorizationDetails("authorization_details")
    if GRANT_TYPE not in client.grant_types:
        raise UnauthorizedClient("not registered for the code flow")
    if parameters.require("response_type") != "code":
        raise UnsupportedResponseType("response_type")


def _signed_response_alg(parameters: Parameters, client: RegisteredClient) -> str | None:
    """JARM §2.3: `jwt` is `query.jwt` for a code, and nothing asked is `query`; None is no signature."""
    mode = parameters.get("response_mode") or "query"
    if mode not in RESPONSE_MODES:
        raise InvalidRequest("response_mode", "response_mode is not supported")
    if client.response_modes is not None and mode not in client.response_modes:  # MSG-MD-1, MSG-RSP-1
        raise InvalidRequest("response_mode of others", "response_mode is not registered for this client")
    return None if mode == "query" else client.authorization_signed_response_alg


def _validated_challenge(parameters: Parameters) -> str:
    challenge = parameters.require("code_challenge")  # FAPI2-AZ-5
    if parameters.get("code_challenge_method") != "S256":  # absent means plain: RFC 7636 §4.3
        raise InvalidRequest("code_challenge_method", "code_challenge_method must be S256")
    if not pkce.is_challenge(challenge):
        raise InvalidRequest("code_challenge", "code_challenge must be 43 base64url characters")
    return challenge


def _validated_scope(
    parameters: Parameters, client: RegisteredClient, resources: Mapping[str, RegisteredResource]
) -> tuple[str, ...]:
    asked = parameters.get("scope")
    if asked is None:
        raise InvalidScope("no scope", "scope is required")
    values = honoured(parameters, client, scope.parse(asked))
    registered = {value for found in resources.values() if not found.built_in for value in found.scopes}
    if not values:
        raise InvalidScope("nothing but what is ignored")
    return scope.limited(values, client.scope, registered.union(identity_scope(values)))


def _validated_jkt(parameters: Parameters, proof_jkt: str | None) -> str | None:
    asked = parameters.get("dpop_jkt")
    if asked is not None and not pkce.is_challenge(asked):  # the same shape: 43 base64url characters (DPOP-AS-11)
        raise InvalidRequest("dpop_jkt", "dpop_jkt must be a SHA-256 thumbprint")
    if asked is not None and proof_jkt is not None and asked != proof_jkt:  # DPOP-AS-12
        raise InvalidDpopProof("dpop_jkt differs from the proof's key", "dpop_jkt does not match the proof")
    return asked or proof_jkt


def _bounded(parameters: Parameters, name: str, limit: int) -> str | None:
    value = parameters.get(name)
    if value is not None and len(value) > limit:
        raise InvalidRequest(f"{name} is too long", f"{name} must have at most {limit} characters")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRequest:
    """What an authorization endpoint URL may say, and nothing else of it is read (FAPI2-AZ-22)."""

    client_id: str
    request_uri: str


def asked_request(query: Parameters) -> AskedRequest:
    """RFC 9126 §4: only our own request_uri begins anything.

    Raises:
        InvalidRequest: not pushed, or no client_id (FAPI2-AZ-3); both kinds of object at once (JAR-2).
        RequestNotSupported, RequestUriNotSupported: an object by value, or to be fetched (RFC 9101 §7).
        InvalidRequestUri: no URN of ours (JAR-5).
    """
    request_uri = query.get("request_uri")
    if query.get("request") is not None and request_uri is None:
        raise RequestNotSupported("request object in the query")
    if query.get("request") is not None or request_uri is None:
        raise InvalidRequest("not a pushed request", "authorization requests must be pushed, see RFC 9126")
    if len(request_uri) > _REQUEST_URI_LIMIT:
        raise InvalidRequestUri("request_uri is too long")
    if request_uri[:4].lower() != "urn:":  # nothing is ever fetched: JAR-6, AUZ-03
        raise RequestUriNotSupported("request_uri of another kind")
    client_id = query.require("client_id")
    if not request_uri.startswith(REQUEST_URI_PREFIX):
        raise InvalidRequestUri("request_uri of another name space")
    return AskedRequest(client_id=client_id, request_uri=request_uri)


def may_begin(
    asked: AskedRequest, handle: KeptHandle | None, now: int, policy: Policy
) -> ValidatedAuthorizationRequest:
    """RFC 9126 §4: looking does not spend, so a page may be opened again until the authorization completes.

    Raises:
        InvalidRequestUri: unknown, expired, used or of another client (PAR-16).
    """
    if handle is None:
        raise InvalidRequestUri("unknown request_uri")
    if handle.client_id != asked.client_id:  # FAPI2-AZ-21
        raise InvalidRequestUri("request_uri of another client")
    if handle.spent:  # FAPI2-AZ-19
        raise InvalidRequestUri("request_uri is used up")
    if now >= handle.usable_until:  # FAPI2-AZ-20: bounds the first opening, not the interaction
        raise InvalidRequestUri("request_uri expired")
    if is_from_the_future(handle, now, policy.request_uri_lifetime):
        raise InvalidRequestUri("the clock was set back since the request was pushed")
    return ValidatedAuthorizationRequest.from_bytes(handle.payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeFacts:
    """What `load` found for a code; `resources` are the live ones among those granted."""

    handle: KeptHandle | None
    grant: AuthorizationGrant | None
    user: RegisteredUser | None
    resources: Mapping[str, RegisteredResource]


def decide_redemption(request: TokenRequest, facts: CodeFacts, policy: Policy) -> TokenDecision:
    """RFC 6749 §4.1.3, RFC 7636 §4.6, RFC 9449 §10: each guard has its private reason, the wire sees one sentence."""
    handle, grant, client = facts.handle, facts.grant, request.client.registered
    if handle is None or grant is None:
        return Refuse(error=InvalidGrant("unknown code"))
    if handle.client_id != client.client_id:  # FAPI2-AZ-12
        return Refuse(error=InvalidGrant("code of another client"))
    asked_redirect = request.parameters.get("redirect_uri")
    if asked_redirect is not None and asked_redirect != grant.redirect_uri:  # OA-AC-9
        return Refuse(error=InvalidGrant("redirect_uri differs"))
    verifier = request.parameters.get("code_verifier")
    if verifier is None or not pkce.verifier_matches(verifier, grant.code_challenge or ""):  # FAPI2-AZ-6
        return Refuse(error=InvalidGrant("verifier"))
    if grant.dpop_jkt is not None and grant.dpop_jkt != request.binding.jkt:  # DPOP-AS-13
        return Refuse(error=InvalidDpopProof("not the key of the push", "the proof key is not the one of the code"))
    if handle.spent:
        return _replayed(grant, "code replayed")
    if handle.revoked:
        return Refuse(error=InvalidGrant("the authorization has ended"))
    if request.now >= handle.usable_until:  # FAPI2-AS-13: our own handles have no leeway
        return Refuse(error=InvalidGrant("code expired"))
    if is_from_the_future(handle, request.now, policy.authorization_code_lifetime):
        return Refuse(error=InvalidGrant("the clock was set back since the code was issued"))
    user = facts.user
    if user is None or user.version != grant.user_version:
        return Refuse(error=InvalidGrant("the user changed"))
    if not redirect_uri.is_registered(grant.redirect_uri or "", client.redirect_uris, client.application_type):
        return Refuse(error=InvalidGrant("redirect_uri is gone"))  # what it was sent to is not the client's any more
    if grant.document_digest != client.document_digest:  # CIMD-14: only its keys may have changed
        return Refuse(error=InvalidGrant("the client's document changed"))
    return _tokens(request, facts, grant, user, policy)


def _replayed(grant: AuthorizationGrant, detail: str) -> Refuse:
    """A fully valid replay: somebody else has the code, so what it brought ends (OA-AC-7), once and evidenced."""
    error = InvalidGrant(detail)
    live = Require(required=Required.AUTHORIZATION, identifier=grant.authorization_id)
    fact = AuditFact(
        event=AuditEvent.AUTHORIZATION_REVOKED,
        detail=detail,
        client_id=grant.client_id,
        subject=grant.subject,
        authorization_id=grant.authorization_id,
    )
    return Refuse(
        error=error,
        effects=(live, Revoke(authorization_id=grant.authorization_id), Record(fact=fact)),
        lost={live: Refuse(error=error)},
    )


def _tokens(
    request: TokenRequest, facts: CodeFacts, grant: AuthorizationGrant, user: RegisteredUser, policy: Policy
) -> TokensToIssue:
    client = request.client.registered
    beside = openid_grant.issuer_beside(grant, policy.issuer)
    audience = resource.chosen(request.parameters.resources, grant.resources, beside=beside)
    registered = with_userinfo(facts.resources, (audience,), policy.issuer).get(audience)
    if registered is None:
        raise InvalidTarget("the resource is gone")
    spend = Spend(kind=HandleKind.CODE, digest=facts.handle.digest if facts.handle else b"")
    live_user = Require(required=Required.USER, identifier=grant.subject, version=grant.user_version)
    live_grant = Require(required=Required.AUTHORIZATION, identifier=grant.authorization_id)
    return TokensToIssue(
        subject=grant.subject,
        scope=scope.narrowed(grant.scope_of(audience), client.scope, registered.scopes),
        resource=audience,
        authorization_id=grant.authorization_id,
        access_token_seconds=seconds(registered.access_token_lifetime or policy.access_token_lifetime),
        claims=openid_grant.access_token_claims(grant, audience, policy.issuer),
        effects=(live_user, live_grant, *registered.requirements, spend),
        lost={
            live_user: Refuse(error=InvalidGrant("the user changed")),
            live_grant: Refuse(error=InvalidGrant("the authorization has ended")),
            **dict.fromkeys(registered.requirements, Refuse(error=InvalidTarget("the resource changed"))),
            spend: _replayed(grant, "code redeemed at the same time"),
        },
        refresh=_refresh(request, facts, grant, policy),
        id_token=openid_grant.id_token(grant, user, grant.scope, client.scope),
    )


def _refresh(
    request: TokenRequest, facts: CodeFacts, grant: AuthorizationGrant, policy: Policy
) -> RefreshToIssue | None:
    if "refresh_token" not in request.client.registered.grant_types:
        return None
    lifetimes = [
        registered.refresh_token_lifetime or policy.refresh_token_lifetime
        for registered in facts.resources.values()
        if registered.refresh_tokens
    ]
    if openid_grant.is_offline(grant, request.client.registered.scope):
        lifetimes.append(policy.refresh_token_lifetime)
    if not lifetimes:
        return None
    approved = request.client.registered.limits.refresh_token_seconds
    if approved is not None:
        lifetimes.append(timedelta(seconds=approved))
    ends_at = request.now + seconds(min(lifetimes))
    unbound = replace(grant, redirect_uri=None, code_challenge=None, dpop_jkt=None, nonce=None)
    unbound = replace(unbound, begins_at=request.now, ends_at=ends_at)
    usable_until = min(request.now + seconds(policy.refresh_token_idle), ends_at)
    return RefreshToIssue(payload=unbound.to_bytes(), usable_until=usable_until, expires_at=ends_at)
