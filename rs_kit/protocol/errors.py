"""Errors named after their wire code; each carries a public sentence and a private reason."""

from __future__ import annotations

from typing import ClassVar


class ProtocolError(Exception):
    """A refusal: `detail` is private (audit, never on the wire), `description` is a constant sentence of ours.

    Neither ever holds what the peer sent, so that nothing can be echoed.
    """

    error: ClassVar[str] = "invalid_request"
    public: ClassVar[str] = "the request is not valid"

    def __init__(self, detail: str, description: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.description = self.public if description is None else description


class InvalidRequest(ProtocolError):
    """RFC 6749 §5.2, RFC 6750 §3.1: malformed, repeated or contradicting."""

    error: ClassVar[str] = "invalid_request"
    public: ClassVar[str] = "the request is not valid"


class InvalidDpopProof(ProtocolError):
    """RFC 9449 §5 and §7.1: the proof is missing, malformed, replayed or for another request."""

    error: ClassVar[str] = "invalid_dpop_proof"
    public: ClassVar[str] = "the DPoP proof is not valid"


class ProofOutOfTime(InvalidDpopProof):
    """RFC 9449 §4.3 (11): `iat_offset` is by how many seconds its iat is ahead of our clock; negative: behind."""

    def __init__(self, detail: str, *, iat_offset: int) -> None:
        super().__init__(detail)
        self.iat_offset = iat_offset


class UseDpopNonce(ProtocolError):
    """RFC 9449 §8 and §9: the proof is right but for its nonce; `jkt` is the key that the new nonce is bound to."""

    error: ClassVar[str] = "use_dpop_nonce"
    public: ClassVar[str] = "send a new proof with the nonce from the DPoP-Nonce header"

    def __init__(self, detail: str, *, jkt: str | None) -> None:
        super().__init__(detail)
        self.jkt = jkt


class InvalidToken(ProtocolError):
    """RFC 6750 §3.1: expired, revoked, for another audience, or held by somebody else; one sentence for all."""

    error: ClassVar[str] = "invalid_token"
    public: ClassVar[str] = "the access token is not valid"


class InsufficientScope(ProtocolError):
    """RFC 6750 §3.1: `scope` is all that this operation needs and nothing else (RSE-4)."""

    error: ClassVar[str] = "insufficient_scope"
    public: ClassVar[str] = "the access token does not cover this operation"

    def __init__(self, detail: str, description: str | None = None, *, scope: tuple[str, ...]) -> None:
        super().__init__(detail, description)
        self.scope = scope


class MissingToken(ProtocolError):
    """RFC 6750 §3.1: no credentials at all; a challenge without an error code."""

    error: ClassVar[str] = ""
    public: ClassVar[str] = "an access token is required"


class Unavailable(ProtocolError):
    """The issuer's keys or the replay store cannot answer: 503, never a yes (RSE-10)."""

    error: ClassVar[str] = "temporarily_unavailable"
    public: ClassVar[str] = "the service is temporarily unavailable, try again"


class UnknownMethod(ProtocolError):
    """A JSON-RPC method that no policy knows: 404 with -32601, after authentication only (MCP-9, TOOL-10)."""

    error: ClassVar[str] = "invalid_request"
    public: ClassVar[str] = "this method is not available"


class InvalidJws(Exception):
    """Not a compact JWS that the caller asked for; the caller gives it its wire code."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NoVerificationKey(InvalidJws):
    """No key, or not exactly one, may verify it: no signature was compared."""


class InvalidJwk(Exception):
    """Not a public key that may verify anything here; the caller gives it its wire code."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail
