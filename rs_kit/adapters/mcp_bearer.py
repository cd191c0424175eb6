"""For servers that cannot be wrapped: the MCP SDK's own hook, which is shown a token and nothing of its request.

`MCPServer(name, token_verifier=BearerTokenVerifier(...), auth=AuthSettings(...), middleware=[second_line(policy)])`.
Such a server has plain bearer tokens, and whoever steals one can use it: wrap it with `protect` wherever that can be.
"""

from __future__ import annotations

from typing import Final

from mcp.server.auth.provider import AccessToken

from rs_kit.adapters.clock import SystemClock
from rs_kit.adapters.mcp import sdk_access_token
from rs_kit.adapters.observer import LoggingObserver
from rs_kit.ports import Clock, IssuerKeys, Observer, Refusal
from rs_kit.protocol.access_token import VerifiedAccessToken, present, verify_access_token
from rs_kit.protocol.errors import InvalidToken, ProtocolError, Unavailable

_LEEWAY_SECONDS: Final = 10  # AT-12: exp of a token that others issued


class BearerTokenVerifier:
    """The SDK's TokenVerifier for RFC 9068 access tokens: type, algorithm, signature, issuer, audience, time, no `cnf`.

    A token that is bound to a key or a certificate is refused: whether its holder presents it cannot be seen from here
    (RFC 9449 §7.2, RFC 8705 §3).

    Args:
        resource: the audience of the tokens, exactly.
        keys: of the one issuer whose tokens count.
    """

    def __init__(
        self, *, resource: str, keys: IssuerKeys, clock: Clock | None = None, observer: Observer | None = None
    ) -> None:
        self._resource = resource
        self._keys = keys
        self._clock: Clock = SystemClock() if clock is None else clock
        self._observer: Observer = LoggingObserver() if observer is None else observer

    async def verify_token(self, token: str) -> AccessToken | None:
        """Who calls, or None: the SDK answers 401."""
        try:
            try:
                verified = await self._verified(token)
            except ProtocolError:
                raise
            except Exception as error:
                raise Unavailable(f"unexpected {type(error).__name__}") from error  # a port that broke its promise
        except ProtocolError as error:
            self._observer.refused(Refusal(error=error, http_method="", path=""))
            return None
        return sdk_access_token(verified, self._resource)

    async def _verified(self, token: str) -> VerifiedAccessToken:
        unverified = present(token)
        if unverified.claims.get("iss") != self._keys.issuer:
            raise InvalidToken("iss is another issuer")  # before its kid can make us ask our issuer for keys
        verified = verify_access_token(
            unverified,
            keys=await self._keys.keys(unverified.kid),
            issuer=self._keys.issuer,
            audience=self._resource,
            now=self._clock.now(),
            leeway_seconds=_LEEWAY_SECONDS,
        )
        if verified.confirmation is not None:
            raise InvalidToken("the token is bound, and to whom cannot be seen here")
        return verified
