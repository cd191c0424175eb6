"""Certificates for a laptop: a throw-away authority, two servers, two clients; never for anything that others reach."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import trustme
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

LIFETIME: Final = timedelta(days=90)
RENEWED_BEFORE_END: Final = timedelta(days=14)
_CLOCK_DIFFERENCE: Final = timedelta(hours=1)  # a container's clock may be a little behind
_SERVER_NAMES: Final = ("localhost", "127.0.0.1", "::1")
# P-256 for all: signing with RSA would be most of what a handshake costs a server
_IDENTITIES: Final[dict[str, tuple[str, ...]]] = {
    "authorization-server": _SERVER_NAMES,
    "mcp-server": _SERVER_NAMES,
    "agent": ("agent.localhost",),
    "other-agent": ("other-agent.localhost",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """Where a certificate chain and its private key are."""

    certificate: Path
    private_key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class DevCertificates:
    """One set, all signed by the same authority, whose own key was thrown away."""

    authority: Path
    authorization_server: CertificateFiles
    mcp_server: CertificateFiles
    agent: CertificateFiles
    other_agent: CertificateFiles
    expires_at: datetime
    renewed: bool


def ensure_dev_certificates(directory: Path, now: int) -> DevCertificates:
    """Give the set in this directory; write a new one when it is missing, incomplete, open to others or near its end.

    Raises:
        OSError: the directory cannot be written.
    """
    moment = datetime.fromtimestamp(now, UTC)
    authority = directory / "ca.pem"
    expires_at = _usable_until(directory, authority)
    renewed = expires_at is None or expires_at - moment < RENEWED_BEFORE_END
    if renewed:
        expires_at = _write(directory, authority, moment)
    files = {name: _files(directory, name) for name in _IDENTITIES}
    return DevCertificates(
        authority=authority,
        authorization_server=files["authorization-server"],
        mcp_server=files["mcp-server"],
        agent=files["agent"],
        other_agent=files["other-agent"],
        expires_at=expires_at or moment,
        renewed=renewed,
    )


def _files(directory: Path, name: str) -> CertificateFiles:
    return CertificateFiles(certificate=directory / f"{name}.pem", private_key=directory / f"{name}.key")


def _write(directory: Path, authority: Path, now: datetime) -> datetime:
    directory.mkdir(parents=True, exist_ok=True)
    # certificates carry whole seconds
    not_before, not_after = now - _CLOCK_DIFFERENCE, now + LIFETIME
    issuing = _authority(not_before, not_after)
    authority.unlink(missing_ok=True)  # last written: without it a half-written set is no set
    for name, identities in _IDENTITIES.items():
        leaf = issuing.issue_cert(
            *identities,
            common_name=name,
            organization_name="fapi-as development",
            organization_unit_name=name,
            not_before=not_before,
            not_after=not_after,
            key_type=trustme.KeyType.ECDSA,
        )
        files = _files(directory, name)
        _replace(files.private_key, leaf.private_key_pem.bytes(), 0o600)
        _replace(files.certificate, b"".join(pem.bytes() for pem in leaf.cert_chain_pems), 0o644)
    _replace(authority, issuing.cert_pem.bytes(), 0o644)
    return not_after


def _authority(not_before: datetime, not_after: datetime) -> trustme.CA:
    """An authority with real dates: trustme's own are valid for a thousand years and cannot be told otherwise."""
    eternal = trustme.CA(path_length=0, organization_name="fapi-as development", organization_unit_name="authority")
    private_key_pem = eternal.private_key_pem.bytes()
    template = x509.load_pem_x509_certificate(eternal.cert_pem.bytes())
    builder = (
        x509.CertificateBuilder()
        .subject_name(template.subject)
        .issuer_name(template.issuer)
        .public_key(template.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    for extension in template.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    private_key = load_pem_private_key(private_key_pem, password=None)
    certificate = builder.sign(private_key, hashes.SHA256())  # type: ignore[arg-type]  # trustme's key is EC
    return trustme.CA.from_pem(certificate.public_bytes(Encoding.PEM), private_key_pem)


def _replace(path: Path, content: bytes, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)


def _usable_until(directory: Path, authority: Path) -> datetime | None:
    """The first end of the whole set, or None when it is no set."""
    try:
        issuer = x509.load_pem_x509_certificate(authority.read_bytes())
        ends = [_leaf_end(_files(directory, name), issuer, identities) for name, identities in _IDENTITIES.items()]
    except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return None
    return min(issuer.not_valid_after_utc, *ends)


def _leaf_end(files: CertificateFiles, issuer: x509.Certificate, identities: tuple[str, ...]) -> datetime:
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    certificate.verify_directly_issued_by(issuer)
    if files.private_key.stat().st_mode & 0o077:
        raise ValueError("the key is open to others")
    private_key = load_pem_private_key(files.private_key.read_bytes(), password=None)
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if private_key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise ValueError("the key is of another certificate")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if {str(name.value) for name in names} != set(identities):
        raise ValueError("other names")
    return certificate.not_valid_after_utc
