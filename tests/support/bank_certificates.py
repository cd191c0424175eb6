"""Certificates for callers of the bank: good ones, and such as no authority would stand for."""

from __future__ import annotations

import itertools
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support.kit_over_http import Tls
from tests.support.peer_keys import b64

DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A certificate with its key, in a file as TLS clients load it."""

    file: Path
    der: bytes

    @property
    def thumbprint(self) -> str:
        return b64(sha256(self.der).digest())


class BankCertificates:
    """The bank's own certificate, and what callers may show; `directory` keeps the files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count(1)
        self.authority = trustme.CA()
        self.bank = str(self.issued("localhost").file)
        self.agent = self.issued("agent.example")
        self.somebody = self.issued("somebody.example")

    def issued(self, name: str, authority: trustme.CA | None = None, **options: Any) -> Shown:
        """By the authority, or by another one."""
        made = (authority or self.authority).issue_cert(name, **options)
        leaf = made.cert_chain_pems[0].bytes().decode()
        return self._kept(ssl.PEM_cert_to_DER_cert(leaf), made.private_key_and_cert_chain_pem.bytes())

    def signed_by_itself(
        self,
        name: str = "agent.example",
        *,
        valid: tuple[timedelta, timedelta] = (-DAY, DAY),
        usage: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.CLIENT_AUTH,
    ) -> Shown:
        """Chained to nothing; valid from and until so long after now, and for this purpose."""
        key, now = generate_private_key(SECP256R1()), datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        serial = x509.random_serial_number()
        builder = x509.CertificateBuilder(subject, subject, key.public_key(), serial, now + valid[0], now + valid[1])
        if usage is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
        made = builder.sign(key, SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self._kept(made.public_bytes(Encoding.DER), private + made.public_bytes(Encoding.PEM))

    def _kept(self, der: bytes, pem: bytes) -> Shown:
        file = self._directory / f"certificate-{next(self._numbers)}.pem"
        file.write_bytes(pem)
        return Shown(file=file, der=der)

    def client(self, shown: Shown | None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """The caller's side: it knows the bank's authority and shows this certificate."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if shown is not None:
            context.load_cert_chain(shown.file)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context

    def tls(self, shown: Shown | None, version: ssl.TLSVersion | None = None) -> Tls:
        """Both sides, where the bank asks for a certificate and takes any."""
        return Tls(server=self.bank, client=self.client(shown, version))
