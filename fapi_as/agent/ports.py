"""What the agent needs from outside; clock_and_entropy.py and token_store.py bring the usual ones."""

from __future__ import annotations

import ssl
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from fapi_as.agent.registered import Registration
from fapi_as.agent.tokens import TokenSet
from rs_kit.protocol.jws import SigningKey


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> int:
        """Seconds since the epoch."""
        ...


class Entropy(Protocol):
    """The only source of randomness."""

    def identifier(self) -> str:
        """A fresh URL-safe string with at least 128 bits, for a `jti` (DPOP-CL-3)."""
        ...

    def secret(self) -> str:
        """A fresh URL-safe string with 256 bits, 43 characters: a code_verifier or a state."""
        ...

    def proof_key(self) -> SigningKey:
        """A fresh key for DPoP proofs; it may live in hardware."""
        ...


class Certificate(Protocol):
    """The certificate of a client, which may be renewed at any time; `ClientCertificate` reads it from files."""

    @property
    def context(self) -> ssl.SSLContext:
        """What an HTTP client that shows it takes as `verify`."""
        ...

    def thumbprint(self) -> str:
        """`x5t#S256` of what the next connection shows."""
        ...

    def is_shown_on(self, connection: object) -> bool:
        """Whether a connection, as its `ssl.SSLObject`, was made with the context."""
        ...

    def was_renewed_since(self, connection: object) -> bool:
        """Whether a connection shows what another certificate has replaced."""
        ...


class TokenStore(Protocol):
    """Where tokens outlive a process, one set per protected resource.

    A store must replace a set in one step: a crash leaves the old or the new one, never half (FAPI2-CL-6).
    """

    async def load(self, resource: str) -> TokenSet | None:
        """The set that was saved last for this resource."""
        ...

    async def save(self, resource: str, tokens: TokenSet | None) -> None:
        """Replace the set; None forgets it."""
        ...

    def alone(self, resource: str) -> AbstractAsyncContextManager[None]:
        """Keep all others that share this store from renewing the set of this resource until the end of the block.

        Whoever enters loads the set again first: another may have renewed it. What a process held ends with it.
        """
        ...


class RegistrationStore(Protocol):
    """Where registrations outlive a process, one per issuer and agent: what one issuer gave is for no other (MCP CL7).

    A store must replace a registration in one step, as a `TokenStore` does.
    """

    async def load(self, issuer: str) -> Registration | None:
        """What was saved last for this issuer."""
        ...

    async def save(self, issuer: str, registration: Registration | None) -> None:
        """Replace it; None forgets it."""
        ...

    def alone(self, issuer: str) -> AbstractAsyncContextManager[None]:
        """Keep all others that share this store from registering at this issuer until the end of the block."""
        ...
