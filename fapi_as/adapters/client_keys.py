"""The keys of clients: what was registered by value is at hand."""

from __future__ import annotations

from fapi_as.protocol.client import ClientKeySet, KeysUnavailable, RegisteredClient


class RegisteredKeys:
    """The ClientKeys port for keys that were registered by value."""

    async def keys(self, client: RegisteredClient, kid: str | None) -> ClientKeySet:  # noqa: ARG002 - the port's signature
        """The registered set.

        Raises:
            KeysUnavailable: the client registered a jwks_uri.
        """
        if client.jwks_uri is not None:
            raise KeysUnavailable("jwks_uri is not fetched")
        return ClientKeySet(keys=client.keys, certificates=client.certificates)
