"""Client ID metadata documents (draft-ietf-oauth-client-id-metadata-document): pure."""

from __future__ import annotations

import hashlib
import json
from typing import Final

from fapi_as.protocol.client import RegisteredClient

_SCHEME: Final = "https://"


def is_document_url(client_id: str) -> bool:
    """Whether a client_id belongs to the name space of documents; what we generate or pin never does (CIMD-11)."""
    return client_id[: len(_SCHEME)].lower() == _SCHEME


def binding_digest(client: RegisteredClient) -> str:
    """What a grant is bound to of a document; keys may rotate, nothing else here may change (CIMD-14)."""
    bound = {
        "client_id": client.client_id,
        "client_name": client.client_name,
        "redirect_uris": sorted(client.redirect_uris),
        "token_endpoint_auth_method": client.token_endpoint_auth_method,
        "jwks_uri": client.jwks_uri,
    }
    encoded = json.dumps(bound, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    return hashlib.sha256(encoded).hexdigest()
