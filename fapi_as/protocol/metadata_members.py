"""Reading the members of RFC 7591 metadata: one type each, and a refusal that names the member."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from fapi_as.protocol.outbound_url import InvalidOutboundUrl, parse_outbound_url
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


def fetched_uri(members: Mapping[str, object], name: str) -> str | None:
    """The URL of a document of the client's, read and never fetched here (FAPI2-JWKS-1, DCR-10).

    Raises:
        InvalidClientMetadata: no https URL in its one spelling, or an address that is not public.
    """
    value = members.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise wrong(f"{name} must be an https URL")
    try:
        parse_outbound_url(value)
    except InvalidOutboundUrl as error:
        raise wrong(f"{name}: {error}") from None
    return value
