"""ID tokens as a client judges them: all of OIDC Core §3.1.3.7, the signature too (FAPI 2.0 MS §5.6.2)."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fapi_as.agent.back_channel import BackChannel
from fapi_as.agent.errors import TokenRejected
from fapi_as.agent.signed_messages import verified
from fapi_as.agent.steps import Exchange
from fapi_as.agent.tokens import Granted
from rs_kit.protocol import base64url, jws
from rs_kit.protocol.algorithms import canonical
from rs_kit.protocol.errors import InvalidJws
from rs_kit.protocol.jws import numeric_date

_TYPES: Final = frozenset({"JWT"})
_LENGTH_LIMIT: Final = 16_384
_LEEWAY_SECONDS: Final = 10  # for our own clock against `exp` and `auth_time`
_AHEAD_SECONDS: Final = 30
_BEHIND_SECONDS: Final = 600  # an ID token comes fresh: an older one was kept by somebody
_SUBJECT: Final = re.compile(r"[ -~]{1,255}\Z")  # OIDC Core §2


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the request asked for; a refresh has no `nonce` of its own. Who had tokens before knows the `subject`."""

    nonce: str | None = None
    max_age: str | None = None
    acr_values: str | None = None
    subject: str | None = None


def subject_of(channel: BackChannel, granted: Granted, expected: Expected) -> Exchange[str]:
    """Whom the ID token of a token answer names, once all of it was checked.

    Raises:
        TokenRejected: it is missing, or must not be believed.
        AnswerRejected, MetadataRejected: the issuer's keys cannot be had.
    """
    if granted.id_token is None:
        raise TokenRejected("the token answer has no id_token, though openid was granted; it was thrown away")
    algorithm = canonical(channel.identity.id_token_signed_response_alg)
    try:
        unverified = jws.parse_compact(
            granted.id_token.reveal(),
            algorithms=frozenset({algorithm}),
            types=_TYPES,
            type_required=False,
            max_length=_LENGTH_LIMIT,
        )
        claims = (yield from verified(channel, unverified)).claims
    except InvalidJws as error:
        raise _rejected(f"it cannot be believed: {error.detail}") from None
    now = channel.clock.now()
    _check_parties(claims, channel)
    _check_times(claims, now)
    _check_request(claims, expected, now)
    _check_access_token(claims, granted.access_token.reveal(), algorithm)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not _SUBJECT.match(subject):
        raise _rejected("it names no usable sub")
    if expected.subject is not None and subject != expected.subject:  # OIDC Core §12.2
        raise _rejected("it is about another person than before")
    return subject


def _check_parties(claims: Mapping[str, object], channel: BackChannel) -> None:
    client_id = channel.identity.client_id
    if claims.get("iss") != channel.server.issuer:
        raise _rejected("it was issued by another issuer")
    if claims.get("aud") not in (client_id, [client_id]):  # one more audience is one that we do not trust
        raise _rejected("it is for another client, or for more than this one")
    if claims.get("azp", client_id) != client_id:
        raise _rejected("it was issued to another client (azp)")


def _check_times(claims: Mapping[str, object], now: int) -> None:
    expires, issued = numeric_date(claims.get("exp")), numeric_date(claims.get("iat"))
    if expires is None or now >= expires + _LEEWAY_SECONDS:
        raise _rejected("it has expired, or does not say when it does")
    if issued is None or not now - _BEHIND_SECONDS <= issued <= now + _AHEAD_SECONDS:
        raise _rejected("it was not issued just now: look at the clocks of this machine and of the server")


def _check_request(claims: Mapping[str, object], expected: Expected, now: int) -> None:
    nonce = claims.get("nonce")
    if expected.nonce is not None and (
        not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode())
    ):
        raise _rejected("it belongs to another request: nonce differs")
    if expected.max_age is not None:
        signed_in = numeric_date(claims.get("auth_time"))
        if signed_in is None or not now - int(expected.max_age) - _LEEWAY_SECONDS <= signed_in <= now + _AHEAD_SECONDS:
            raise _rejected("the person did not sign in as recently as was asked for (auth_time)")
    if expected.acr_values is not None and claims.get("acr") not in expected.acr_values.split():
        raise _rejected("the person did not sign in in a way that was asked for (acr)")


def _check_access_token(claims: Mapping[str, object], access_token: str, algorithm: str) -> None:
    """OIDC Core §3.1.3.6: half of the hash that the signature uses."""
    if "at_hash" not in claims:
        return
    digest = hashlib.sha512 if algorithm == "Ed25519" else hashlib.sha256
    whole = digest(access_token.encode("ascii")).digest()
    if claims["at_hash"] != base64url.encode(whole[: len(whole) // 2]):
        raise _rejected("it belongs to another access token (at_hash)")


def _rejected(why: str) -> TokenRejected:
    return TokenRejected(f"the ID token was thrown away, and the tokens with it: {why}")
