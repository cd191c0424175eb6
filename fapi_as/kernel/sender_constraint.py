"""Which keys the caller holds: the DPoP proof (RFC 9449 §4.3, §5) and the certificate of a request (RFC 8705 §3)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from fapi_as.kernel.messages import EndpointRequest
from fapi_as.kernel.seam import Context
from fapi_as.protocol.access_token import Binding
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.client_certificate import binding_refusal, thumbprint
from fapi_as.protocol.effects import TakeOnce
from fapi_as.protocol.errors import InvalidDpopProof, InvalidRequest
from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import CLOCK_AHEAD, DPOP_NONCE_WINDOW
from rs_kit.protocol import nonce
from rs_kit.protocol.dpop import ProofExpectation, VerifiedProof, proof_header, verify_proof
from rs_kit.protocol.htu import normalise

_AHEAD: Final = seconds(CLOCK_AHEAD)
_NONCE_WINDOW: Final = seconds(DPOP_NONCE_WINDOW)


@lru_cache(maxsize=256)
def _expected_htu(url: str) -> str:
    return normalise(url)


def offered_proof(
    context: Context, request: EndpointRequest, *, access_token: str | None = None
) -> VerifiedProof | None:
    """The verified proof of a request, or None when it carries none; of the token that it comes with, if any.

    Raises:
        InvalidDpopProof: there is one and it is wrong.
        UseDpopNonce: it is right but for its nonce (RFC 9449 §8).
    """
    proof = proof_header(request.headers)
    if proof is None:
        return None
    policy = context.policy
    expect = ProofExpectation(
        method=request.method,
        # from configuration, never from Host (DPOP-11)
        htu=_expected_htu(policy.url(request.path, mutual_tls=request.mutual_tls)),
        now=request.now,
        max_age_seconds=seconds(policy.dpop_proof_age),
        max_future_seconds=_AHEAD,
        nonce_key=context.nonce_key if policy.dpop_nonces else None,
        access_token=access_token,
    )
    return verify_proof(proof, expect=expect, keys=context.proof_keys)


def constrained(
    context: Context, request: EndpointRequest, client: RegisteredClient
) -> tuple[Binding, VerifiedProof | None]:
    """To what the tokens of this request are bound, and the proof, which is to be spent (FAPI2-AS-4, CNF-1).

    A proof always binds. A certificate binds only where the client registered that, whatever else it is good for here.

    Raises:
        InvalidDpopProof: the proof is wrong, or missing though nothing else binds, or the client registered for it.
        UseDpopNonce: it is right but for its nonce.
        InvalidRequest: the client's tokens are bound to its certificate and there is none (MTLS-16), or one whose key
            is too weak to prove anything.
    """
    proof = offered_proof(context, request)
    by_certificate = client.tls_client_certificate_bound_access_tokens
    if proof is None and (client.dpop_bound_access_tokens or not by_certificate):
        raise InvalidDpopProof("no proof", "a DPoP proof is required")
    certificate = request.peer_certificate if by_certificate else None
    if by_certificate and certificate is None:
        raise InvalidRequest("no certificate to bind to", "a client certificate is required, see mtls_endpoint_aliases")
    refusal = None if certificate is None else binding_refusal(certificate)
    if refusal is not None:
        raise InvalidRequest(f"certificate: {refusal}", "the client certificate has a key that is not accepted here")
    return Binding(
        jkt=None if proof is None else proof.jkt,
        x5t=None if certificate is None else thumbprint(certificate),
    ), proof


def proof_once(proof: VerifiedProof) -> TakeOnce:
    """The effect that spends a proof's jti, by key and jti (DPOP-16)."""
    return TakeOnce(namespace="dpop_proof", digest=proof.replay_digest, until=proof.replay_until)


def nonce_headers(context: Context, jkt: str | None, now: int) -> tuple[tuple[str, str], ...]:
    """The DPoP-Nonce header for this key; also sent on success, so that a round trip is rare (RFC 9449 §8.2)."""
    if not context.policy.dpop_nonces:
        return ()
    fresh = nonce.issue(context.nonce_key, now=now, jkt=jkt, window_seconds=_NONCE_WINDOW)
    return (("DPoP-Nonce", fresh),)
