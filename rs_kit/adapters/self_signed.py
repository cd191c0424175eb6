"""Certificates that chain to nothing, for the tests of those who take them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from rs_kit.protocol.confirmation import certificate_thumbprint

_VALIDITY: Final = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCertificate:
    """A self-signed certificate and its key: DER as a listener sees it, PEM as a TLS client loads the two."""

    __test__: ClassVar[bool] = False  # for pytest: a tool of tests, not a class of them

    der: bytes
    pem: str
    key_pem: str = field(repr=False)

    @property
    def thumbprint(self) -> str:
        """What a token that is bound to it says as `cnf.x5t#S256`."""
        return certificate_thumbprint(self.der)


def new_certificate(name: str = "agent") -> TestCertificate:
    """A fresh certificate that chains to nothing, which is all that a resource server needs (RFC 8705 §3)."""
    key = generate_private_key(SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number(), *_VALIDITY)
    made = builder.sign(key, SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return TestCertificate(
        der=made.public_bytes(Encoding.DER), pem=made.public_bytes(Encoding.PEM).decode(), key_pem=private.decode()
    )
