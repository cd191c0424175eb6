"""Who asks, in the page's words: its name, where it stands, and whose word it is (LOG-22, CIMD-10, DCR-15): pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.registration import INITIAL_TOKEN_APPROVER

_OPERATOR: Final = "the operator of this service"
_TOKEN: Final = "a registration token of this service"  # noqa: S105 - words, not a secret


def client_words(client: RegisteredClient, redirect_uri: str, languages: tuple[str, ...]) -> Mapping[str, object]:
    """What is shown of a client; logos are never, because a picture persuades more than it tells.

    `document` is not shown: it is what a yes is bound to of a document, also one that is remembered (CIMD-14).
    """
    name, language = _name(client, languages)
    return {
        "client_name": name,
        "client_language": language,
        "client_id": client.client_id,
        "client_host": _document_host(client),
        "document": client.document_digest,
        "approved_by": _approved_by(client),
        "publisher": _publisher(client, redirect_uri),
    }


def is_assured(client: RegisteredClient, redirect_uri: str) -> bool:
    """Whether it is sure whom an earlier yes would speak for (NAT-3, CIMD-13).

    Nobody has looked at a document that no authority vouches for, and on a person's own machine any program may have
    taken the port that the answer goes to: they are asked about each time.
    """
    return _approved_by(client) is not None and urlsplit(redirect_uri).scheme == "https"


def _name(client: RegisteredClient, languages: tuple[str, ...]) -> tuple[str, str | None]:
    """RFC 7591 §2.2 by the look-up of RFC 4647 §3.4: the name without a language is what is left."""
    for language in languages:
        name = client.description.name_for(language)
        if name is not None:
            return name, language
    return client.client_name, None


def _document_host(client: RegisteredClient) -> str | None:
    return None if client.document_digest is None else urlsplit(client.client_id).netloc


def _approved_by(client: RegisteredClient) -> str | None:
    """Whose word it is that this client may be here; None: nobody's but its own."""
    if client.approval is None:
        return _OPERATOR if client.document_digest is None else None
    approver = client.approval.approver
    return _TOKEN if approver.startswith(INITIAL_TOKEN_APPROVER) else urlsplit(approver).netloc


def _publisher(client: RegisteredClient, redirect_uri: str) -> str | None:
    """The host of the client's home page; where an operator did not see it, only one that the answer goes to."""
    home = urlsplit(client.description.client_uri or "").hostname
    if home is None or (client.approval is None and client.document_digest is None):
        return home
    return home if _is_within(urlsplit(redirect_uri).hostname or "", home) else None


def _is_within(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")
