"""What a certificate of a client, or of an authority that certifies clients, must be (RFC 5280 §4)."""

from __future__ import annotations

from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from fapi_as.protocol.client_certificate import UNREADABLE, key_refusal
from rs_kit.protocol import jwk

Extension = TypeVar("Extension", x509.BasicConstraints, x509.ExtendedKeyUsage, x509.KeyUsage)

_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})
_SIGNATURES: Final = frozenset(
    {
        SignatureAlgorithmOID.RSA_WITH_SHA256,
        SignatureAlgorithmOID.RSA_WITH_SHA384,
        SignatureAlgorithmOID.RSA_WITH_SHA512,
        SignatureAlgorithmOID.RSASSA_PSS,
        SignatureAlgorithmOID.ECDSA_WITH_SHA256,
        SignatureAlgorithmOID.ECDSA_WITH_SHA384,
        SignatureAlgorithmOID.ECDSA_WITH_SHA512,
        SignatureAlgorithmOID.ED25519,
    }
)


class Unfit(ValueError):
    """The certificate is not fit for what it is shown for; the message is the private reason."""


def require_client(certificate: x509.Certificate) -> None:
    """RFC 8705 §2.1: the certificate says itself that it is for a client, and of nothing more.

    Without an extended key usage a certificate would be for everything; it must name clientAuth, and "any" is not that.

    Raises:
        Unfit: for another purpose, of an authority, or with a key that is too weak.
    """
    _require_strong(certificate)
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise Unfit("the certificate is an authority's")
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    if purposes is None or ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
        raise Unfit("the certificate is not for clients: no extended key usage clientAuth")
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        raise Unfit("the certificate is not for signatures: no key usage digitalSignature")


def require_authority(certificate: x509.Certificate) -> None:
    """An authority, in a chain or as the end of all trust.

    Raises:
        Unfit: no authority, not for certifying clients, or with a key that is too weak.
    """
    _require_strong(certificate)
    _require_certifying(certificate)


def may_be_authority(certificate: x509.Certificate) -> bool:
    """Whether it could stand above another, told cheaply; in a chain that is found it is judged in full.

    What it takes to know that an RSA key is strong would be a peer's to multiply.
    """
    try:
        _require_certifying(certificate)
        key = certificate.public_key()
    except UNREADABLE:  # Unfit is among them
        return False
    return not isinstance(key, rsa.RSAPublicKey) or key.key_size <= jwk.RSA_BITS_LIMIT


def require_strong_signature(signed: x509.Certificate | x509.CertificateRevocationList) -> None:
    """Whoever can find a collision can make a second certificate of it (MTL-17).

    Raises:
        Unfit: MD5, SHA-1, or an algorithm that nobody here knows.
    """
    try:
        used = signed.signature_hash_algorithm
    except UNREADABLE:
        raise Unfit("it is signed with an unknown algorithm") from None
    if signed.signature_algorithm_oid not in _SIGNATURES or not _is_strong(used):
        raise Unfit("it is signed with a weak algorithm")


def may_sign_lists(certificate: x509.Certificate) -> bool:
    """Whether an authority may revoke (RFC 5280 §4.2.1.3)."""
    usage = _extension(certificate, x509.KeyUsage)
    return usage is None or usage.crl_sign


def _is_strong(used: hashes.HashAlgorithm | None) -> bool:
    return used is None or used.name in _HASHES  # Ed25519 has its own


def _require_strong(certificate: x509.Certificate) -> None:
    refusal = key_refusal(certificate)
    if refusal is not None:
        raise Unfit(refusal)


def _require_certifying(certificate: x509.Certificate) -> None:
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise Unfit("a certificate above it is no authority's")
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise Unfit("an authority may not sign certificates")
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    allowed = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if purposes is not None and allowed.isdisjoint(purposes):
        raise Unfit("an authority may not certify clients")


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except UNREADABLE:
        raise Unfit("a certificate has extensions that are not readable") from None
