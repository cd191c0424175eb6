"""The key of an authority that signs software statements on this machine: a file that only its owner can read."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from fapi_as.adapters.keys.private_file import UnusablePrivateFile, read_private_file
from rs_kit.protocol.errors import InvalidJwk
from rs_kit.protocol.jwk import PublicJwk, from_public_key
from rs_kit.protocol.jws import PrivateKey, SigningKey

_FILE_LIMIT: Final = 16 * 1024  # octets; RSA of 4096 bits has less than 4 KiB


class UnusableAuthorityKey(Exception):
    """The key file of an authority is missing, open to others or no key; the message is one sentence."""


def write_authority_key(path: Path) -> SigningKey:
    """Write a fresh P-256 key to a new file with mode 0600; its kid is its thumbprint (RFC 7638).

    Raises:
        UnusableAuthorityKey: the file exists, or cannot be written.
    """
    private_key = generate_private_key(SECP256R1())
    pem = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UnusableAuthorityKey(f"the key file {path} exists, it is never overwritten") from None
    except OSError as error:
        raise UnusableAuthorityKey(f"the key file {path} cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    return _named(private_key, ())


def read_authority_key(path: Path, published: Collection[PublicJwk] = ()) -> SigningKey:
    """Read a private key (PEM, not encrypted) from a file that only its owner can read.

    Its kid is the one under which it is published, or else its thumbprint.

    Raises:
        UnusableAuthorityKey: missing, no regular file, of another owner, readable or writable by others, or no key that
            may sign here.
    """
    try:
        private_key = load_pem_private_key(_content(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UnusableAuthorityKey(f"the key file {path} must hold one private key as PEM, not encrypted") from None
    if not isinstance(private_key, EllipticCurvePrivateKey | RSAPrivateKey | Ed25519PrivateKey):
        raise UnusableAuthorityKey(f"the key in {path} cannot sign here: key type")
    try:
        return _named(private_key, published)
    except InvalidJwk as error:
        raise UnusableAuthorityKey(f"the key in {path} cannot sign here: {error.detail}") from None


def _content(path: Path) -> bytes:
    try:
        return read_private_file(path, "key file", _FILE_LIMIT)
    except UnusablePrivateFile as error:
        raise UnusableAuthorityKey(str(error)) from None


def _named(private_key: PrivateKey, published: Collection[PublicJwk]) -> SigningKey:
    thumbprint = from_public_key(private_key.public_key(), kid=None).thumbprint
    kids = [key.kid for key in published if key.thumbprint == thumbprint]
    return SigningKey.from_private_key(private_key, kid=kids[0] if kids else thumbprint)
