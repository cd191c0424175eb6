"""The certificates that a JWK may carry; the first one is for the same key (RFC 7517 §4.7)."""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509 import InvalidVersion, load_der_x509_certificate

from rs_kit.protocol import base64url
from rs_kit.protocol.errors import InvalidJwk

CHAIN_LIMIT: Final = 8  # certificates
CERTIFICATE_LIMIT: Final = 8 * 1024  # octets of one
_ENCODED_LIMIT: Final = (CERTIFICATE_LIMIT + 2) // 3 * 4


def chain(members: Mapping[str, object]) -> tuple[bytes, ...]:
    """The DER of each certificate in `x5c`, the key's own first; nothing about them is checked but their form.

    Raises:
        InvalidJwk: no list of certificates in base64, or too many, or too large.
    """
    if "x5c" not in members:
        return ()
    texts = members["x5c"]
    if not isinstance(texts, list) or not 0 < len(texts) <= CHAIN_LIMIT:
        raise InvalidJwk("x5c")
    return tuple(_der(text) for text in texts)


def public_key_of(certificate: bytes) -> CertificatePublicKeyTypes:
    """The key that a DER certificate is for.

    Raises:
        InvalidJwk: no certificate, or a key of a kind that nobody here knows.
    """
    try:
        return load_der_x509_certificate(certificate).public_key()
    except (ValueError, TypeError, KeyError, InvalidVersion, UnsupportedAlgorithm):
        raise InvalidJwk("x5c: no certificate") from None


def check_digests(members: Mapping[str, object], certificate: bytes) -> None:
    """`x5t` and `x5t#S256` are of the certificate that `x5c` shows (RFC 7517 §4.8, §4.9).

    Raises:
        InvalidJwk: one is of another certificate.
    """
    digests = {"x5t": hashlib.sha1(certificate, usedforsecurity=False), "x5t#S256": hashlib.sha256(certificate)}
    for name, digest in digests.items():
        if name in members and members[name] != base64url.encode(digest.digest()):
            raise InvalidJwk(f"{name} is of another certificate")


def _der(text: object) -> bytes:
    if not isinstance(text, str) or len(text) > _ENCODED_LIMIT:
        raise InvalidJwk("x5c")
    try:
        encoded = text.encode("ascii")
        der = binascii.a2b_base64(encoded, strict_mode=True)  # RFC 4648 §4: not the URL alphabet
    except ValueError:
        raise InvalidJwk("x5c is not base64") from None
    if binascii.b2a_base64(der, newline=False) != encoded:  # padding that pads nothing, bits that are no zeros
        raise InvalidJwk("x5c is not base64 in its one form")
    return der
