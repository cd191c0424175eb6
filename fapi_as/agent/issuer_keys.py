"""The keys with which an issuer signs what it sends to its clients: fetched, bounded, and kept for a while."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fapi_as.agent.errors import AnswerRejected
from fapi_as.agent.exchange import json_object, send
from fapi_as.agent.steps import Exchange, Request
from rs_kit.protocol import jws
from rs_kit.protocol.errors import InvalidJwk, NoVerificationKey
from rs_kit.protocol.jwk import PublicJwk, usable_keys
from rs_kit.protocol.jws import UnverifiedJws, VerifiedJws

_OK: Final = 200
_WHAT: Final = "key set of the authorization server"
_HEADERS: Final = (("accept", "application/json, application/jwk-set+json"), ("accept-encoding", "identity"))
_MEDIA_TYPES: Final = frozenset({"application/json", "application/jwk-set+json"})  # RFC 7517 §8.5
_KEPT_SECONDS: Final = 300  # a key that the issuer took back is believed no longer
_PAUSE_SECONDS: Final = 30  # between two fetches for a kid that nobody knows: its sender may be anybody


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fetched:
    jwks_uri: str
    keys: tuple[PublicJwk, ...]
    at: int

    def is_older_than(self, seconds: int, now: int) -> bool:
        return not 0 <= now - self.at < seconds  # a clock that was set back makes it old as well


class IssuerKeys:
    """The newest key set of each issuer."""

    def __init__(self) -> None:
        self._sets: dict[str, _Fetched] = {}

    def verified(self, issuer: str, jwks_uri: str, token: UnverifiedJws, now: int) -> Exchange[VerifiedJws]:
        """Verify with the keys of this issuer; asks for them again when the key's name is new, but not each time.

        Raises:
            InvalidJws: no key of this issuer signed it.
            AnswerRejected, RedirectRefused: the keys cannot be had.
        """
        known = self._sets.get(issuer)
        if known is None or known.jwks_uri != jwks_uri or known.is_older_than(_KEPT_SECONDS, now):
            known = yield from self._fetched(issuer, jwks_uri, now)
        try:
            return jws.verify(token, known.keys)
        except NoVerificationKey:
            if not known.is_older_than(_PAUSE_SECONDS, now):
                raise
        known = yield from self._fetched(issuer, jwks_uri, now)
        return jws.verify(token, known.keys)

    def _fetched(self, issuer: str, jwks_uri: str, now: int) -> Exchange[_Fetched]:
        answer = yield from send(Request(method="GET", url=jwks_uri, headers=_HEADERS), _WHAT)
        if answer.status != _OK:
            raise AnswerRejected(f"the {_WHAT} cannot be had: status {answer.status}")
        try:
            keys = usable_keys(json_object(answer, _WHAT, media_types=_MEDIA_TYPES))
        except InvalidJwk:
            raise AnswerRejected(f"the {_WHAT} is no set of keys, or too large") from None
        self._sets[issuer] = _Fetched(jwks_uri=jwks_uri, keys=keys, at=now)
        return self._sets[issuer]
