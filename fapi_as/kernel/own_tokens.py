"""What this server signed and gets back: verified with the keys that it publishes, and no others."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, cast

from fapi_as.kernel.seam import Context
from fapi_as.protocol.errors import InvalidRequest
from fapi_as.protocol.id_token import ID_TOKEN_TYPE, IdTokenHint, hint_of
from fapi_as.protocol.profile import ID_TOKEN_HINT_LIMIT
from rs_kit.protocol import jws
from rs_kit.protocol.algorithms import SIGNING_ALGORITHMS
from rs_kit.protocol.errors import InvalidJws, NoVerificationKey
from rs_kit.protocol.jwk import PublicJwk, parse_public

_ALGORITHMS: Final = frozenset(SIGNING_ALGORITHMS)
_TYPES: Final = frozenset({ID_TOKEN_TYPE})


class HintOfAGoneKey(InvalidRequest):
    """Nobody can tell any more whether it was ours."""


def own_keys(context: Context) -> tuple[PublicJwk, ...]:
    """The published keys of this tenant: next, active and retiring.

    Raises:
        StorageUnavailable: the store cannot answer.
    """
    members = cast("list[dict[str, Any]]", context.signer.public_jwks()["keys"])
    return tuple(_parsed(tuple(sorted(key.items()))) for key in members)


@lru_cache(maxsize=256)
def _parsed(members: tuple[tuple[str, Any], ...]) -> PublicJwk:
    return parse_public(dict(members))


def id_token_hint(context: Context, token: str) -> IdTokenHint:
    """An ID token of ours as a hint: the signature counts, its time is over or not (OIDC-14, LOGO-2).

    Raises:
        HintOfAGoneKey: its key is not published, or not any more.
        InvalidRequest: not an ID token of this tenant.
        StorageUnavailable: the store cannot answer.
    """
    try:
        unverified = jws.parse_compact(token, algorithms=_ALGORITHMS, types=_TYPES, max_length=ID_TOKEN_HINT_LIMIT)
        claims = jws.verify(unverified, own_keys(context)).claims
    except NoVerificationKey as error:
        raise HintOfAGoneKey(f"id_token_hint: {error.detail}", "id_token_hint is not valid") from None
    except InvalidJws as error:
        raise _invalid(error.detail) from None
    hint = hint_of(claims, context.policy.issuer)
    if hint is None:
        raise _invalid("claims")
    return hint


def _invalid(detail: str) -> InvalidRequest:
    return InvalidRequest(f"id_token_hint: {detail}", "id_token_hint is not valid")
