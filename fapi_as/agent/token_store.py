"""The stores that forget everything when the process ends."""

from __future__ import annotations

from collections import defaultdict
from contextlib import AbstractAsyncContextManager

import anyio

from fapi_as.agent.registered import Registration
from fapi_as.agent.tokens import TokenSet


class MemoryTokenStore:
    """Token sets in a dict; enough for an agent that may ask its person again after a restart."""

    def __init__(self) -> None:
        self._sets: dict[str, TokenSet] = {}
        self._locks: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)

    async def load(self, resource: str) -> TokenSet | None:
        """The set that was saved last for this resource."""
        return self._sets.get(resource)

    async def save(self, resource: str, tokens: TokenSet | None) -> None:
        """Replace the set; None forgets it."""
        if tokens is None:
            self._sets.pop(resource, None)
        else:
            self._sets[resource] = tokens

    def alone(self, resource: str) -> AbstractAsyncContextManager[None]:
        """Keep other agents of this process from renewing the set of this resource until the end of the block."""
        return self._locks[resource]


class MemoryRegistrationStore:
    """Registrations in a dict; an agent that starts anew registers anew, where its approver allows that."""

    def __init__(self) -> None:
        self._registrations: dict[str, Registration] = {}
        self._locks: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)

    async def load(self, issuer: str) -> Registration | None:
        """What was saved last for this issuer."""
        return self._registrations.get(issuer)

    async def save(self, issuer: str, registration: Registration | None) -> None:
        """Replace it; None forgets it."""
        if registration is None:
            self._registrations.pop(issuer, None)
        else:
            self._registrations[issuer] = registration

    def alone(self, issuer: str) -> AbstractAsyncContextManager[None]:
        """Keep other agents of this process from registering there until the end of the block."""
        return self._locks[issuer]
