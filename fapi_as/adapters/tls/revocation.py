"""Lists of revoked certificates that an operator provides in a file (RFC 5280 §5); nothing is ever fetched."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fapi_as.adapters.tls.certificate_rules import Unfit, may_sign_lists, require_strong_signature
from fapi_as.protocol.client_certificate import UNREADABLE
from fapi_as.protocol.distinguished_name import Name, of_subject

_BEGIN: Final = b"-----BEGIN X509 CRL-----"
_END: Final = b"-----END X509 CRL-----"
_LIST_LIMIT: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class _List:
    revocations: x509.CertificateRevocationList
    issuer: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationLists:
    """The lists of one file.

    An authority is covered by the lists that have its name or its signature. Where there are some, one of them must be
    good now: signed by the authority, not weakly, within its dates and complete; else nobody of it is let in. What an
    authority without a list certified is not asked about.
    """

    lists: tuple[_List, ...]
    _signed: dict[tuple[int, bytes], bool] = field(default_factory=dict)

    @classmethod
    def parse(cls, pem: bytes) -> RevocationLists:
        """Read a PEM file of lists.

        Raises:
            ValueError: none, too many, or one that is not readable; then nobody knows whom it would have revoked.
        """
        blocks = [_BEGIN + block.partition(_END)[0] + _END for block in pem.split(_BEGIN)[1:]]
        if not 0 < len(blocks) <= _LIST_LIMIT:
            raise ValueError(f"must hold 1 to {_LIST_LIMIT} revocation lists in PEM")
        try:
            found = [x509.load_pem_x509_crl(block + b"\n") for block in blocks]
            return cls(lists=tuple(_List(revocations=each, issuer=of_subject(each.issuer)) for each in found))
        except UNREADABLE:
            raise ValueError("holds a revocation list that is not readable") from None

    def require_good(self, certificate: x509.Certificate, issuer: x509.Certificate, now: int) -> int | None:
        """See that nobody revoked a certificate, and tell until when that is known; None where nobody is asked.

        Raises:
            Unfit: it is revoked, or the lists that would say so are not good.
        """
        covering = [position for position in range(len(self.lists)) if self._covers(position, issuer)]
        if not covering:
            return None
        good = [self.lists[position].revocations for position in covering if self._is_good(position, issuer, now)]
        if not good:
            raise Unfit("the revocation list of the authority is expired or broken")
        if any(_is_revoked(each, certificate) for each in good):
            raise Unfit("the certificate is revoked")
        return min(int(each.next_update_utc.timestamp()) for each in good if each.next_update_utc is not None)

    def _covers(self, position: int, issuer: x509.Certificate) -> bool:
        try:
            named = self.lists[position].issuer == of_subject(issuer.subject)
        except UNREADABLE:
            named = True  # nobody can tell
        return named or self._is_signed(position, issuer)

    def _is_good(self, position: int, issuer: x509.Certificate, now: int) -> bool:
        revocations, at = self.lists[position].revocations, datetime.fromtimestamp(now, UTC)
        if revocations.next_update_utc is None or not revocations.last_update_utc <= at < revocations.next_update_utc:
            return False
        try:
            require_strong_signature(revocations)
            if any(extension.critical for extension in revocations.extensions):
                return False  # a part of the list, or only what changed: not all that this authority revoked
        except UNREADABLE:  # Unfit is among them
            return False
        return may_sign_lists(issuer) and self._is_signed(position, issuer)

    def _is_signed(self, position: int, issuer: x509.Certificate) -> bool:
        """Whether the authority signed this list; a signature is verified once for each pair."""
        key = issuer.public_key()
        known = (position, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        if known not in self._signed:
            try:
                self._signed[known] = self.lists[position].revocations.is_signature_valid(key)  # type: ignore[arg-type] # another kind of key is a TypeError
            except UNREADABLE:
                self._signed[known] = False
        return self._signed[known]


def _is_revoked(revocations: x509.CertificateRevocationList, certificate: x509.Certificate) -> bool:
    try:
        return revocations.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
    except UNREADABLE:
        return True  # an entry that is not readable may be this one
