"""A peer in TLS 1.2 that asks to negotiate anew again and again and reads no answer: no tool does, so its records are
made by hand.
"""

from __future__ import annotations

import hmac
import itertools
import socket
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from OpenSSL import SSL

_HELLO: Final = b"\x01\0\0\0"  # a client that begins anew, and has nothing to say
_HANDSHAKE: Final = b"\x16\x03\x03"
_KEY_BYTES: Final = 16
_SALT: Final = slice(32, 36)  # behind the keys of both sides: the salt of the client


def negotiating(port: int) -> tuple[socket.socket, Callable[[], bytes]]:
    """A connection whose handshake is done, and what makes its next record."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=5)
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(b"ECDHE+AESGCM:!AES256")
    tls = SSL.Connection(context, plain)
    tls.set_connect_state()
    plain.setblocking(True)
    tls.do_handshake()
    master, client, server = tls.master_key(), tls.client_random(), tls.server_random()
    assert master is not None
    assert client is not None
    assert server is not None
    seed, digest, block = b"key expansion" + server + client, b"", b""
    for _ in range(2):  # RFC 5246 §5
        digest = hmac.digest(master, digest or seed, "sha256")
        block += hmac.digest(master, digest + seed, "sha256")
    cipher, salt, numbers = AESGCM(block[:_KEY_BYTES]), block[_SALT], itertools.count(1)

    def record() -> bytes:
        number = next(numbers).to_bytes(8)  # RFC 5288 §3
        sealed = number + cipher.encrypt(salt + number, _HELLO, number + _HANDSHAKE + len(_HELLO).to_bytes(2))
        return _HANDSHAKE + len(sealed).to_bytes(2) + sealed

    return plain, record
