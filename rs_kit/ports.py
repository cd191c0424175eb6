"""What the guard needs from outside, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from rs_kit.protocol.access_token import VerifiedAccessToken
from rs_kit.protocol.errors import ProtocolError
from rs_kit.protocol.http import Headers
from rs_kit.protocol.jwk import PublicJwk


class AuthorizedCall(NamedTuple):
    """A call that passed every check; the token's value is not in it, so that it cannot be passed on (MCP-2).

    Attributes:
        resource: the audience under which the call was admitted.
        rpc_method: the JSON-RPC method of the body, None where there is no body.
        target: what the method names: the tool of tools/call, the prompt of prompts/get, the uri of resources/read.
        response_headers: to be added to the answer (RFC 9449 §8.2: the next nonce).
        iat_offset: seconds by which the proof's iat was ahead of our clock; negative when it was behind, None when the
            token needs no proof because it is bound to a certificate alone.
    """

    token: VerifiedAccessToken
    resource: str
    rpc_method: str | None
    target: str | None
    response_headers: Headers
    iat_offset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A call that was refused; `error.detail` is the private reason and never leaves the process.

    Attributes:
        token: the verified token, when the refusal came after it verified.
    """

    error: ProtocolError
    http_method: str
    path: str
    token: VerifiedAccessToken | None = None


class Clock(Protocol):
    """The source of time."""

    def now(self) -> int:
        """Seconds since the epoch (RFC 7519 NumericDate)."""
        ...


class IssuerKeys(Protocol):
    """The public keys of one issuer."""

    @property
    def issuer(self) -> str:
        """The issuer (RFC 8414 §2) whose keys these are."""
        ...

    def current(self) -> tuple[PublicJwk, ...] | None:
        """The set in force; None when it must be fetched first.

        The same object is given as long as the set has not changed: what was verified with it stays verified.
        """
        ...

    async def keys(self, kid: str | None) -> tuple[PublicJwk, ...]:
        """The set in force, fetched again when it does not know `kid` and the cool-down allows.

        Raises:
            Unavailable: there is no set that may still be trusted.
        """
        ...


class UsedOnce(Protocol):
    """Single use, shared by everything that accepts the same proofs (RFC 9449 §11.1)."""

    async def take(self, namespace: str, digest: bytes, *, until: int, now: int) -> bool:
        """Whether this is the first use; among any number of simultaneous callers exactly one is told True.

        Raises:
            Unavailable: the store cannot tell.
        """
        ...


class Observer(Protocol):
    """Told once about every admission and every refusal, before the answer is sent.

    An exception raised by `admitted` stops the call: what cannot be recorded does not happen.
    """

    def admitted(self, call: AuthorizedCall) -> None:
        """The call goes on to the application."""
        ...

    def refused(self, refusal: Refusal) -> None:
        """The call was answered by the kit."""
        ...
