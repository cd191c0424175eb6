"""The document behind a sector_identifier_uri: which redirect URIs are one sector (OpenID Registration §5)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fapi_as.protocol.metadata_members import wrong
from rs_kit.protocol.strict_json import InvalidJson, parse

SECTOR_DOCUMENT_LIMIT: Final = 64 * 1024  # octets
_DEPTH: Final = 1


def require_sector(document: bytes, redirect_uris: Iterable[str]) -> None:
    """Every redirect URI of the client stands in the document, to the letter.

    Raises:
        InvalidClientMetadata: it is no array of strings, or one is missing.
    """
    try:
        listed = parse(document, max_depth=_DEPTH)
    except InvalidJson:
        listed = None
    if not isinstance(listed, list) or not all(isinstance(uri, str) for uri in listed):
        raise wrong("sector_identifier_uri: the document is no JSON array of redirect URIs")
    if not set(redirect_uris) <= set(listed):
        raise wrong("sector_identifier_uri: the document does not list every redirect URI")
