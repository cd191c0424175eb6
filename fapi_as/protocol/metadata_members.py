"""Reading the members of RFC 7591 metadata: one type each, and a refusal that names the member."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final
from urllib.parse import urlsplit

from rs_kit.protocol.algorithms import SIGNING_ALGORITHMS, canonical
from rs_kit.protocol.errors import ProtocolError

URI_LIMIT: Final = 2048  # characters
_ALGORITHMS_SENTENCE: Final = "must be PS256, ES256, Ed25519 or EdDSA"


class InvalidClientMetadata(ProtocolError):
    """RFC 7591 §3.2.2."""

    error: ClassVar[str] = "invalid_client_metadata"
    public: ClassVar[str] = "the client may not be registered as described"


def wrong(sentence: str) -> InvalidClientMetadata:
    """The refusal whose private reason may be told as it is."""
    return InvalidClientMetadata(sentence, sentence)


def strings(members: Mapping[str, object], name: str, absent: list[str]) -> list[str]:
    """A list of strings, each once.

    Raises:
        InvalidClientMetadata: another type.
    """
    value = members.get(name)
    if value is None:
        return absent
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise wrong(f"{name} must be a list of strings")
    return list(dict.fromkeys(value))


def boolean(members: Mapping[str, object], name: str, *, absent: bool = False) -> bool:
    """A boolean; the word "true" is none (MTLS-16).

    Raises:
        InvalidClientMetadata: another type.
    """
    value = members.get(name, absent)
    if not isinstance(value, bool):
        raise wrong(f"{name} must be true or false")
    return value


def algorithm(members: Mapping[str, object], name: str) -> str | None:
    """The name of a signature algorithm as it was sent; RS256 and none are never among them (FAPI2-CR-2).

    Raises:
        InvalidClientMetadata: another one.
    """
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or canonical(value) not in SIGNING_ALGORITHMS:
        raise wrong(f"{name} {_ALGORITHMS_SENTENCE}")
    return value


def https_uri(members: Mapping[str, object], name: str) -> str | None:
    """An https URI without user information and fragment.

    Raises:
        InvalidClientMetadata: another one.
    """
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > URI_LIMIT or not _is_https(value):
        raise wrong(f"{name} must be an https URL without user information and fragment")
    return value


def _is_https(uri: str) -> bool:
    if not uri.isascii() or not uri.isprintable() or " " in uri or "\\" in uri or "#" in uri:
        return False
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018 - raises when it is none
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc
