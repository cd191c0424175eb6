"""The tokens of registration: where they may stand, whose key they need, and how their lack is told (RFC 6750)."""

from __future__ import annotations

import hmac
from dataclasses import replace
from typing import Final

from fapi_as.kernel.messages import EndpointRequest
from fapi_as.kernel.seam import Context
from fapi_as.kernel.sender_constraint import nonce_headers, offered_proof
from fapi_as.protocol.client_certificate import thumbprint
from fapi_as.protocol.errors import InvalidDpopProof, InvalidRequest, ProtocolError, ResourceRefused, UseDpopNonce
from fapi_as.protocol.source import site_of
from rs_kit.protocol.challenge import challenges, status_of
from rs_kit.protocol.confirmation import SenderConstraint
from rs_kit.protocol.dpop import VerifiedProof
from rs_kit.protocol.errors import InvalidToken, MissingToken
from rs_kit.protocol.http import Credentials, credentials, once

_SCHEMES: Final = frozenset({"bearer", "dpop"})
_CHALLENGED: Final = frozenset({401, 403})
NO_PARAMETERS: Final = "parameters belong in the body"


def offered_token(request: EndpointRequest) -> Credentials | None:
    """The token of the Authorization field, the one place where it may be (DCM-2); None when there is no such field.

    Raises:
        MissingToken: another scheme.
        InvalidRequest: the field is malformed or repeated, or there are parameters in the URL.
    """
    if request.query_string:  # where a token would be written down by whoever forwards it (RFC 6750 §2.3)
        raise InvalidRequest("parameters in the URL", NO_PARAMETERS)
    field = once(request.headers, b"authorization")
    if field is None:
        return None
    offered = credentials(field)
    if offered.scheme not in _SCHEMES:
        raise MissingToken("no credentials of our scheme")
    return offered


def proved(context: Context, request: EndpointRequest, offered: Credentials, jkt: str | None) -> VerifiedProof | None:
    """The proof that comes with a token; one that is bound to a key needs it (RFC 9449 §7.1).

    Raises:
        InvalidToken: the token is bound and comes as a bearer token, or the other way round, or with another key.
        InvalidDpopProof: the proof is wrong, or missing.
        UseDpopNonce: it is right but for its nonce.
    """
    if offered.scheme != ("bearer" if jkt is None else "dpop"):
        raise InvalidToken(f"the binding does not go with the scheme {offered.scheme}")
    proof = offered_proof(context, _addressed(request), access_token=offered.token)
    if jkt is None:
        return proof
    if proof is None:
        raise InvalidDpopProof("no proof", "a DPoP proof is required")
    if not hmac.compare_digest(proof.jkt, jkt):
        raise InvalidToken("bound to another key")
    return proof


def _addressed(request: EndpointRequest) -> EndpointRequest:
    """The request at the address that it really has, which is what its proof is for."""
    above, opened, _ = request.path.partition("{")
    return replace(request, path=above + request.segment) if opened else request


def require_room(context: Context, request: EndpointRequest, name: str) -> None:
    """Let nobody go on who failed at this address more often than the limit (CA-6), before any signature and any fetch.

    Raises:
        TooManyRequests: until the window is over.
    """
    if _is_told_apart(request):
        context.failed_authentications.require_room(name, request)


def count_failure(context: Context, request: EndpointRequest, name: str) -> None:
    """One more; the first one above the limit is told so, too.

    Raises:
        TooManyRequests: this was that one.
    """
    if _is_told_apart(request):
        context.failed_authentications.count(name, request)
        context.failed_authentications.require_room(name, request)


def counted_source(request: EndpointRequest) -> str | None:
    """Whose registrations are counted together (DCR-16); None where the address is everybody's."""
    if not request.proxied:
        return site_of(request.source)
    return None if request.peer_certificate is None else f"x5t#S256 {thumbprint(request.peer_certificate)}"


def _is_told_apart(request: EndpointRequest) -> bool:
    """Whether the source is one peer's: a stranger who comes through the proxy of all must lock nobody out."""
    return not request.proxied or request.peer_certificate is not None


def as_resource(context: Context, request: EndpointRequest, error: ProtocolError) -> ProtocolError:
    """The refusal of whoever lacks a token, with the challenges that a protected resource makes (RFC 7592 §2)."""
    status = status_of(error)
    headers: tuple[tuple[str, str], ...] = ()
    if status in _CHALLENGED:
        made = challenges(error, SenderConstraint.EITHER)
        headers = tuple(("WWW-Authenticate", challenge.strip()) for challenge in made)  # "Bearer" alone has no comma
    if isinstance(error, UseDpopNonce):
        headers += nonce_headers(context, error.jkt, request.now)
    elif isinstance(error, MissingToken):  # RFC 9449 §8.2: the first proof can carry it and saves a round trip
        headers += nonce_headers(context, None, request.now)
    return ResourceRefused(error, status=status, headers=headers)
