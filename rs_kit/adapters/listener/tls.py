"""TLS as the listener offers it: versions, suites, a certificate that is renewed, and what the peer showed.

A client certificate is taken as it is: the handshake proves that the peer has its key and judges nothing else, since
an application can answer with a code and a sentence where TLS could only hang up.
"""

from __future__ import annotations

import logging
import ssl
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from OpenSSL import SSL, crypto

# RFC 9325 §4.2, RFC 10015: what is recommended for TLS 1.2 (FAPI2-NET-4); by the numbers of the IANA registry
_SUITES_1_2: Final = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": 0xC02B,
    "ECDHE-RSA-AES128-GCM-SHA256": 0xC02F,
    "ECDHE-ECDSA-AES256-GCM-SHA384": 0xC02C,
    "ECDHE-RSA-AES256-GCM-SHA384": 0xC030,
}
_SUITES_1_3: Final = {
    "TLS_AES_256_GCM_SHA384": 0x1302,
    "TLS_CHACHA20_POLY1305_SHA256": 0x1303,
    "TLS_AES_128_GCM_SHA256": 0x1301,
}
_SUITES: Final = {**_SUITES_1_2, **_SUITES_1_3}
_OPTIONS: Final = (
    SSL.OP_NO_COMPRESSION
    | SSL.OP_NO_RENEGOTIATION
    | SSL.OP_CIPHER_SERVER_PREFERENCE
    # RFC 9325 §3.4: ticket keys must change, and OpenSSL's never do; a certificate is shown anew in every handshake
    | SSL.OP_NO_TICKET
)
# so that OpenSSL builds none, not even of two, whose names and constraints could be made to cost; -1 is its default
_NO_CHAIN: Final = -2
_PROTOCOL: Final = b"http/1.1"
_LOOK_SECONDS: Final = 1.0  # between two looks at the files
_CLIENT_CERTIFICATE_BYTES: Final = 32 * 1024  # with its chain; OpenSSL itself reads a hundred KiB and keeps them

_logger: Final = logging.getLogger("rs_kit.listener")


class UnusableCertificate(ValueError):
    """The certificate or the key of the listener cannot be used, and why."""


class MonstrousCertificate(ValueError):
    """What the peer showed is larger than we keep for the time of a connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerTls:
    """What a handshake agreed on and what the peer showed: certificates in DER, about which nothing is judged."""

    version: int
    suite: int
    server_certificate: str
    asked: bool
    certificate: bytes | None
    chain: tuple[bytes, ...]

    def extension(self) -> dict[str, Any]:
        """The ASGI TLS extension (version 0.2 of its specification)."""
        shown = () if self.certificate is None else (self.certificate, *self.chain)
        return {
            "server_cert": self.server_certificate,
            "client_cert_chain": tuple(ssl.DER_cert_to_PEM_cert(certificate) for certificate in shown),
            "client_cert_name": None if self.certificate is None else _subject(self.certificate),
            # never None beside a certificate: to an application that reads it, None means that somebody verified
            "client_cert_error": "only the possession of the key is verified" if shown else None,
            "tls_version": self.version,
            "cipher_suite": self.suite,
        }


class TlsContext:
    """One certificate and how it is offered; connections keep the one that they began with.

    Raises:
        UnusableCertificate: the files are no PEM, do not belong together, or the key is encrypted.
        OSError: a file cannot be read.
    """

    def __init__(self, certfile: str, keyfile: str, *, client_certificates: bool = False) -> None:
        self._asks = client_certificates
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(":".join(_SUITES_1_2).encode())
        context.set_tls13_ciphersuites(":".join(_SUITES_1_3).encode())
        context.set_options(_OPTIONS)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # an idle connection holds no buffers for records
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_alpn_select_callback(_select_protocol)
        if client_certificates:
            # nothing that is raised here would reach us: OpenSSL calls it
            context.set_verify(SSL.VERIFY_PEER, _accept)
            context.set_verify_depth(_NO_CHAIN)
        self.server_certificate = _load(context, Path(certfile), Path(keyfile))
        self._context = context

    def connection(self) -> SSL.Connection:
        """The server's side of one connection, over memory."""
        connection = SSL.Connection(self._context, None)
        connection.set_accept_state()
        return connection

    def peer(self, connection: SSL.Connection) -> PeerTls:
        """What a finished handshake came to.

        Raises:
            MonstrousCertificate: the certificates together are larger than we keep.
        """
        certificate, chain = _shown(connection) if self._asks else (None, ())
        return PeerTls(
            version=connection.get_protocol_version(),
            suite=_SUITES[connection.get_cipher_name() or ""],
            server_certificate=self.server_certificate,
            asked=self._asks,
            certificate=certificate,
            chain=chain,
        )


class RenewedTls:
    """The context of two files, made anew when they change: a certificate is replaced without a restart.

    A pair that cannot be used leaves the former one in place and is told once.

    Raises:
        UnusableCertificate, OSError: as `TlsContext`; there is no former pair yet.
    """

    def __init__(self, certfile: str, keyfile: str, *, client_certificates: bool = False) -> None:
        self._files = (Path(certfile), Path(keyfile))
        self._make = partial(TlsContext, certfile, keyfile, client_certificates=client_certificates)
        self._seen = self._stamps()  # before they are read: what changes meanwhile is seen the next time
        self._look_at = 0.0
        self._context = self._make()

    def context(self, now: float) -> TlsContext:
        """The context for a connection that begins now, on any clock that only goes forward."""
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            stamps = self._stamps()
            if stamps != self._seen:
                self._seen = stamps
                self._renew()
        return self._context

    def _renew(self) -> None:
        try:
            self._context = self._make()
        except (UnusableCertificate, OSError) as error:
            _logger.warning("%s cannot be used, the former certificate is shown: %s", self._files[0], error)
        else:
            _logger.info("the certificate in %s is shown from now on", self._files[0])

    def _stamps(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stamp(path) for path in self._files)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _load(context: SSL.Context, certfile: Path, keyfile: Path) -> str:
    """Put the pair into the context; gives the certificate itself as PEM."""
    chain, key = certfile.read_bytes(), keyfile.read_bytes()
    try:
        leaf, *others = x509.load_pem_x509_certificates(chain)
        context.use_certificate(leaf)
        for other in others:
            context.add_extra_chain_cert(other)
        context.use_privatekey(load_pem_private_key(key, None))  # type: ignore[arg-type]  # of other kinds: TypeError
        context.check_privatekey()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, SSL.Error, crypto.Error):
        raise UnusableCertificate(
            f"{certfile} and {keyfile} are no PEM files, do not belong together, or the key is encrypted"
        ) from None
    return leaf.public_bytes(Encoding.PEM).decode()


def _select_protocol(_: SSL.Connection, offered: list[bytes]) -> Any:
    return _PROTOCOL if _PROTOCOL in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def _accept(*_: object) -> bool:
    return True


def _shown(connection: SSL.Connection) -> tuple[bytes | None, tuple[bytes, ...]]:
    leaf = connection.get_peer_certificate()
    if leaf is None:
        return None, ()
    others = connection.get_peer_cert_chain() or ()  # on the server's side it does not begin with the leaf
    shown = [crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate) for certificate in (leaf, *others)]
    if sum(map(len, shown)) > _CLIENT_CERTIFICATE_BYTES:
        raise MonstrousCertificate
    return shown[0], tuple(shown[1:])


def _subject(certificate: bytes) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a serial number that is none would be told on stderr; the name is a name
            return x509.load_der_x509_certificate(certificate).subject.rfc4514_string()
    except (ValueError, TypeError, KeyError, x509.InvalidVersion):
        return None  # no name that could be told, whatever the bytes are; whoever needs more has the certificate
