"""private_key_jwt: what a client assertion must say (RFC 7523 §3, RFC 10070, FAPI2-AS-9, PKJ-1 to PKJ-12)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from fapi_as.protocol.client import AuthenticatedClient, RegisteredClient
from fapi_as.protocol.client_metadata import PRIVATE_KEY_JWT
from fapi_as.protocol.effects import TakeOnce
from fapi_as.protocol.errors import InvalidClient
from fapi_as.protocol.handles import digest_of_jti
from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import (
    CLIENT_ASSERTION_CEILING,
    CLIENT_ASSERTION_LIMIT,
    CLOCK_AHEAD,
    EXPIRY_LEEWAY,
)
from rs_kit.protocol import jws
from rs_kit.protocol.algorithms import SIGNING_ALGORITHMS
from rs_kit.protocol.errors import InvalidJws, NoVerificationKey
from rs_kit.protocol.jwk import PublicJwk, parse_public

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_TYPES: Final = frozenset({"client-authentication+jwt", "JWT"})  # PKJ-7; absent is accepted, too
_ALGORITHMS: Final = frozenset(SIGNING_ALGORITHMS)
_ED25519_NAMES: Final = frozenset({"Ed25519", "EdDSA"})  # RFC 9864: two names of one algorithm
_JTI_LIMIT: Final = 1024  # characters, P7
_AHEAD: Final = seconds(CLOCK_AHEAD)
_LEEWAY: Final = seconds(EXPIRY_LEEWAY)
_CEILING: Final = seconds(CLIENT_ASSERTION_CEILING)
_EXAMPLE_KEYS: Final[tuple[Mapping[str, object], ...]] = (
    {
        "kty": "EC",  # RFC 7515 A.3
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    },
    {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},  # RFC 8037 A.2
    {
        "kty": "RSA",  # RFC 7638 3.1
        "e": "AQAB",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjB"
        "ZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8"
        "KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_"
        "xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedAssertion:
    """An assertion whose form is right and whose signature nobody has checked yet."""

    client_id: str
    unverified: jws.UnverifiedJws

    @property
    def kid(self) -> str | None:
        """The key that it names, if it names one."""
        kid = self.unverified.header.get("kid")
        return kid if isinstance(kid, str) else None


def present(assertion: str, *, client_id: str | None) -> PresentedAssertion:
    """Read an assertion as far as needed to find the client's keys.

    Raises:
        InvalidClient: not a compact JWS of ours, no subject, or a form `client_id` that differs (FAPI2-AS-23).
    """
    try:
        unverified = jws.parse_compact(
            assertion,
            algorithms=_ALGORITHMS,
            types=_TYPES,
            type_required=False,
            max_length=CLIENT_ASSERTION_LIMIT,
        )
    except InvalidJws as error:
        raise InvalidClient(f"assertion: {error.detail}") from None
    subject = unverified.claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise InvalidClient("assertion without sub")
    if client_id is not None and client_id != subject:
        raise InvalidClient("client_id differs from the assertion")
    return PresentedAssertion(client_id=subject, unverified=unverified)


def authenticate(
    presented: PresentedAssertion,
    client: RegisteredClient | None,
    keys: Sequence[PublicJwk],
    *,
    issuer: str,
    now: int,
) -> AuthenticatedClient:
    """Verify an assertion against a registration and the client's keys as they are now.

    Raises:
        InvalidClient: always the same public sentence, whatever is wrong (CA-3).
    """
    if client is None:
        _verify_for_nothing(presented.unverified)
        raise InvalidClient("unknown client")
    if client.token_endpoint_auth_method != PRIVATE_KEY_JWT:
        _verify_for_nothing(presented.unverified)
        raise InvalidClient("not the registered authentication method")
    verified = _verified(presented.unverified, keys)
    algorithm = verified.header.get("alg")
    if not _is_registered_algorithm(algorithm, client.token_endpoint_auth_signing_alg):
        raise InvalidClient("assertion: not the registered algorithm")
    refusal, expires_at = _judge(verified.claims, client.client_id, issuer, now)
    if refusal is not None:
        raise InvalidClient(f"assertion: {refusal}")
    jti = str(verified.claims["jti"])
    return AuthenticatedClient(
        registered=client,
        assertion_once=TakeOnce(
            namespace="client_assertion",
            digest=digest_of_jti(client.client_id, jti),
            until=expires_at + _LEEWAY + 1,
        ),
    )


def _verified(unverified: jws.UnverifiedJws, keys: Sequence[PublicJwk]) -> jws.VerifiedJws:
    try:
        return jws.verify(unverified, keys)
    except NoVerificationKey as error:
        _verify_for_nothing(unverified)
        raise InvalidClient(f"assertion: {error.detail}") from None
    except InvalidJws as error:
        raise InvalidClient(f"assertion: {error.detail}") from None


def _verify_for_nothing(unverified: jws.UnverifiedJws) -> None:
    """Cost what a wrong key costs, so that time does not tell which clients and keys there are (CA-3)."""
    _nobodys_keys()[unverified.algorithm].verify(unverified.signature, unverified.signing_input)


@lru_cache(maxsize=1)
def _nobodys_keys() -> Mapping[str, PublicJwk]:
    """One key for each algorithm; their answer is never asked for."""
    keys = map(parse_public, _EXAMPLE_KEYS)
    return {key.algorithm: key for key in keys}


def _is_registered_algorithm(algorithm: object, registered: str | None) -> bool:
    if registered is None or algorithm == registered:
        return True
    return algorithm in _ED25519_NAMES and registered in _ED25519_NAMES


def _judge(claims: Mapping[str, object], client_id: str, issuer: str, now: int) -> tuple[str | None, int]:
    """The private reason of the first claim that is wrong, or None; and `exp`."""
    if claims.get("iss") != client_id or claims.get("sub") != client_id:
        return "iss and sub must both be the client_id", 0
    if claims.get("aud") != issuer:  # a string equal to the issuer; a list never equals it (FAPI2-AS-9)
        return "aud must be the issuer as a string", 0
    expires_at, jti = jws.numeric_date(claims.get("exp")), claims.get("jti")
    if expires_at is None:
        return "exp is missing or no NumericDate", 0
    if expires_at + _LEEWAY <= now:
        return "expired", 0
    if expires_at > now + _CEILING + _AHEAD:
        return "exp is too far ahead", 0
    for name in ("iat", "nbf"):
        value = jws.numeric_date(claims.get(name, 0))
        if value is None:
            return f"{name} is no NumericDate", 0
        if value > now + _AHEAD:
            return f"{name} is ahead of the clock", 0
    if not isinstance(jti, str) or not 0 < len(jti) <= _JTI_LIMIT:
        return "jti is missing or too long", 0
    return None, expires_at
