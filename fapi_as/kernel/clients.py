"""Which client a client_id names: one that is registered, or one that describes itself in a document (CIMD-11)."""

from __future__ import annotations

from fapi_as.kernel.seam import Context
from fapi_as.protocol.client import ClientUnavailable, RegisteredClient
from fapi_as.protocol.client_document import is_document_url
from fapi_as.protocol.errors import TooManyRequests


async def find_client(context: Context, client_id: str, *, is_proved: bool = False) -> RegisteredClient | None:
    """The live client with this name; the two name spaces are never confused, and neither is asked for the other's.

    Raises:
        ClientUnavailable: it has a document, which cannot be had or used now.
        TooManyRequests: too much is being asked for of the document's host.
        StorageUnavailable: the store cannot answer.
    """
    if is_document_url(client_id):
        return await context.client_documents.client(client_id, is_proved=is_proved)
    return await context.reading.client(client_id)


async def standing_client(context: Context, client_id: str) -> RegisteredClient | None:
    """The same for what comes of a proved request: its page, its tokens; they only know whether there is one.

    Raises:
        StorageUnavailable: the store cannot answer.
    """
    try:
        return await find_client(context, client_id, is_proved=True)
    except (ClientUnavailable, TooManyRequests):
        return None
