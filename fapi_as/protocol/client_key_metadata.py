"""The keys that a client registers by value, and the certificates beside them (RFC 7591 §2, RFC 8705 §2.2.2)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final

from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.metadata_members import InvalidClientMetadata, wrong
from rs_kit.protocol import jwk, x5c
from rs_kit.protocol.errors import InvalidJwk

_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
_KEY_LIMIT: Final = 10  # DCR-11
_KEYS_SENTENCE: Final = "jwks must hold public signature keys only: RSA of 2048 to 4096 bits, P-256 or Ed25519"


def parse_keys(
    members: Mapping[str, object], jwks_uri: str | None
) -> tuple[tuple[jwk.PublicJwk, ...], tuple[bytes | None, ...]]:
    """The keys of an inline set, and beside each the certificate that its entry shows.

    Raises:
        InvalidClientMetadata: a key that is not public, strong and clear, or a jwks_uri beside them.
    """
    value = members.get("jwks")
    if value is None:
        return (), ()
    if jwks_uri is not None:
        raise wrong("jwks and jwks_uri exclude each other")  # FAPI2-CR-7
    entries = value.get("keys") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(entries, list) or not 0 < len(entries) <= _KEY_LIMIT:
        raise wrong(f"jwks must have 1 to {_KEY_LIMIT} keys")
    if any(isinstance(entry, Mapping) and not _PRIVATE_MEMBERS.isdisjoint(entry) for entry in entries):
        # whatever it is for: somebody has just shown a key that nobody may see
        raise wrong("jwks must not hold private or symmetric keys")
    try:
        keys = jwk.parse_set(value)
    except InvalidJwk as error:
        raise InvalidClientMetadata(f"jwks: {error.detail}", _KEYS_SENTENCE) from None
    shown = dict(filter(None, map(_certificate, entries)))
    return keys, tuple(shown.get((key.kid, key.thumbprint)) for key in keys)


def key_entries(client: RegisteredClient) -> list[dict[str, object]]:
    """The members of each key, and its certificate, as `parse_keys` reads them."""
    entries: list[dict[str, object]] = []
    for key, certificate in zip(client.keys, client.key_certificates, strict=True):
        chain = {} if certificate is None else {"x5c": [base64.b64encode(certificate).decode()]}
        entries.append({**key.to_jwk(), **chain})
    return entries


def _certificate(entry: Mapping[str, object]) -> tuple[tuple[str | None, str], bytes] | None:
    """The certificate that an entry shows for its key, by kid and thumbprint; None for what is no signature key."""
    if "x5c" not in entry:
        return None  # a key is not cheap to read, and every client is read with its keys
    try:
        key, chain = jwk.parse_public(entry), x5c.chain(entry)
    except InvalidJwk:
        return None
    return ((key.kid, key.thumbprint), chain[0]) if chain else None
