"""The one orchestration of the kit: check everything about a call, then spend its proof, once and last."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, Final, NamedTuple

from rs_kit.ports import AuthorizedCall, Clock, IssuerKeys, Observer, Refusal, UsedOnce
from rs_kit.protocol import nonce
from rs_kit.protocol.access_token import VerifiedAccessToken, present, verify_access_token
from rs_kit.protocol.challenge import challenges, status_of
from rs_kit.protocol.confirmation import (
    Confirmation,
    SenderConstraint,
    require_bound,
    require_proved,
    require_scheme,
)
from rs_kit.protocol.dpop import (
    NONCE_WINDOW_SECONDS,
    ProofExpectation,
    ProofKeys,
    VerifiedProof,
    access_token_hash,
    proof_octets,
    verify_proof,
)
from rs_kit.protocol.errors import (
    InvalidDpopProof,
    InvalidRequest,
    InvalidToken,
    MissingToken,
    ProtocolError,
    Unavailable,
    UnknownMethod,
    UseDpopNonce,
)
from rs_kit.protocol.http import Credentials, Headers, HttpRequest, credentials, once
from rs_kit.protocol.resource_address import Address
from rs_kit.protocol.resource_metadata import ResourceMetadata
from rs_kit.protocol.routing_headers import check_agreement
from rs_kit.protocol.tool_policy import RpcAnswer, RpcMessage, ToolPolicy, parse_message, parse_message_or_answer

PROOF_AGE_SECONDS: Final = 60  # DPOP-12
PROOF_AGE_CEILING: Final = 300
TOKEN_SECONDS: Final = 3600  # FAPI2-RS-3; our own server gives 300, and never more than 600
_AHEAD_SECONDS: Final = 30  # product.md: clocks that run ahead
_LEEWAY_SECONDS: Final = 10  # AT-12: exp of a token that others issued
_NONCE_KEY_BYTES: Final = 32
_TOKENS_KEPT: Final = 4096
_CHALLENGED: Final = (401, 403)
_SCHEMES: Final = ("dpop", "bearer")
_POST: Final = ("POST",)
_WITH_STREAMS: Final = ("POST", "GET", "DELETE")
_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})

_logger: Final = logging.getLogger("rs_kit.guard")


class UnknownPath(UnknownMethod):
    """RFC 9110 §15.5.5: nothing is offered at this path; said to authenticated callers only."""

    public: ClassVar[str] = "there is nothing at this address"


class MethodNotAllowed(InvalidRequest):
    """RFC 9110 §15.5.6: `allowed` are the methods that are."""

    public: ClassVar[str] = "this method is not allowed here"

    def __init__(self, detail: str, *, allowed: Sequence[str]) -> None:
        super().__init__(detail)
        self.allowed = tuple(allowed)


class Verified(NamedTuple):
    """A bound token that verified, its hash for proofs, and the key set that it verified under."""

    token: VerifiedAccessToken
    confirmation: Confirmation
    ath: str
    keys: object


class TokenCache:
    """Tokens that verified, by the SHA-256 of the Authorization field that brought them.

    A token is found only while its key set is in force, so that a key that was removed ends its tokens as fast as it
    ends new ones; its expiry is the caller's check, on every use. Bounded; only verified tokens get in.
    """

    __slots__ = ("_entries", "_limit")

    def __init__(self, limit: int = _TOKENS_KEPT) -> None:
        self._entries: dict[bytes, Verified] = {}
        self._limit = limit

    def get(self, digest: bytes) -> Verified | None:
        """What this field brought when it verified; it counts no more than the `keys` that it verified under."""
        return self._entries.get(digest)

    def remember(self, digest: bytes, entry: Verified) -> None:
        """Keep a verified token; the oldest makes room."""
        if len(self._entries) >= self._limit and digest not in self._entries:
            del self._entries[next(iter(self._entries))]
        self._entries[digest] = entry

    def __len__(self) -> int:
        return len(self._entries)


class Guard:
    """Admits a call to one protected resource, or refuses it.

    Args:
        resource: the URL that clients call and the audience of their tokens, exactly (PRM-8).
        issuer: the authorization server whose tokens are accepted, or each of several. A subject of one is nobody at
            another: `AuthorizedCall.token.issuer` says whose word it is.
        keys: that issuer's keys, or those of each; a token is verified with its own issuer's keys and no other.
        used_once: the replay store, shared by every worker that serves this resource.
        tools: the scopes of each tool; what is not listed is refused.
        nonce_key: 32 secret bytes, the same in every worker; None switches nonces off.
        clock: the time.
        observer: told once about every decision.
        proof_age_seconds: how old a proof may be; at most 300.
        resource_name: for people, in the metadata.
        published: further members of the metadata (RFC 9728 §2), resource_documentation for example; what the guard
            itself says there is not replaced.
        legacy_streams: whether the application keeps the sessions of protocol versions up to 2025-11-25: GET opens a
            stream, DELETE ends a session, and a POST may answer what the server asked. Each needs the base scopes.
        token_seconds: how long an issuer may let a token live: a revoked one ends with its time, and not before
            (FAPI2-RS-3).
        sender_constraint: to what tokens must be bound: a DPoP key, a certificate of the caller (RFC 8705), or either.
            A token that is bound to both needs both, wherever it comes.

    Raises:
        ValueError: a combination that would not be safe, or does not fit together.
    """

    def __init__(  # noqa: PLR0913 - the ports of the kit's one orchestration, named at every call
        self,
        *,
        resource: str,
        issuer: str | Sequence[str],
        keys: IssuerKeys | Sequence[IssuerKeys],
        used_once: UsedOnce,
        tools: ToolPolicy,
        nonce_key: bytes | None,
        clock: Clock,
        observer: Observer,
        proof_age_seconds: int = PROOF_AGE_SECONDS,
        resource_name: str | None = None,
        legacy_streams: bool = False,
        published: Mapping[str, object] = _NOTHING,
        token_seconds: int = TOKEN_SECONDS,
        sender_constraint: SenderConstraint = SenderConstraint.DPOP,
    ) -> None:
        self._issuers = _keys_by_issuer(issuer, keys)
        if nonce_key is not None and len(nonce_key) < _NONCE_KEY_BYTES:
            raise ValueError(f"nonce_key needs {_NONCE_KEY_BYTES} bytes")
        if not 0 < proof_age_seconds <= PROOF_AGE_CEILING:
            raise ValueError(f"proof_age_seconds must be at most {PROOF_AGE_CEILING} (DPOP-12)")
        self.metadata = ResourceMetadata(
            resource=resource,
            authorization_servers=tuple(self._issuers),
            scopes_supported=tools.base,
            resource_name=resource_name,
            more=dict(published),
            sender_constraint=sender_constraint,
        )
        self.address = Address(resource)
        self.clock = clock
        self.methods: tuple[str, ...] = _WITH_STREAMS if legacy_streams else _POST
        self._parse = parse_message_or_answer if legacy_streams else parse_message
        self._resource = resource
        self._used_once = used_once
        self._tools = tools
        self._nonce_key = nonce_key
        self._observer = observer
        self._proof_age_seconds = proof_age_seconds
        self._token_seconds = token_seconds
        self._constraint = sender_constraint
        self._tokens = TokenCache()
        self._proof_keys = ProofKeys()

    async def admit(self, request: HttpRequest) -> AuthorizedCall:
        """Every check, in the order of RSV-1; the proof is spent last, so a call that fails spends nothing.

        Raises:
            ProtocolError: the refusal, already told to the observer; `challenge` says what the caller needs.
        """
        token: VerifiedAccessToken | None = None
        try:
            now = self.clock.now()
            authorization = once(request.headers, b"authorization")
            if authorization is None:
                raise MissingToken("no credentials at all")
            digest = hashlib.sha256(authorization).digest()
            verified = self._known(digest, now) or await self._verified(authorization, digest, now)
            token = verified.token
            proof = self._proved(request, verified, now)
            message = self._allowed(request, token)
            if proof is not None and not await self._taken(proof, now):
                raise InvalidDpopProof("replayed")
            call = AuthorizedCall(
                token,
                self._resource,
                None if message is None else message.method,
                None if message is None else message.target,
                () if proof is None else self._nonce_header(proof.jkt, now),
                None if proof is None else proof.issued_at - now,
            )
            self._observer.admitted(call)
        except ProtocolError as error:
            self.refused(error, request, token)
            raise
        except Exception as error:
            # a port of somebody else's that broke its promise: fail closed, and say where (RSE-10)
            unavailable = Unavailable(f"unexpected {type(error).__name__}")
            unavailable.__cause__ = error
            self.refused(unavailable, request, token)
            raise unavailable from error
        return call

    def refused(self, error: ProtocolError, request: HttpRequest, token: VerifiedAccessToken | None = None) -> None:
        """Tell the observer of a refusal; for faces of the kit that refuse before a call reaches `admit`."""
        try:
            self._observer.refused(
                Refusal(error=error, http_method=request.method, path=request.target_path, token=token)
            )
        except Exception:
            _logger.exception("the observer failed; the refusal stands")

    def seconds_left(self, token: VerifiedAccessToken) -> int:
        """How long calls with this token will be admitted, and a stream that it opened may last; 0 when it is over."""
        return max(0, token.expires_at + _LEEWAY_SECONDS - self.clock.now())

    def challenge(self, error: ProtocolError) -> Headers:
        """The headers that tell a refused caller what to do: WWW-Authenticate, and a nonce where one helps."""
        if status_of(error) not in _CHALLENGED:
            return ()
        values = challenges(
            error, self._constraint, resource_metadata=self.address.metadata_url, scope=self._tools.base
        )
        headers: Headers = tuple((b"www-authenticate", value.encode("ascii")) for value in values)
        if isinstance(error, UseDpopNonce):
            return headers + self._nonce_header(error.jkt, self.clock.now())
        if isinstance(error, MissingToken) and self._constraint is not SenderConstraint.CERTIFICATE:
            # RFC 9449 §8.2 lets us send one early: the first proof can carry it and saves a round trip
            return headers + self._nonce_header(None, self.clock.now())
        return headers

    def _known(self, digest: bytes, now: int) -> Verified | None:
        """The token, if it verified before under the keys that are in force now, and has not expired since."""
        known = self._tokens.get(digest)
        if known is None or _is_over(known.token, now):
            return None
        return known if self._issuers[known.token.issuer].current() is known.keys else None

    async def _verified(self, authorization: bytes, digest: bytes, now: int) -> Verified:
        """The token, verified now (RSV-1 steps 3 to 7).

        Raises:
            InvalidToken: it is not valid here, or not bound to what is wanted here.
            Unavailable: the issuer's keys cannot be had.
        """
        offered = _offered(authorization)
        unverified = present(offered.token)
        issuer = unverified.claims.get("iss")
        trusted = self._issuers.get(issuer) if isinstance(issuer, str) else None
        if trusted is None:
            raise InvalidToken("iss is another issuer")  # before its kid can make us ask our issuer for keys
        keys = await trusted.keys(unverified.kid)
        token = verify_access_token(
            unverified,
            keys=keys,
            issuer=trusted.issuer,
            audience=self._resource,
            now=now,
            leeway_seconds=_LEEWAY_SECONDS,
        )
        if token.expires_at - token.issued_at > self._token_seconds:
            raise InvalidToken("the token lives longer than this resource allows")  # FAPI2-RS-3
        confirmation = require_bound(token.confirmation, self._constraint)
        require_scheme(confirmation, offered.scheme)
        verified = Verified(token, confirmation, access_token_hash(offered.token), keys)
        self._tokens.remember(digest, verified)
        return verified

    def _proved(self, request: HttpRequest, verified: Verified, now: int) -> VerifiedProof | None:
        """The caller holds all that the token is bound to (RSV-1 step 9); None where that is no DPoP key."""
        if verified.confirmation.jkt is None:
            require_proved(verified.confirmation, jkt=None, certificate=request.peer_certificate)
            return None
        proof = proof_octets(request.headers)
        if proof is None:
            raise InvalidDpopProof("no proof", "a DPoP proof is required")
        expect = ProofExpectation(
            request.method,
            self.address.htu(request.target_path),
            now,
            max_age_seconds=self._proof_age_seconds,
            max_future_seconds=_AHEAD_SECONDS,
            nonce_key=self._nonce_key,
            ath=verified.ath,
        )
        proved = verify_proof(proof, expect=expect, keys=self._proof_keys)
        require_proved(verified.confirmation, jkt=proved.jkt, certificate=request.peer_certificate)
        return proved

    async def _taken(self, proof: VerifiedProof, now: int) -> bool:
        return await self._used_once.take(self._resource, proof.replay_digest, until=proof.replay_until, now=now)

    def _allowed(self, request: HttpRequest, token: VerifiedAccessToken) -> RpcMessage | None:
        """The token's scopes cover what the body asks for (RSV-1 step 10); None where there is no message."""
        if request.target_path != self.address.path:
            raise UnknownPath("not the resource")
        if request.method not in self.methods:
            raise MethodNotAllowed("GET or DELETE without sessions", allowed=self.methods)
        if request.method != "POST":
            if request.body:
                raise InvalidRequest("a body where none belongs")
            self._tools.check_base(token.scope)
            return None
        message = self._parse(request.body)
        if isinstance(message, RpcAnswer):
            self._tools.check_base(token.scope)
            return None
        self._tools.check(message, token.scope)
        check_agreement(request.headers, message)
        return message

    def _nonce_header(self, jkt: str | None, now: int) -> Headers:
        if self._nonce_key is None:
            return ()
        fresh = nonce.issue(self._nonce_key, now=now, jkt=jkt, window_seconds=NONCE_WINDOW_SECONDS)
        return ((b"dpop-nonce", fresh.encode("ascii")),)


def _keys_by_issuer(issuer: str | Sequence[str], keys: IssuerKeys | Sequence[IssuerKeys]) -> Mapping[str, IssuerKeys]:
    """The keys of each issuer, in the order in which the issuers were named.

    Raises:
        ValueError: there are no issuers, one is named twice, or not each of them has its keys.
    """
    issuers = [issuer] if isinstance(issuer, str) else list(issuer)
    sets = list(keys) if isinstance(keys, Sequence) else [keys]
    named = {of_one.issuer: of_one for of_one in sets}
    if not issuers or sorted(issuers) != sorted(of_one.issuer for of_one in sets) or len(named) != len(issuers):
        raise ValueError("keys are of another issuer")
    return {name: named[name] for name in issuers}


def _is_over(token: VerifiedAccessToken, now: int) -> bool:
    return token.expires_at + _LEEWAY_SECONDS <= now


def _offered(authorization: bytes) -> Credentials:
    """The token under one of the two schemes that there are for access tokens; which one is right, the token says."""
    offered = credentials(authorization)
    if offered.scheme not in _SCHEMES:
        raise MissingToken("no credentials of our scheme")
    return offered
