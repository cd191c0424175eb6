"""JWT access tokens at the resource server (RFC 9068 §4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rs_kit.protocol import confirmation as confirmations
from rs_kit.protocol import jws
from rs_kit.protocol.algorithms import SIGNING_ALGORITHMS
from rs_kit.protocol.confirmation import Confirmation
from rs_kit.protocol.errors import InvalidJws, InvalidToken
from rs_kit.protocol.frozen_json import frozen
from rs_kit.protocol.jwk import PublicJwk

ACCESS_TOKEN_LIMIT: Final = 8 * 1024  # characters; our server gives out at most 6 KiB (RAR-19)
CLOCK_AHEAD_SECONDS: Final = 30  # iat and nbf, as everywhere (AT-12)
_TYPES: Final = frozenset({"at+jwt"})  # RFC 9068 §4; with or without application/
_ALGORITHMS: Final = frozenset(SIGNING_ALGORITHMS)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedAccessToken:
    """What the issuer says; `confirmation` None is a token that is bound to nobody.

    It is kept and shown to every call that brings the token, so nothing in it can be changed.
    """

    issuer: str
    subject: str
    client_id: str
    audience: tuple[str, ...]
    scope: frozenset[str]
    expires_at: int
    issued_at: int
    jti: str
    confirmation: Confirmation | None
    authorization_id: str | None = None
    claims: Mapping[str, object] = field(default_factory=dict, repr=False, hash=False)


def present(token: str) -> jws.UnverifiedJws:
    """Read a token as far as needed to find its issuer's key: `.kid` and, when several are trusted, `iss`.

    Raises:
        InvalidToken: not a JWT access token.
    """
    try:
        return jws.parse_compact(token, algorithms=_ALGORITHMS, types=_TYPES, max_length=ACCESS_TOKEN_LIMIT)
    except InvalidJws as error:
        raise InvalidToken(f"token: {error.detail}") from None


def verify_access_token(  # noqa: PLR0913 - the parties and the clock of one check, named at every call
    token: str | jws.UnverifiedJws,
    *,
    keys: Sequence[PublicJwk],
    issuer: str,
    audience: str,
    now: int,
    leeway_seconds: int,
) -> VerifiedAccessToken:
    """Signature, then claims, in the order of RSV-1; whether it must be bound is the caller's policy.

    Raises:
        InvalidToken: always the same public sentence, whatever is wrong.
    """
    unverified = present(token) if isinstance(token, str) else token
    try:
        claims = jws.verify(unverified, keys).claims
    except InvalidJws as error:
        raise InvalidToken(f"token: {error.detail}") from None
    if claims.get("iss") != issuer:
        raise InvalidToken("iss is another issuer")
    expires_at, issued_at = _times(claims, now, leeway_seconds)
    verified = VerifiedAccessToken(
        issuer=issuer,
        subject=_text(claims, "sub"),
        client_id=_text(claims, "client_id"),
        audience=_audience(claims),
        scope=_scope(claims),
        expires_at=expires_at,
        issued_at=issued_at,
        jti=_text(claims, "jti"),
        confirmation=confirmations.parse(claims["cnf"]) if "cnf" in claims else None,
        authorization_id=_text(claims, "authorization_id") if "authorization_id" in claims else None,
        claims=frozen(claims),
    )
    if audience not in verified.audience:  # exactly: no prefix, no normal form (RSV-4)
        raise InvalidToken("aud is another resource")
    return verified


def _times(claims: Mapping[str, object], now: int, leeway_seconds: int) -> tuple[int, int]:
    expires_at, issued_at = jws.numeric_date(claims.get("exp")), jws.numeric_date(claims.get("iat"))
    if expires_at is None or issued_at is None:
        raise InvalidToken("exp or iat is missing or no date")
    if expires_at + leeway_seconds <= now:
        raise InvalidToken("expired")
    if issued_at > now + CLOCK_AHEAD_SECONDS:
        raise InvalidToken("iat is ahead of the clock")
    if "nbf" in claims:
        not_before = jws.numeric_date(claims["nbf"])
        if not_before is None or not_before > now + CLOCK_AHEAD_SECONDS:
            raise InvalidToken("nbf")
    return expires_at, issued_at


def _text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidToken(f"{name} is missing or no string")
    return value


def _audience(claims: Mapping[str, object]) -> tuple[str, ...]:
    aud = claims.get("aud")
    if isinstance(aud, str):
        return (aud,)
    if not isinstance(aud, list) or not all(isinstance(value, str) for value in aud):
        raise InvalidToken("aud is missing or no string")
    return tuple(aud)


def _scope(claims: Mapping[str, object]) -> frozenset[str]:
    scope = claims.get("scope", "")
    if not isinstance(scope, str):
        raise InvalidToken("scope is no string")
    return frozenset(scope.split())
