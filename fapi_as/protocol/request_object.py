"""JAR: a signed request object becomes ordinary parameters (RFC 9101, RFC 9126 §3, FAPI 2.0 Message Signing §5.3.1)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.effects import TakeOnce
from fapi_as.protocol.errors import InvalidRequestObject
from fapi_as.protocol.handles import digest_of_jti
from fapi_as.protocol.parameters import Parameters
from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import (
    CLOCK_AHEAD,
    EXPIRY_LEEWAY,
    REQUEST_OBJECT_AGE,
    REQUEST_OBJECT_LIFETIME,
    REQUEST_OBJECT_LIMIT,
)
from rs_kit.protocol import jws
from rs_kit.protocol.algorithms import SIGNING_ALGORITHMS, canonical
from rs_kit.protocol.errors import InvalidJws, NoVerificationKey
from rs_kit.protocol.jwk import PublicJwk

_TYPES: Final = frozenset({"oauth-authz-req+jwt", "JWT"})  # MSG-REQ-5, JAR-15; absent is accepted, too
_ALGORITHMS: Final = frozenset(SIGNING_ALGORITHMS)
_JTI_LIMIT: Final = 1024  # characters, P7
_AHEAD: Final = seconds(CLOCK_AHEAD)
_LEEWAY: Final = seconds(EXPIRY_LEEWAY)
_AGE: Final = seconds(REQUEST_OBJECT_AGE)
_LIFETIME: Final = seconds(REQUEST_OBJECT_LIFETIME)
_REFUSED: Final = {
    "request": "request inside the object",  # RFC 9101 §4
    "request_uri": "request_uri inside the object",
    # RFC 9101 §10.8: no parameter has this name, and what has a subject is another kind of JWT
    "sub": "sub inside the object",
}
_STRUCTURES: Final[Mapping[str, type]] = {"authorization_details": list, "claims": dict, "registration": dict}
_STRINGS: Final = frozenset(
    {
        "acr_values",
        "claims_locales",
        "client_id",
        "code_challenge",
        "code_challenge_method",
        "display",
        "dpop_jkt",
        "id_token_hint",
        "login_hint",
        "nonce",
        "prompt",
        "redirect_uri",
        "response_mode",
        "response_type",
        "scope",
        "state",
        "ui_locales",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestObject:
    """What a client signed: its parameters, and what is spent with them where the object has a jti."""

    parameters: Parameters
    once: TakeOnce | None


def present(request: str) -> jws.UnverifiedJws:
    """Read the `request` parameter as far as needed to find the client's key.

    Raises:
        InvalidRequestObject: no compact JWS of this kind; nothing is ever decrypted (JAR-7) or fetched (JAR-6).
    """
    try:
        return jws.parse_compact(
            request,
            algorithms=_ALGORITHMS,
            types=_TYPES,
            type_required=False,
            max_length=REQUEST_OBJECT_LIMIT,
        )
    except InvalidJws as error:
        raise InvalidRequestObject(f"request object: {error.detail}") from None


def verify(
    presented: jws.UnverifiedJws, client: RegisteredClient, keys: Sequence[PublicJwk], *, issuer: str, now: int
) -> RequestObject:
    """Verify a request object of an authenticated client; every parameter of the request is what it says inside.

    Raises:
        InvalidRequestObject: not this client's, not for us, not now, or a claim that no parameter can be.
    """
    registered = client.request_object_signing_alg
    if registered is not None and presented.algorithm != canonical(registered):  # MSG-REQ-6
        raise InvalidRequestObject("request object: not the registered algorithm")
    try:
        claims = jws.verify(presented, keys).claims  # MSG-REQ-7: a kid selects among this client's keys only
    except (InvalidJws, NoVerificationKey) as error:
        raise InvalidRequestObject(f"request object: {error.detail}") from None
    refusal = _judge(claims, client.client_id, issuer) or _judge_times(claims, now)
    if refusal is not None:
        raise InvalidRequestObject(f"request object: {refusal}")
    return RequestObject(parameters=_parameters(claims), once=_once(claims, client.client_id))


def _judge(claims: Mapping[str, object], client_id: str, issuer: str) -> str | None:
    """The private reason why the object is not from this client to us, or None."""
    for name, reason in _REFUSED.items():
        if name in claims:
            return reason
    if claims.get("client_id") != client_id:  # MSG-REQ-8, RFC 9126 §3
        return "client_id is not the client"
    if claims.get("iss") != client_id:  # JAR-14
        return "iss is not the client"
    audience = claims.get("aud")  # MSG-REQ-2: unlike that of an assertion it may be one of several
    if audience != issuer and not (isinstance(audience, list) and issuer in audience and _are_strings(audience)):
        return "aud is not the issuer"
    return None


def _judge_times(claims: Mapping[str, object], now: int) -> str | None:
    """The private reason why the object does not hold now, or None."""
    not_before, expires_at = jws.numeric_date(claims.get("nbf")), jws.numeric_date(claims.get("exp"))
    if not_before is None or expires_at is None:
        return "nbf or exp is missing or no NumericDate"
    if not_before < now - _AGE:  # MSG-REQ-3
        return "nbf is too long ago"
    if not_before > now + _AHEAD:
        return "nbf is ahead of the clock"
    if expires_at + _LEEWAY <= now:
        return "expired"
    if not 0 < expires_at - not_before <= _LIFETIME:  # MSG-REQ-4
        return "exp is too far from nbf"
    issued_at = jws.numeric_date(claims.get("iat", 0))
    if issued_at is None or issued_at > now + _AHEAD:
        return "iat is no NumericDate or ahead of the clock"
    return None


def _parameters(claims: Mapping[str, object]) -> Parameters:
    """The claims as a form would have sent them; what is no parameter here is ignored (RFC 6749 §3.1).

    Raises:
        InvalidRequestObject: another JSON type than the parameter has; nothing is made to fit (MSG-REQ-16).
    """
    values: dict[str, str] = {}
    for name in _STRINGS & claims.keys():
        values[name] = _string(name, claims[name])
    if "max_age" in claims:
        values["max_age"] = str(_whole_number("max_age", claims["max_age"]))
    for name, kind in _STRUCTURES.items():
        if name in claims:
            if not isinstance(claims[name], kind):
                raise _wrong_type(name)
            values[name] = json.dumps(claims[name], ensure_ascii=False, separators=(",", ":"))
    resource = claims.get("resource", [])
    resources = resource if isinstance(resource, list) else [resource]
    return Parameters(
        # an empty value counts as omitted, as in a form
        values=MappingProxyType({name: value for name, value in values.items() if value}),
        resources=tuple(value for value in (_string("resource", item) for item in resources) if value),
    )


def _string(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong_type(name)
    return value


def _whole_number(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong_type(name)
    return value


def _wrong_type(name: str) -> InvalidRequestObject:
    return InvalidRequestObject(f"request object: JSON type of {name}")


def _are_strings(values: list[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _once(claims: Mapping[str, object], client_id: str) -> TakeOnce | None:
    """MSG-REQ-12: an object that names itself can be pushed once.

    Raises:
        InvalidRequestObject: a jti that is no name.
    """
    if "jti" not in claims:
        return None
    jti = claims["jti"]
    if not isinstance(jti, str) or not 0 < len(jti) <= _JTI_LIMIT:
        raise InvalidRequestObject("request object: jti is no string or too long")
    return TakeOnce(
        namespace="request_object",
        digest=digest_of_jti(client_id, jti),
        until=(jws.numeric_date(claims["exp"]) or 0) + _LEEWAY + 1,
    )
