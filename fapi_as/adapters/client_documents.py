"""The ClientDocuments port: clients that describe themselves in a document behind their client_id."""

from __future__ import annotations

from fapi_as.protocol.client import ClientUnavailable, RegisteredClient


class NoDocuments:
    """The port where a URL is nobody's client_id: nothing is ever fetched (CIMD-12)."""

    async def client(self, client_id: str) -> RegisteredClient:  # noqa: ARG002 - the port's signature
        """Nobody.

        Raises:
            ClientUnavailable: always.
        """
        raise ClientUnavailable("client ID metadata documents are switched off")
