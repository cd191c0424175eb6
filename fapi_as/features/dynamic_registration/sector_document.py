"""The one document that is read before a client is registered: that of its sector."""

from __future__ import annotations

from fapi_as.kernel.seam import Context
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.fetched_document import FetchFailed
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from fapi_as.protocol.sector_identifier import SECTOR_DOCUMENT_LIMIT, require_sector


async def require_sector_document(context: Context, client: RegisteredClient) -> None:
    """Whoever names a sector has the same names for people as all of it, so the sector has to name the client (ODCR-3).

    Nothing is fetched for a client that is not approved. What happened on the way is nobody's business outside.

    Raises:
        InvalidClientMetadata: the document cannot be had, or does not list every redirect URI.
    """
    uri = client.sector_identifier_uri
    if uri is None:
        return
    try:
        found = await context.fetch.get(uri, max_bytes=SECTOR_DOCUMENT_LIMIT)
    except FetchFailed as error:
        raise InvalidClientMetadata(
            f"sector_identifier_uri: {error}", "sector_identifier_uri: the document cannot be had"
        ) from None
    require_sector(found.body, client.redirect_uris)
