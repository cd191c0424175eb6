"""What the authorization server tells an agent about its person (OIDC Core §5.3)."""

from __future__ import annotations

from typing import Any, Final

from fapi_as.agent.back_channel import BackChannel
from fapi_as.agent.errors import AnswerRejected, MetadataRejected, TokenRejected
from fapi_as.agent.exchange import json_object, refusal
from fapi_as.agent.signed_messages import verified
from fapi_as.agent.steps import Answer, Exchange
from fapi_as.agent.tokens import TokenSet
from rs_kit.protocol import jws
from rs_kit.protocol.algorithms import canonical
from rs_kit.protocol.errors import InvalidJws

_OK: Final = 200
_WHAT: Final = "userinfo endpoint"
_TYPES: Final = frozenset({"JWT"})
_LENGTH_LIMIT: Final = 32_768
_OF_AN_ID_TOKEN: Final = frozenset({"at_hash", "c_hash", "nonce"})


def told(channel: BackChannel, tokens: TokenSet) -> Exchange[dict[str, Any]]:
    """The claims about the person of these tokens, and about nobody else.

    Raises:
        TokenRejected: they are about another person than the ID token (OIDC Core §5.3.4), or nobody signed them.
        ServerRefused, AnswerRejected, MetadataRejected, NonceLoop: they cannot be had.
    """
    url = channel.server.userinfo_endpoint
    if url is None:
        raise MetadataRejected("the authorization server metadata has no userinfo_endpoint")
    answer = yield from channel.get(url, tokens, _WHAT)
    if answer.status != _OK:
        raise refusal(answer, _WHAT, {}, now=channel.clock.now())
    signed = channel.identity.userinfo_signed_response_alg
    claims = json_object(answer, _WHAT) if signed is None else (yield from _signed(channel, answer, signed))
    if tokens.subject is None or claims.get("sub") != tokens.subject:
        raise TokenRejected("the userinfo endpoint told about another person than the ID token; it was thrown away")
    return claims


def _signed(channel: BackChannel, answer: Answer, algorithm: str) -> Exchange[dict[str, Any]]:
    media_type = (answer.one("content-type") or "").partition(";")[0].strip().lower()
    if media_type != "application/jwt":
        raise AnswerRejected(f"the answer of the {_WHAT} is not signed, which was registered")
    try:
        unverified = jws.parse_compact(
            answer.body,
            algorithms=frozenset({canonical(algorithm)}),
            types=_TYPES,
            type_required=False,
            max_length=_LENGTH_LIMIT,
        )
        claims = (yield from verified(channel, unverified)).claims
    except InvalidJws as error:
        raise TokenRejected(f"the answer of the {_WHAT} cannot be believed: {error.detail}") from None
    if not _OF_AN_ID_TOKEN.isdisjoint(claims):  # the same issuer, audience, subject and signature
        raise TokenRejected(f"the answer of the {_WHAT} is a token of another kind")
    client_id = channel.identity.client_id
    if claims.get("iss") != channel.server.issuer or claims.get("aud") not in (client_id, [client_id]):
        raise TokenRejected(f"the answer of the {_WHAT} is by another issuer, or for another client")
    return dict(claims)
