"""GET and POST /userinfo: the issuer as a protected resource, guarded like every other (RFC 9449 §7, RFC 8705 §3)."""

from __future__ import annotations

from typing import Final

from fapi_as.features.openid.rules import Told, UserinfoFacts, decide_userinfo
from fapi_as.kernel.clients import standing_client
from fapi_as.kernel.door import refuse_client, settle
from fapi_as.kernel.messages import Compact, EndpointRequest, Json
from fapi_as.kernel.own_tokens import own_keys
from fapi_as.kernel.seam import Context, Endpoint, Face
from fapi_as.kernel.sender_constraint import nonce_headers, offered_proof, proof_once
from fapi_as.protocol.errors import InvalidRequest, ProtocolError, ResourceRefused, StorageUnavailable, UseDpopNonce
from fapi_as.protocol.pairwise import subject_for
from fapi_as.protocol.parameters import FORM_TYPE, parse
from fapi_as.protocol.userinfo_resource import OPENID
from rs_kit.protocol.access_token import VerifiedAccessToken, verify_access_token
from rs_kit.protocol.challenge import challenges, status_of
from rs_kit.protocol.confirmation import SenderConstraint, require_bound, require_proved, require_scheme
from rs_kit.protocol.dpop import VerifiedProof
from rs_kit.protocol.errors import InsufficientScope, InvalidDpopProof, MissingToken
from rs_kit.protocol.http import Credentials, credentials, once, single

_SCHEMES: Final = ("dpop", "bearer")
_TOLD_TYPE: Final = "JWT"


async def userinfo(context: Context, request: EndpointRequest) -> Json | Compact:
    """Tell what the person allowed this client to know.

    Raises:
        ResourceRefused: with the challenge that tells what is missing; nothing was spent.
        StorageUnavailable: nothing was changed.
    """
    try:
        offered = _offered(request)
        token = verify_access_token(
            offered.token,
            keys=own_keys(context),
            issuer=context.policy.issuer,
            audience=context.policy.issuer,  # OIDC-55: a token for an MCP server is none for us
            now=request.now,
            leeway_seconds=0,  # our own clock issued it
        )
    except StorageUnavailable:
        raise
    except ProtocolError as error:
        raise _refused(context, request, error) from None
    try:
        proof = _proved(context, request, offered, token)
        if OPENID not in token.scope:  # OIDC-53
            raise InsufficientScope("no openid", scope=(OPENID,))
        told = decide_userinfo(token, await _facts(context, request, token), proof and proof_once(proof))
        answer = _answer(context, request, told, proof)
        await settle(context, request, told.decision)
    except StorageUnavailable:
        raise
    except ProtocolError as error:
        await refuse_client(context, request, _refused(context, request, error), token.client_id)
    return answer


def _offered(request: EndpointRequest) -> Credentials:
    """The token, from the one place where one may be (RFC 6750 §2.1, FAPI2-RS-1).

    Raises:
        MissingToken: there is none.
        InvalidRequest: there is one in the URL or in the body, too, or the field is malformed.
    """
    forms = [request.query_string]
    if (single(request.headers, b"content-type") or "").partition(";")[0].strip().lower() == FORM_TYPE:
        forms.append(request.body)
    if any("access_token" in parse(form).values for form in forms):
        raise InvalidRequest("token in the URL or the body", "an access token belongs in the Authorization header")
    field = once(request.headers, b"authorization")
    if field is None:
        raise MissingToken("no credentials at all")
    offered = credentials(field)
    if offered.scheme not in _SCHEMES:
        raise MissingToken("no credentials of our scheme")
    return offered


def _proved(
    context: Context, request: EndpointRequest, offered: Credentials, token: VerifiedAccessToken
) -> VerifiedProof | None:
    """The caller holds all that the token is bound to (CNF-10)."""
    confirmation = require_bound(token.confirmation, SenderConstraint.EITHER)
    require_scheme(confirmation, offered.scheme)
    proof = None
    if confirmation.jkt is not None:
        proof = offered_proof(context, request, access_token=offered.token)
        if proof is None:
            raise InvalidDpopProof("no proof", "a DPoP proof is required")
    jkt = None if proof is None else proof.jkt
    require_proved(confirmation, jkt=jkt, certificate=request.peer_certificate)
    return proof


async def _facts(context: Context, request: EndpointRequest, token: VerifiedAccessToken) -> UserinfoFacts:
    reading = context.reading
    authorization = await reading.authorization(token.authorization_id or "", request.now)
    client = await standing_client(context, token.client_id)
    user = None if authorization is None else await reading.user(authorization.subject)
    subject = None
    if client is not None and user is not None:
        subject = subject_for(client, user.subject, context.pairwise_key)
    return UserinfoFacts(
        authorization=authorization,
        client=client,
        user=user,
        subject=subject,
    )


def _answer(context: Context, request: EndpointRequest, told: Told, proof: VerifiedProof | None) -> Json | Compact:
    """JSON, or signed for a client that registered for it (OIDC-54); made before anything is committed."""
    headers = () if proof is None else nonce_headers(context, proof.jkt, request.now)
    alg = told.client.userinfo_signed_response_alg
    if alg is None:
        return Json(payload=told.claims, headers=headers)
    about = {"iss": context.policy.issuer, "aud": told.client.client_id, "iat": request.now}
    token = context.signer.sign({**told.claims, **about}, typ=_TOLD_TYPE, alg=alg)
    return Compact(token=token, headers=headers)


def _refused(context: Context, request: EndpointRequest, error: ProtocolError) -> ResourceRefused:
    constraint = SenderConstraint.DPOP if context.policy.mutual_tls_url is None else SenderConstraint.EITHER
    status = status_of(error)
    headers: tuple[tuple[str, str], ...] = ()
    if status in {401, 403}:
        headers = tuple(("WWW-Authenticate", value) for value in challenges(error, constraint, scope=(OPENID,)))
    if isinstance(error, UseDpopNonce):
        headers += nonce_headers(context, error.jkt, request.now)
    elif isinstance(error, MissingToken):  # RFC 9449 §8.2: the first proof can carry it and saves a round trip
        headers += nonce_headers(context, None, request.now)
    return ResourceRefused(error, status=status, headers=headers)


USERINFO: Final = Endpoint(
    path="/userinfo",
    face=Face.PROTOCOL,
    methods={"GET": userinfo, "POST": userinfo},
    metadata_member="userinfo_endpoint",
)
