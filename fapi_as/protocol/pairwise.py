"""Under which name a client knows a person: the same for all, or one per sector (OpenID Connect Core §8)."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final
from urllib.parse import urlsplit

from fapi_as.protocol.client import RegisteredClient
from rs_kit.protocol import base64url

_THIS_MACHINE: Final = frozenset({"127.0.0.1", "::1"})  # the loopback redirect URIs that may be registered


def subject_for(client: RegisteredClient, subject: str, key: bytes) -> str:
    """The `sub` of every token and every answer that this client gets about this person (OIDC-60, OIDC-61).

    A keyed hash: without the key nobody tells whether two sectors speak of the same person.
    """
    if client.subject_type != "pairwise":
        return subject
    parts = (_sector_of(client), subject)
    message = b"".join(len(part.encode()).to_bytes(4) + part.encode() for part in parts)
    return base64url.encode(hmac.new(key, message, hashlib.sha256).digest())


def _sector_of(client: RegisteredClient) -> str:
    """§8.1: the host of sector_identifier_uri, else the one host of the redirect URIs.

    Everybody's programs have the person's own machine for a host: each of them is a sector of its own.
    """
    named = client.sector_identifier_uri or min(client.redirect_uris, default="")
    host = urlsplit(named).hostname
    return client.client_id if host is None or host in _THIS_MACHINE else host
