"""The key set that a client publishes behind its jwks_uri (RFC 7517 §5, JOSE-31): pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fapi_as.protocol.client import ClientKeySet
from rs_kit.protocol import jwk, x5c
from rs_kit.protocol.errors import InvalidJwk
from rs_kit.protocol.strict_json import InvalidJson, parse_object

KEY_SET_LIMIT: Final = 64 * 1024  # octets, JOSE-33


class InvalidKeySet(Exception):
    """The document is no set of public keys; the message is the private reason."""


def parse_key_set(document: bytes) -> ClientKeySet:
    """The keys that may verify, and the certificates that they show; an entry that is none of ours is passed over.

    Raises:
        InvalidKeySet: no JWK set, too many keys, or a private key among them: then nobody knows whose the others are.
    """
    try:
        entries = parse_object(document).get("keys")
    except InvalidJson as error:
        raise InvalidKeySet(f"the key set is no strict JSON: {error}") from None
    if not isinstance(entries, list):
        raise InvalidKeySet("the document is no JWK set")
    if len(entries) > jwk.SET_LIMIT:
        raise InvalidKeySet(f"the key set has more than {jwk.SET_LIMIT} keys")
    keys: list[jwk.PublicJwk] = []
    certificates: list[bytes] = []
    for members in entries:
        if not isinstance(members, Mapping):
            raise InvalidKeySet("the document is no JWK set")
        if jwk.is_secret(members):
            raise InvalidKeySet("the key set shows a private or symmetric key")
        try:
            key, chain = jwk.parse_public(members), x5c.chain(members)
        except InvalidJwk:
            continue
        keys.append(key)
        certificates += chain[:1]
    return ClientKeySet(keys=tuple(keys), certificates=tuple(certificates))
