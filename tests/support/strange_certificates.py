"""Client certificates that no tool would make: too large, too many of something, or with bytes that mean nothing.

Each is signed by itself with a key that the client has; what is changed afterwards spoils only its own signature, which
nobody checks before the application does.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPrivateNumbers, RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

NAME: Final = "strange.example"
_EXTENSION: Final = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")
_SERIAL: Final = 0x41
_VERSION: Final = bytes.fromhex("a003020102")  # the serial number follows
_UTF8: Final = b"\x0c"
_BITS: Final = b"\x03"
_PRINTABLE: Final = b"\x13"  # a string of few characters
_RSA_EXPONENT: Final = 65_537
_MERSENNE: Final = (4_423, 9_941)  # 2**n - 1 is prime: a key of 14,364 bits without a search


@dataclass(frozen=True, slots=True, kw_only=True)
class Strange:
    """One such certificate and its key."""

    der: bytes
    key: EllipticCurvePrivateKey | RSAPrivateKey
    above: tuple[bytes, ...] = ()

    def shown_by(self, context: ssl.SSLContext, directory: Path) -> None:
        """Let a client show it; our own OpenSSL must not judge it first."""
        context.set_ciphers("ECDHE+AESGCM:@SECLEVEL=0")
        private = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file = directory / "strange.pem"
        chain = "".join(map(ssl.DER_cert_to_PEM_cert, (self.der, *self.above)))
        file.write_bytes(private + chain.encode())
        context.load_cert_chain(file)


def with_an_extension_of(size: int) -> Strange:
    """One extension that nobody knows."""
    return _made(x509.UnrecognizedExtension(_EXTENSION, b"\x04\x00" + b"x" * size))


def with_names(count: int) -> Strange:
    """Many subject alternative names."""
    return _made(x509.SubjectAlternativeName([x509.DNSName(f"{number}.example") for number in range(count)]))


def below_an_authority_with_constraints(count: int) -> Strange:
    """Many addresses, each to be compared with as many that its authority excludes: a million are the most at once."""
    addresses = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"u://{n}.a") for n in range(count)])
    excluded = [x509.UniformResourceIdentifier(f".{n}.b") for n in range(count)]
    constraints = x509.NameConstraints(permitted_subtrees=None, excluded_subtrees=excluded)
    above = _made(constraints, names=("root.example", "authority.example"), authority=True)
    below = _made(addresses, names=("authority.example", NAME))
    return Strange(der=below.der, key=below.key, above=(above.der,))


def with_a_key_of_14_kilobits() -> Strange:
    """An RSA key that takes long to check."""
    p, q = (2**exponent - 1 for exponent in _MERSENNE)
    private = pow(_RSA_EXPONENT, -1, (p - 1) * (q - 1))
    numbers = RSAPrivateNumbers(
        p=p,
        q=q,
        d=private,
        dmp1=private % (p - 1),
        dmq1=private % (q - 1),
        iqmp=pow(q, -1, p),
        public_numbers=RSAPublicNumbers(e=_RSA_EXPONENT, n=p * q),
    )
    return _made(key=numbers.private_key(unsafe_skip_rsa_key_validation=True))


def with_serial(number: bytes) -> Strange:
    """A serial number of this byte."""
    before = _VERSION + b"\x02\x01"
    return _changed(lambda der: der.replace(before + bytes([_SERIAL]), before + number))


def with_a_name_that_is_no_text() -> Strange:
    """A common name of bytes that its kind of string does not have."""
    length = bytes([len(NAME)])
    return _changed(lambda der: der.replace(_UTF8 + length + NAME.encode(), _PRINTABLE + length + b"\xff" * len(NAME)))


def with_a_name_of_bits() -> Strange:
    """A common name that is a string of bits, all of them used."""
    length = bytes([len(NAME)])
    bits = _BITS + length + b"\0" + NAME[1:].encode()
    return _changed(lambda der: der.replace(_UTF8 + length + NAME.encode(), bits))


def with_version(number: int) -> Strange:
    """A version of X.509 that nobody wrote down."""
    return _changed(lambda der: der.replace(_VERSION, _VERSION[:-1] + bytes([number])))


def with_a_name_with_nul() -> Strange:
    """A common name that ends early for whoever reads it as C does."""
    return _changed(lambda der: der.replace(NAME.encode(), NAME.replace(".", "\0").encode()))


KINDS: Final[dict[str, Callable[[], Strange]]] = {
    "an extension of 1 MiB": lambda: with_an_extension_of(1024 * 1024),
    "an extension of 90 KiB": lambda: with_an_extension_of(90 * 1024),
    "4096 names": lambda: with_names(4096),
    "a key of 14 kilobits": with_a_key_of_14_kilobits,
    "a million names to compare": lambda: below_an_authority_with_constraints(1000),
    "serial number zero": lambda: with_serial(b"\0"),
    "a negative serial number": lambda: with_serial(b"\x80"),
    "a name that is no text": with_a_name_that_is_no_text,
    "a name of bits": with_a_name_of_bits,
    "a name with NUL": with_a_name_with_nul,
    "X.509 version 5": lambda: with_version(4),
}


def _made(
    extension: x509.ExtensionType | None = None,
    key: EllipticCurvePrivateKey | RSAPrivateKey | None = None,
    *,
    names: tuple[str, str] = (NAME, NAME),
    authority: bool = False,
) -> Strange:
    key = key or generate_private_key(SECP256R1())
    issuer, subject = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in names)
    now, day = datetime.now(UTC), timedelta(days=1)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), _SERIAL, now - day, now + day)
    if authority:
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    if extension is not None:
        builder = builder.add_extension(extension, critical=False)
    return Strange(der=builder.sign(key, SHA256()).public_bytes(Encoding.DER), key=key)


def _changed(change: Callable[[bytes], bytes]) -> Strange:
    made = _made()
    return Strange(der=change(made.der), key=made.key)
