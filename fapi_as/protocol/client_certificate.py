"""Client certificates: which one a client registered, and whether a certificate is that one (RFC 8705 §2).

One comparison per kind of subject, and no other way to be the same:

- `subject_dn`: the whole subject as a distinguished name (fapi_as/protocol/distinguished_name.py);
- `san_dns`: a dNSName with the same ASCII characters, letter case aside; no wildcard, no common name (RFC 9525 §6.3);
- `san_uri`: a uniformResourceIdentifier with the same characters;
- `san_ip`: an iPAddress with the same octets, so an IPv4 address is not its IPv4-mapped IPv6 address;
- `san_email`: an rfc822Name with the same local part and, letter case aside, the same domain (RFC 5280 §7.5).

A certificate may have other names beside the one that is registered.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from fapi_as.protocol import distinguished_name
from fapi_as.protocol.distinguished_name import InvalidName
from fapi_as.protocol.metadata_members import wrong
from rs_kit.protocol import jwk
from rs_kit.protocol.confirmation import certificate_thumbprint
from rs_kit.protocol.errors import InvalidJwk

# what cryptography says of octets that are no certificate, or of a part of one; some of it says more of cryptography
UNREADABLE: Final = (
    ValueError,
    TypeError,
    KeyError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
CERTIFICATE_LIMIT: Final = 16 * 1024  # octets: some thousand names would cost their time at every request (MTL-17)
_SUBJECT_LIMIT: Final = 1024  # characters
_SERIAL_LIMIT: Final = 160  # bits, RFC 5280 §4.1.2.2
_CACHED: Final = 256
_CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DNS_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\Z")  # RFC 5280 §4.2.1.6, RFC 1034 §3.5
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9:/?#\[\]@!$&'()*+,;=._~-]|%[0-9A-Fa-f]{2})+\Z")
_LOCAL_PART: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}\Z")  # RFC 5321 §4.1.2, unquoted


class SubjectKind(StrEnum):
    """The metadata member that names the subject (RFC 8705 §2.1.2)."""

    DN = "tls_client_auth_subject_dn"
    DNS = "tls_client_auth_san_dns"
    URI = "tls_client_auth_san_uri"
    IP = "tls_client_auth_san_ip"
    EMAIL = "tls_client_auth_san_email"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSubject:
    """The one subject that a client's certificates have, as it was registered."""

    kind: SubjectKind
    value: str


class UnreadableCertificate(ValueError):
    """It is no certificate that anything could be said about; the message is the private reason."""


def registered_subject(members: Mapping[str, object]) -> CertificateSubject | None:
    """The subject that a registration names.

    Raises:
        InvalidClientMetadata: more than one (MTLS-4), or one that no certificate could have.
    """
    named = [kind for kind in SubjectKind if members.get(kind) is not None]
    if not named:
        return None
    if len(named) > 1:
        raise wrong("exactly one tls_client_auth subject may be registered")
    (kind,) = named
    value = members[kind]
    if not isinstance(value, str) or not 0 < len(value) <= _SUBJECT_LIMIT or not value.isprintable():
        raise wrong(f"{kind} must be a text of at most {_SUBJECT_LIMIT} characters")
    refusal = _IMPOSSIBLE[kind](value)
    if refusal is not None:
        raise wrong(f"{kind} {refusal}")
    return CertificateSubject(kind=kind, value=value)


def read(der: bytes) -> x509.Certificate:
    """The certificate in these octets.

    Raises:
        UnreadableCertificate: too large, not DER, or with a serial number that none may have.
    """
    if len(der) > CERTIFICATE_LIMIT:
        raise UnreadableCertificate("the certificate is too large")
    try:
        with warnings.catch_warnings():  # what is merely reported of a serial number is refused below
            warnings.simplefilter("ignore")
            certificate = x509.load_der_x509_certificate(der)
            serial = certificate.serial_number
            for part in ("extensions", "subject"):  # kept by the certificate, and read here in silence
                with contextlib.suppress(*UNREADABLE):  # whoever needs them is told
                    getattr(certificate, part)
    except UNREADABLE:
        raise UnreadableCertificate("the certificate is not readable") from None
    if not 0 < serial < 1 << _SERIAL_LIMIT:
        raise UnreadableCertificate("the certificate has no serial number that could be")
    return certificate


@lru_cache(maxsize=_CACHED)
def thumbprint(der: bytes) -> str:
    """The `x5t#S256` of a certificate (RFC 8705 §3.1)."""
    return certificate_thumbprint(der)


def key_refusal(certificate: x509.Certificate) -> str | None:
    """Why nobody is known by the key of this certificate, and nothing bound to it, or None (FAPI2-CR-4, FAPI2-CR-5)."""
    try:
        key = certificate.public_key()
    except UNREADABLE:
        return "a certificate has a key of an unknown kind"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return None if key.curve.name in _CURVES else "a certificate has a key on a weak curve"
    if not isinstance(key, rsa.RSAPublicKey | ed25519.Ed25519PublicKey):
        return "a certificate has a key of an unknown kind"
    try:
        jwk.from_public_key(key)  # the same rules as for registered keys: 2048 to 4096 bits, and not factored
    except InvalidJwk as error:
        return f"a certificate has a key that is too weak: {error.detail}"
    return None


@lru_cache(maxsize=_CACHED)
def binding_refusal(der: bytes) -> str | None:
    """Why no token may be bound to this certificate, or None; who vouches for it is nobody's question (RFC 8705 §3)."""
    try:
        return key_refusal(read(der))
    except UnreadableCertificate as error:
        return str(error)


def validity_refusal(certificate: x509.Certificate, now: int) -> str | None:
    """Why the certificate is not good at this time, or None (RFC 5280 §4.1.2.5)."""
    at = datetime.fromtimestamp(now, UTC)
    if at < certificate.not_valid_before_utc:
        return "the certificate is not valid yet"
    if at > certificate.not_valid_after_utc:
        return "the certificate has expired"
    return None


@lru_cache(maxsize=_CACHED)
def subject_refusal(subject: CertificateSubject, der: bytes) -> str | None:
    """Why this certificate is not for the registered subject, or None; nothing is said about who issued it."""
    try:
        certificate = read(der)
        is_named = _IS_NAMED[subject.kind](certificate, subject.value)
    except UNREADABLE:
        return "the names in the certificate are not readable"
    return None if is_named else f"the certificate is for another {subject.kind}"


def registered_refusal(der: bytes, registered: Sequence[bytes], now: int) -> str | None:
    """Why this certificate is none of those that a client registered, or None (RFC 8705 §2.2).

    Equal octets are the whole proof of identity: no issuer is asked. Its own dates are still believed (MTL-02).
    """
    if der not in registered:
        return "the certificate is not registered"
    try:
        return validity_refusal(read(der), now)
    except UnreadableCertificate as error:
        return str(error)


# --- what may be registered


def _impossible_dn(value: str) -> str | None:
    try:
        distinguished_name.parse(value)
    except InvalidName as error:
        return f"must be a distinguished name as in RFC 4514: {error}"
    return None


def _impossible_dns(value: str) -> str | None:
    if _DNS_NAME.match(value) is None or _is_ip(value):
        return "must be one host name in ASCII, without wildcards and without a dot at its end"
    return None


def _impossible_uri(value: str) -> str | None:
    return None if _URI.match(value) else "must be an absolute URI as in RFC 3986"


def _impossible_ip(value: str) -> str | None:
    return None if _is_ip(value) else "must be one IPv4 or IPv6 address, without a zone or a prefix length"


def _impossible_email(value: str) -> str | None:
    local, at, domain = value.rpartition("@")
    if not at or _LOCAL_PART.match(local) is None or _DNS_NAME.match(domain) is None:
        return "must be one address local@domain in ASCII, without a display name"
    return None


def _is_ip(value: str) -> bool:
    try:
        return "%" not in value and bool(ipaddress.ip_address(value).packed)
    except ValueError:
        return False


_IMPOSSIBLE: Final[Mapping[SubjectKind, Callable[[str], str | None]]] = {
    SubjectKind.DN: _impossible_dn,
    SubjectKind.DNS: _impossible_dns,
    SubjectKind.URI: _impossible_uri,
    SubjectKind.IP: _impossible_ip,
    SubjectKind.EMAIL: _impossible_email,
}


# --- the five comparisons


def _has_dn(certificate: x509.Certificate, value: str) -> bool:
    return distinguished_name.of_subject(certificate.subject) == distinguished_name.parse(value)


def _has_dns(certificate: x509.Certificate, value: str) -> bool:
    wanted = _ascii_lower(value)
    return any(_ascii_lower(name) == wanted for name in _names(certificate).get_values_for_type(x509.DNSName))


def _has_uri(certificate: x509.Certificate, value: str) -> bool:
    return value in _names(certificate).get_values_for_type(x509.UniformResourceIdentifier)


def _has_ip(certificate: x509.Certificate, value: str) -> bool:
    wanted = ipaddress.ip_address(value).packed
    addresses = _names(certificate).get_values_for_type(x509.IPAddress)
    return any(
        isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address) and address.packed == wanted
        for address in addresses
    )


def _has_email(certificate: x509.Certificate, value: str) -> bool:
    local, _, domain = value.rpartition("@")
    wanted = (local, _ascii_lower(domain))
    for address in _names(certificate).get_values_for_type(x509.RFC822Name):
        shown_local, _, shown_domain = address.rpartition("@")
        if (shown_local, _ascii_lower(shown_domain)) == wanted:
            return True
    return False


def _names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])


def _ascii_lower(value: str) -> str:
    # letters beyond ASCII keep their case, so that none of them folds to an ASCII one
    return value.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


_IS_NAMED: Final[Mapping[SubjectKind, Callable[[x509.Certificate, str], bool]]] = {
    SubjectKind.DN: _has_dn,
    SubjectKind.DNS: _has_dns,
    SubjectKind.URI: _has_uri,
    SubjectKind.IP: _has_ip,
    SubjectKind.EMAIL: _has_email,
}
