"""Certificates of clients and of authorities, right in everything until a test changes one thing; no code of ours.

authority = Authority("Bank CA")                                  # a root; Authority(..., issuer=authority) is below it
shown = authority.issue(subject="CN=agent,O=Bank,C=GB")           # a client: certificate, key, and what stands above
shown = self_signed(subject="CN=agent")                           # one that chains to nothing
"""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.support.peer_keys import b64

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
DAY: Final = dt.timedelta(days=1)
EPOCH: Final = 1_800_000_000  # the NOW of tests.support.fakes; tests over real processes pass their own
CLIENT_AUTH: Final = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER_AUTH: Final = ExtendedKeyUsageOID.SERVER_AUTH
_ALL: Final = {
    "digital_signature": False,
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "key_cert_sign": False,
    "crl_sign": False,
    "encipher_only": False,
    "decipher_only": False,
}
_serials = iter(range(0x1000, 1 << 40))


def usage(**names: bool) -> x509.KeyUsage:
    return x509.KeyUsage(**{**_ALL, **names})


def dn(text: str) -> x509.Name:
    """A subject from its RFC 4514 text; cryptography's reading, which is not ours."""
    return x509.Name.from_rfc4514_string(text)


def sans(
    *, dns: Sequence[str] = (), uri: Sequence[str] = (), ip: Sequence[str] = (), email: Sequence[str] = ()
) -> list[x509.GeneralName]:
    return [
        *map(x509.DNSName, dns),
        *map(x509.UniformResourceIdentifier, uri),
        *(x509.IPAddress(ipaddress.ip_address(each)) for each in ip),
        *map(x509.RFC822Name, email),
    ]


@dataclass(frozen=True)
class Shown:
    """What a peer shows in its handshake: its certificate, what else it sends, and the key that it holds."""

    certificate: x509.Certificate
    key: Key
    above: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def chain(self) -> tuple[bytes, ...]:
        return tuple(each.public_bytes(serialization.Encoding.DER) for each in self.above)

    @property
    def x5t(self) -> str:
        return b64(self.certificate.fingerprint(hashes.SHA256()))

    def sending(self, *above: x509.Certificate) -> Shown:
        """The same with other certificates beside it."""
        return replace(self, above=above)

    def jwk(self, **more: Any) -> dict[str, Any]:
        """The JWK of the key, with the certificate as its x5c: what a self-signed client registers."""
        public = self.key.public_key()
        if isinstance(public, ec.EllipticCurvePublicKey):
            numbers = public.public_numbers()
            size = (public.curve.key_size + 7) // 8
            members: dict[str, Any] = {
                "kty": "EC",
                "crv": "P-256",
                "x": b64(numbers.x.to_bytes(size, "big")),
                "y": b64(numbers.y.to_bytes(size, "big")),
            }
        elif isinstance(public, rsa.RSAPublicKey):
            rsa_numbers = public.public_numbers()
            members = {"kty": "RSA", "n": _octets(rsa_numbers.n), "e": _octets(rsa_numbers.e)}
        else:
            members = {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes_raw())}
        return members | {"x5c": [base64.b64encode(self.der).decode()]} | more

    def write(self, directory: Path, name: str = "client") -> tuple[Path, Path]:
        """PEM files of the chain and of the key."""
        certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
        certificate.write_bytes(pem(self.certificate, *self.above))
        key.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        key.chmod(0o600)
        return certificate, key

    def load_into(self, context: ssl.SSLContext, directory: Path) -> ssl.SSLContext:
        """Let a TLS client show it."""
        context.load_cert_chain(*self.write(directory, f"shown-{self.certificate.serial_number:x}"))
        return context


def _octets(number: int) -> str:
    return b64(number.to_bytes((number.bit_length() + 7) // 8, "big"))


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def at(now: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(now, dt.UTC)


class Authority:
    """One that certifies; `issuer` is the one above it, None for a root."""

    def __init__(
        self,
        name: str | x509.Name = "CN=Test CA",
        *,
        issuer: Authority | None = None,
        now: int = EPOCH,
        key: Key | None = None,
        path_length: int | None = None,
        **changes: Any,
    ) -> None:
        self.now = now
        self.issuer = issuer
        self.key = key or ec_key()
        made = {
            "subject": name,
            "key": self.key,
            "eku": None,
            "constraints": x509.BasicConstraints(ca=True, path_length=path_length),
            "usage": usage(key_cert_sign=True, crl_sign=True),
            "days": 3650,
        } | changes
        above: Authority | None = issuer
        self.certificate = _certificate(above, now=now, **made)

    @property
    def above(self) -> tuple[x509.Certificate, ...]:
        """What a client sends so that a verifier gets from its certificate to the root, without the root."""
        return () if self.issuer is None else (self.certificate, *self.issuer.above)

    @property
    def shown(self) -> Shown:
        """Its own certificate, as if somebody showed it."""
        return Shown(certificate=self.certificate, key=self.key, above=self.above)

    def issue(self, subject: str | x509.Name = "CN=agent,O=Bank,C=GB", **changes: Any) -> Shown:
        """A client's certificate.

        Args:
            changes: `san`, `eku`, `usage`, `constraints` (None leaves the extension out), `extensions`, `key`, `days`,
                `begins` (days from now), `algorithm`, `serial`, `mangle` (a change of the signed DER).
        """
        key = changes.pop("key", None) or ec_key()
        made = _certificate(self, subject=subject, key=key, now=changes.pop("now", self.now), **changes)
        return Shown(certificate=made, key=key, above=self.above)

    def crl(
        self,
        *revoked: Shown | x509.Certificate,
        begins: float = -1,
        days: float | None = 1,
        key: Key | None = None,
        extension: x509.ExtensionType | None = None,
    ) -> bytes:
        """A revocation list in PEM."""
        now = at(self.now)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now + begins * DAY)
            .next_update(now + (days or 0) * DAY)
        )
        for each in revoked:
            certificate = each.certificate if isinstance(each, Shown) else each
            entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(now - DAY).build())
        if extension is not None:
            builder = builder.add_extension(extension, critical=True)
        signer = key or self.key
        return builder.sign(signer, _hash_for(signer)).public_bytes(serialization.Encoding.PEM)


def self_signed(subject: str | x509.Name = "CN=agent,O=Bank,C=GB", **changes: Any) -> Shown:
    """A certificate that chains to nothing; `key` and the other changes as for `Authority.issue`."""
    key = changes.pop("key", None) or ec_key()
    return Shown(certificate=_certificate(None, subject=subject, key=key, **changes), key=key)


def _hash_for(key: Key) -> Any:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def _certificate(
    authority: Authority | None,
    *,
    subject: str | x509.Name,
    key: Key,
    now: int = EPOCH,
    san: Sequence[x509.GeneralName] = (),
    eku: Sequence[x509.ObjectIdentifier] | None = (CLIENT_AUTH,),
    usage: x509.KeyUsage | None = usage(digital_signature=True),  # noqa: B008 - frozen
    constraints: x509.BasicConstraints | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    begins: float = -1,
    days: float = 30,
    algorithm: Any = None,
    serial: int | None = None,
    mangle: Callable[[bytes], bytes] | None = None,
) -> x509.Certificate:
    name = dn(subject) if isinstance(subject, str) else subject
    signer: Key = key if authority is None else authority.key
    issuer_name = name if authority is None else authority.certificate.subject
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(next(_serials) if serial is None else serial)
        .not_valid_before(at(now) + begins * DAY)
        .not_valid_after(at(now) + days * DAY)
    )
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    if usage is not None:
        builder = builder.add_extension(usage, critical=True)
    if eku is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(eku)), critical=False)
    if san:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(san)), critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    made = builder.sign(signer, algorithm or _hash_for(signer))
    if mangle is None:
        return made
    return x509.load_der_x509_certificate(_resigned(made, mangle, signer))


def _resigned(made: x509.Certificate, mangle: Callable[[bytes], bytes], signer: Key) -> bytes:
    """The certificate with other octets, signed again with an ECDSA key: what no builder would make."""
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    inner = mangle(made.tbs_certificate_bytes)
    whole = made.public_bytes(serialization.Encoding.DER)
    start = whole.index(made.tbs_certificate_bytes) + len(made.tbs_certificate_bytes)
    algorithm = whole[start : start + 2 + whole[start + 1]]
    signature = b"\x00" + signer.sign(inner, ec.ECDSA(hashes.SHA256()))
    return der_of(0x30, inner + algorithm + der_of(0x03, signature))


def resigned_der(shown: Shown, mangle: Callable[[bytes], bytes], authority: Authority) -> bytes:
    """The DER of a certificate whose octets nobody else would sign; it may be readable by nobody."""
    return _resigned(shown.certificate, mangle, authority.key)


def der_of(tag: int, content: bytes) -> bytes:
    """One DER value."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content
