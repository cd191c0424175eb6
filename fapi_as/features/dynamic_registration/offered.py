"""What this server must be able to do for a client before it registers it, and the one document that it reads first."""

from __future__ import annotations

from fapi_as.kernel.capabilities import authentication_methods
from fapi_as.kernel.seam import Context
from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.client_places import require_elsewhere
from fapi_as.protocol.fetched_document import FetchFailed
from fapi_as.protocol.metadata_members import InvalidClientMetadata, wrong
from fapi_as.protocol.sector_identifier import SECTOR_DOCUMENT_LIMIT, require_sector


def require_offered(context: Context, client: RegisteredClient) -> None:
    """A client that could never do what it registers for is told so now, and not at its first request.

    Raises:
        InvalidRedirectUri: a redirect URI at an address of ours.
        InvalidClientMetadata: another URL there, or a grant type, authentication method or binding that is not offered.
    """
    policy = context.policy
    require_elsewhere(client, (policy.issuer, policy.mutual_tls_url or policy.issuer))
    if not client.grant_types <= context.grants.keys():
        raise wrong(f"grant_types: this server offers {', '.join(sorted(context.grants))}")
    offered = authentication_methods(policy)
    if client.token_endpoint_auth_method not in offered:
        raise wrong(f"token_endpoint_auth_method: this server offers {', '.join(offered)}")
    if client.tls_client_certificate_bound_access_tokens and policy.mutual_tls_url is None:
        raise wrong("tls_client_certificate_bound_access_tokens: this server asks nobody for certificates")


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
