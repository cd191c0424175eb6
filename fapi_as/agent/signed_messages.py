"""Messages that carry a signature: requests of ours as request objects (RFC 9101), responses as JWTs (JARM)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fapi_as.agent.back_channel import BackChannel
from fapi_as.agent.errors import MetadataRejected, ResponseRejected
from fapi_as.agent.steps import Exchange
from rs_kit.protocol import jws
from rs_kit.protocol.algorithms import canonical
from rs_kit.protocol.errors import InvalidJws
from rs_kit.protocol.jws import SigningKey, UnverifiedJws, VerifiedJws, numeric_date

_REQUEST_TYPE: Final = "oauth-authz-req+jwt"  # RFC 9101 §10.8: no other JWT of ours is one
_REQUEST_SECONDS: Final = 300  # FAPI 2.0 MS §5.3.2 allows an hour; it is pushed at once
_RESPONSE_TYPES: Final = frozenset({"JWT"})
_RESPONSE_LIMIT: Final = 8192
_LEEWAY_SECONDS: Final = 10  # for a clock that is a little ahead of the server's


def request_object(channel: BackChannel, key: SigningKey, parameters: Mapping[str, str]) -> str:
    """All parameters of an authorization request, signed for this issuer (FAPI 2.0 MS §5.3.2)."""
    now, client_id = channel.clock.now(), channel.identity.client_id
    claims: dict[str, object] = {
        **parameters,
        "client_id": client_id,
        "iss": client_id,
        "aud": channel.server.issuer,
        "jti": channel.entropy.identifier(),
        "iat": now,
        "nbf": now,
        "exp": now + _REQUEST_SECONDS,
    }
    if "max_age" in parameters:
        claims["max_age"] = int(parameters["max_age"])  # RFC 9101 §4: a number is a number
    return jws.sign(key, claims, typ=_REQUEST_TYPE)


def response_values(channel: BackChannel, values: Mapping[str, str], algorithm: str) -> Exchange[dict[str, str]]:
    """The parameters of a response that has to be a signed JWT, in the order of JARM §2.4.

    Nothing in it is looked at, not even an error, before issuer, audience, time and signature are right.

    Raises:
        ResponseRejected: no signed response, or one that is not for this client, by another issuer, or expired.
        AnswerRejected, MetadataRejected: the issuer's keys cannot be had.
    """
    if values.keys() != {"response"}:
        raise ResponseRejected("the authorization response is not one signed JWT, which was asked for")
    try:
        unverified = jws.parse_compact(
            values["response"],
            algorithms=frozenset({canonical(algorithm)}),
            types=_RESPONSE_TYPES,
            type_required=False,  # JARM names none
            max_length=_RESPONSE_LIMIT,
        )
        _check_claims(unverified.claims, channel)
        claims = (yield from verified(channel, unverified)).claims
    except InvalidJws as error:
        raise ResponseRejected(f"the signed authorization response cannot be believed: {error.detail}") from None
    if "sub" in claims or "nonce" in claims:  # an ID token has the same issuer, audience and signature (JARM §5)
        raise ResponseRejected("the signed authorization response is a token of another kind")
    return {name: value for name, value in claims.items() if isinstance(value, str)}


def verified(channel: BackChannel, unverified: UnverifiedJws) -> Exchange[VerifiedJws]:
    """Verify with the keys of the issuer that the channel leads to.

    Raises:
        InvalidJws: it was not signed by it.
        MetadataRejected: it publishes no keys.
    """
    jwks_uri = channel.server.jwks_uri
    if jwks_uri is None:
        raise MetadataRejected("the authorization server metadata has no jwks_uri")
    now = channel.clock.now()
    return (yield from channel.issuer_keys.verified(channel.server.issuer, jwks_uri, unverified, now))


def _check_claims(claims: Mapping[str, object], channel: BackChannel) -> None:
    if claims.get("iss") != channel.server.issuer:
        raise ResponseRejected("the authorization response does not come from the issuer that was asked")
    if claims.get("aud") not in (channel.identity.client_id, [channel.identity.client_id]):
        raise ResponseRejected("the signed authorization response is for another client")
    expires = numeric_date(claims.get("exp"))
    if expires is None or channel.clock.now() >= expires + _LEEWAY_SECONDS:
        raise ResponseRejected("the signed authorization response has expired, or does not say when it does")
