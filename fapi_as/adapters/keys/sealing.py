"""Sealing at rest: what the database keeps of a secret can be read by nobody who has only the database."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fapi_as.adapters.keys.private_file import UnusablePrivateFile, read_private_file
from fapi_as.adapters.store.sealed_payload import BrokenSeal
from fapi_as.ports import Entropy
from rs_kit.protocol import base64url

KEY_BYTES: Final = 32
_FORMAT: Final = b"\x01"  # the first octet of everything sealed, so that another key or cipher can follow
_NONCE_BYTES: Final = 12
_FILE_LIMIT: Final = 256  # octets; a key file has 44


class UnusableSealingKey(Exception):
    """The sealing key file is missing, readable by others or no key; the message is one sentence."""


class Sealing:
    """AES-256-GCM-SIV under a key derived from the sealing key (RFC 8452).

    The nonce is a digest of the associated data, which names one row and never comes again with another payload by
    accident; and with this cipher a repeated nonce shows no more than that two payloads are equal. So there is no
    limit of 2^32 messages as random nonces of AES-GCM would have.

    Args:
        key: 32 octets.
    """

    __slots__ = ("_cipher", "_key")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise UnusableSealingKey(f"the sealing key must have {KEY_BYTES} octets, it has {len(key)}")
        self._key = key
        self._cipher = AESGCMSIV(self.derive("seal", ""))

    def seal(self, payload: bytes, associated: bytes) -> bytes:
        """Encrypt a payload so that it opens with the same associated data only."""
        return _FORMAT + self._cipher.encrypt(_nonce(associated), payload, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """Decrypt a payload.

        Raises:
            BrokenSeal: it was not sealed by us for this row.
        """
        if sealed[:1] != _FORMAT:
            raise BrokenSeal("unknown format")
        try:
            return self._cipher.decrypt(_nonce(associated), sealed[1:], associated)
        except (InvalidTag, ValueError):
            raise BrokenSeal("the seal does not fit") from None

    def derive(self, purpose: str, tenant: str) -> bytes:
        """A key of 32 octets for one purpose and tenant, the same in every worker (RFC 5869)."""
        info = f"fapi-as:{len(purpose)}:{purpose}:{tenant}".encode()
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(self._key)


def _nonce(associated: bytes) -> bytes:
    return hashlib.sha256(associated).digest()[:_NONCE_BYTES]


def read_sealing_key(path: Path) -> bytes:
    """Read the sealing key from a file that only its owner can read.

    Raises:
        UnusableSealingKey: missing, no regular file, readable or writable by group or others, or not 32 octets.
    """
    try:
        content = read_private_file(path, "sealing key file", _FILE_LIMIT)
    except UnusablePrivateFile as error:
        raise UnusableSealingKey(str(error)) from None
    try:
        key = base64url.decode(content.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise UnusableSealingKey(f"the sealing key file {path} must hold {KEY_BYTES} octets as base64url")
    return key


def write_sealing_key(path: Path, entropy: Entropy) -> None:
    """Write a fresh sealing key to a new file with mode 0600.

    Raises:
        UnusableSealingKey: the file exists, or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise UnusableSealingKey(f"the sealing key file {path} exists, it is never overwritten") from None
    except OSError as error:
        raise UnusableSealingKey(f"the sealing key file {path} cannot be written: {error.strerror}") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(entropy.handle() + "\n")
        file.flush()
        os.fsync(file.fileno())
