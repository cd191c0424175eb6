"""DPoP proofs: RFC 9449 §4.3, check by check."""

# typing.override came with Python 3.12, and dunder methods have no other parent than object
# mypy: disable-error-code="explicit-override"

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from rs_kit.protocol import base64url, jws, nonce
from rs_kit.protocol.algorithms import SIGNING_ALGORITHMS
from rs_kit.protocol.errors import (
    InvalidDpopProof,
    InvalidJwk,
    InvalidJws,
    InvalidRequest,
    ProofOutOfTime,
    UseDpopNonce,
)
from rs_kit.protocol.http import Headers, once
from rs_kit.protocol.htu import htu_matches, normalise
from rs_kit.protocol.jwk import PublicJwk, parse_public

PROOF_LIMIT: Final = 8 * 1024  # characters: a header of 4096, a jti of 1024, and what a long htu needs
JTI_LIMIT: Final = 1024  # characters, DPOP-19
NONCE_WINDOW_SECONDS: Final = 120  # DPOP-13
_COMPACT: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."  # RFC 7515 §7.1
_EXPIRY_LEEWAY: Final = 10  # seconds, as for every JWT of others
_TYPES: Final = frozenset({"dpop+jwt"})
_ALGORITHMS: Final = frozenset(SIGNING_ALGORITHMS)


class ProofKeys:
    """The keys of proofs that verified, by header segment: the same for every proof of a key, so read once.

    An entry is made only after a signature, so that nobody fills it with keys that he does not hold.
    """

    __slots__ = ("_keys", "_limit")

    def __init__(self, limit: int = 4096) -> None:
        self._keys: dict[bytes, PublicJwk] = {}
        self._limit = limit

    def get(self, header_segment: bytes) -> PublicJwk | None:
        """The key of this header, when a proof under it has verified."""
        return self._keys.get(header_segment)

    def remember(self, header_segment: bytes, key: PublicJwk) -> None:
        """Keep a key; the oldest entry makes room."""
        if len(self._keys) >= self._limit:
            del self._keys[next(iter(self._keys))]
        self._keys[header_segment] = key

    def __len__(self) -> int:
        return len(self._keys)


class ProofExpectation(NamedTuple):
    """What a proof must say; `htu` is in normal form and comes from configuration (DPOP-11).

    `nonce_key` None means that no nonce is demanded. A token that comes with the proof is given as itself or, when the
    caller has it already, as its hash; neither means that none comes.
    """

    method: str
    htu: str
    now: int
    max_age_seconds: int
    max_future_seconds: int
    nonce_key: bytes | None
    nonce_window_seconds: int = NONCE_WINDOW_SECONDS
    access_token: str | None = None
    ath: str | None = None

    def __repr__(self) -> str:
        return f"ProofExpectation({self.method!r}, {self.htu!r}, {self.now!r}, ***)"  # the nonce key is a secret


class VerifiedProof(NamedTuple):
    """A proof after every check but one: its `replay_digest` is still to be spent, until `replay_until`."""

    jkt: str
    jti: str
    issued_at: int
    replay_digest: bytes
    replay_until: int


def proof_header(headers: Headers) -> str | None:
    """The DPoP header field, if any; raises as `proof_octets`."""
    proof = proof_octets(headers)
    return None if proof is None else proof.decode("ascii")


def proof_octets(headers: Headers) -> bytes | None:
    """The DPoP header field as it came, if any.

    Raises:
        InvalidDpopProof: it is repeated, a list, or empty (RFC 9449 §4.3 (1), DPOP-1).
    """
    try:
        proof = once(headers, b"dpop")
    except InvalidRequest as error:
        raise InvalidDpopProof(f"DPoP header: {error.detail}") from None
    if proof is None:
        return None
    if not proof or proof.translate(None, _COMPACT):  # (1) one field with one value; a list has commas or spaces
        raise InvalidDpopProof("DPoP header: empty, a list, or no compact JWS")
    return proof


def verify_proof(proof: str | bytes, *, expect: ProofExpectation, keys: ProofKeys) -> VerifiedProof:
    """Every check of RFC 9449 §4.3, numbered as there; (1) is `proof_header`.

    Raises:
        InvalidDpopProof: one of the checks failed.
        UseDpopNonce: all is right but the nonce, which is therefore judged last.
    """
    try:
        # (2) a single well-formed JWT
        header_segment, payload, signing_input, signature = jws.split(proof, max_length=PROOF_LIMIT)
        known = keys.get(header_segment)
        key = _key_of(header_segment) if known is None else known
        if not key.verify(signature, signing_input):  # (6) the signature, by the key in the header
            raise InvalidDpopProof("signature")
        if known is None:
            keys.remember(header_segment, key)
        claims = jws.parse_claims(payload)
    except InvalidJws as error:
        raise InvalidDpopProof(f"proof: {error.detail}") from None
    # (3) the required claims
    jti, htu = claims.get("jti"), claims.get("htu")
    if not isinstance(jti, str) or not 0 < len(jti) <= JTI_LIMIT:
        raise InvalidDpopProof("jti")
    if claims.get("htm") != expect.method:  # (8) the method, case-sensitive
        raise InvalidDpopProof("htm")
    if not isinstance(htu, str) or not htu_matches(htu, expect.htu):  # (9) the URI
        raise InvalidDpopProof("htu")
    issued_at = _issued_at(claims, expect)  # (11) the time
    if (ath := _expected_ath(expect)) is not None and claims.get("ath") != ath:
        raise InvalidDpopProof("ath")  # (12) the token; its binding to this key is judged with its confirmation
    jkt = key.thumbprint
    _check_nonce(claims, expect, jkt)  # (10) last: whoever fails above learns no nonce that would help
    return VerifiedProof(
        jkt, jti, issued_at, hashlib.sha256(f"{jkt}{jti}".encode()).digest(), issued_at + expect.max_age_seconds + 1
    )


def access_token_hash(access_token: str) -> str:
    """RFC 9449 §4.2 `ath`: base64url of SHA-256 over the token exactly as received."""
    return base64url.encode(hashlib.sha256(access_token.encode("ascii")).digest())


def _expected_ath(expect: ProofExpectation) -> str | None:
    if expect.ath is None and expect.access_token is not None:
        return access_token_hash(expect.access_token)
    return expect.ath


def _key_of(header_segment: bytes) -> PublicJwk:
    """The key in a proof's header."""
    header = jws.parse_header(header_segment)
    jws.check_type(header, _TYPES, required=True)  # (4) typ
    algorithm = jws.check_algorithm(header, _ALGORITHMS)  # (5) alg
    members = header.get("jwk")
    if not isinstance(members, dict):  # (3) jwk is required
        raise InvalidDpopProof("jwk is missing")
    try:
        key = parse_public(members)  # (7) the jwk carries no private key
    except InvalidJwk as error:
        raise InvalidDpopProof(f"jwk: {error.detail}") from None
    if key.algorithm != algorithm:
        raise InvalidDpopProof("alg does not fit the key")
    if "kid" in header and header["kid"] != (members.get("kid") or header["kid"]):
        raise InvalidDpopProof("two names for the key")  # DPA-05
    return key


def _issued_at(claims: dict[str, object], expect: ProofExpectation) -> int:
    issued_at = jws.numeric_date(claims.get("iat"))
    if issued_at is None:
        raise InvalidDpopProof("iat")
    if issued_at > expect.now + expect.max_future_seconds:
        raise ProofOutOfTime("iat is ahead of the clock", iat_offset=issued_at - expect.now)
    if issued_at < expect.now - expect.max_age_seconds:
        raise ProofOutOfTime("iat is too old", iat_offset=issued_at - expect.now)
    if "exp" in claims:  # DPOP-17: not asked for, but meant when it is there
        expires_at = jws.numeric_date(claims["exp"])
        if expires_at is None or expires_at + _EXPIRY_LEEWAY <= expect.now:
            raise InvalidDpopProof("exp")
    if "nbf" in claims:
        not_before = jws.numeric_date(claims["nbf"])
        if not_before is None or not_before > expect.now + expect.max_future_seconds:
            raise InvalidDpopProof("nbf")
    return issued_at


def _check_nonce(claims: dict[str, object], expect: ProofExpectation, jkt: str) -> None:
    if expect.nonce_key is None:
        return
    offered = claims.get("nonce")
    if offered is None:
        raise UseDpopNonce("no nonce", jkt=jkt)
    if not isinstance(offered, str):
        raise InvalidDpopProof("nonce")
    if not nonce.check(expect.nonce_key, offered, now=expect.now, jkt=jkt, window_seconds=expect.nonce_window_seconds):
        raise UseDpopNonce("nonce is unknown or stale", jkt=jkt)


def make_proof(  # noqa: PLR0913 - a proof is made of these (RFC 9449 §4.2)
    key: jws.SigningKey,
    *,
    method: str,
    url: str,
    jti: str,
    issued_at: int,
    nonce: str | None = None,
    access_token: str | None = None,
) -> str:
    """A proof for one request; `jti` is fresh and comes from the caller's entropy.

    Raises:
        InvalidUri: `url` is not an absolute http(s) URI.
    """
    claims: dict[str, object] = {"jti": jti, "htm": method, "htu": normalise(url), "iat": issued_at}
    if nonce is not None:
        claims["nonce"] = nonce
    if access_token is not None:
        claims["ath"] = access_token_hash(access_token)
    header = {"alg": key.alg, "typ": "dpop+jwt", "jwk": dict(key.public.required)}
    return key.sign_segment(jws.encode_header(header), claims)
