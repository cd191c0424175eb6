"""Whom a tenant trusts to certify its clients (RFC 8705 §2.1).

A chain is built with OpenSSL from the certificate, what else the peer sent, and the tenant's authorities: signatures,
dates, path lengths and name constraints (RFC 5280 §6.1). What OpenSSL would let pass is judged here as well: the
purpose of every certificate, the strength of keys and signatures. No address that a certificate names is ever visited.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from OpenSSL import crypto

from fapi_as.adapters.tls.certificate_rules import (
    Unfit,
    may_be_authority,
    require_authority,
    require_client,
    require_strong_signature,
)
from fapi_as.adapters.tls.revocation import RevocationLists
from fapi_as.adapters.tls.watched_file import UnusableFile, WatchedFile
from fapi_as.protocol.client_certificate import UNREADABLE, UnreadableCertificate, read, validity_refusal

CHAIN_LIMIT: Final = 8  # certificates that a peer sent beside its own
PATH_LIMIT: Final = 6  # certificates from the client's to the authority's, both included
KEPT: Final = 1024
_AUTHORITY_LIMIT: Final = 256

Authorities = tuple[crypto.X509, ...]  # as OpenSSL has them, made once


class NoTrust:
    """The CertificateTrust port of a tenant that trusts no authority: nobody is known by a certificate alone."""

    def refusal(self, leaf: bytes, chain: tuple[bytes, ...], now: int) -> str | None:  # noqa: ARG002 - the port's signature
        """The same reason for every certificate."""
        return "no authority is trusted"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Accepted:
    since: int
    until: int


class ClientTrust:
    """The CertificateTrust port over two files, each read again when it changes; while one is broken nobody is trusted.

    What was accepted is kept by the digest of all that was verified, no longer than the first date that ends it; what
    was refused, for the second in which it was.

    Args:
        authorities: PEM certificates, each trusted as the end of a chain.
        revocations: PEM revocation lists.
    """

    def __init__(self, authorities: Path, revocations: Path | None = None) -> None:
        self._authorities = WatchedFile(authorities, parse_authorities)
        self._revocations = None if revocations is None else WatchedFile(revocations, RevocationLists.parse)
        self._judged_by: tuple[object, object] = (None, None)
        self._accepted: dict[bytes, _Accepted] = {}
        self._refused: dict[bytes, str] = {}
        self._refused_at = 0

    @classmethod
    def open(cls, authorities: Path, revocations: Path | None = None) -> Self:
        """Trust what the files say, which must be readable now.

        Raises:
            UnusableFile: one of them is not.
        """
        trust = cls(authorities, revocations)
        trust._rules()
        return trust

    def refusal(self, leaf: bytes, chain: tuple[bytes, ...], now: int) -> str | None:
        """The private reason why this certificate proves nobody, or None."""
        try:
            authorities, revocations = self._rules()
        except UnusableFile as error:
            return str(error)
        digest = _digest(leaf, chain)
        accepted = self._accepted.get(digest)
        if accepted is not None and accepted.since <= now < accepted.until:
            return None
        known = self._known_refusal(digest, now)
        if known is not None:
            return known
        try:
            path = _path(leaf, chain, authorities, now)
            until = _judge(path, revocations, now)
        except (Unfit, UnreadableCertificate) as error:
            self._refused[digest] = str(error)
            return str(error)
        while len(self._accepted) >= KEPT:
            del self._accepted[next(iter(self._accepted))]
        self._accepted[digest] = _Accepted(since=now, until=until)
        return None

    def _known_refusal(self, digest: bytes, now: int) -> str | None:
        """What was said in this very second: one connection cannot ask for the same chain a thousand times in it."""
        if self._refused_at != now or len(self._refused) >= KEPT:
            self._refused_at = now
            self._refused.clear()
        return self._refused.get(digest)

    def _rules(self) -> tuple[Authorities, RevocationLists | None]:
        authorities = self._authorities.current()
        revocations = None if self._revocations is None else self._revocations.current()
        if self._judged_by[0] is not authorities or self._judged_by[1] is not revocations:
            self._judged_by = (authorities, revocations)
            self._accepted.clear()
            self._refused.clear()
        return authorities, revocations


def parse_authorities(pem: bytes) -> Authorities:
    """The certificates of a PEM file.

    Raises:
        ValueError: none, too many, or one that may not certify clients.
    """
    try:
        found = x509.load_pem_x509_certificates(pem)
    except UNREADABLE:
        raise ValueError("must hold certificates of authorities in PEM") from None
    if len(found) > _AUTHORITY_LIMIT:
        raise ValueError(f"must hold at most {_AUTHORITY_LIMIT} certificates")
    for certificate in found:
        try:
            require_authority(certificate)
        except Unfit as error:
            raise ValueError(f"holds a certificate that may not certify clients: {error}") from None
    try:
        return tuple(crypto.X509.from_cryptography(certificate) for certificate in found)
    except crypto.Error:
        raise ValueError("holds a certificate that is not readable") from None


def _digest(leaf: bytes, chain: Sequence[bytes]) -> bytes:
    digest = hashlib.sha256()
    for der in (leaf, *chain):
        digest.update(hashlib.sha256(der).digest())
    return digest.digest()


def _path(leaf: bytes, chain: Sequence[bytes], authorities: Authorities, now: int) -> list[x509.Certificate]:
    """The verified chain, the client's certificate first and an authority's last.

    Raises:
        Unfit, UnreadableCertificate: there is none.
    """
    certificate = read(leaf)
    require_client(certificate)  # before any signature is verified
    refusal = validity_refusal(certificate, now)
    if refusal is not None:
        raise Unfit(refusal)
    if len(chain) > CHAIN_LIMIT:
        raise Unfit("the peer sent too many certificates")
    try:
        shown, *sent = [
            crypto.X509.from_cryptography(each) for each in (certificate, *map(_authority, chain)) if each is not None
        ]
    except crypto.Error:  # there is more that it cannot read: a text of an issuer that is no UTF-8, for one
        raise Unfit("a certificate is not readable") from None
    store = crypto.X509Store()  # a new one each time: OpenSSL lets the time of a store be set once
    for authority in authorities:
        store.add_cert(authority)
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN | crypto.X509StoreFlags.POLICY_CHECK)
    store.set_time(datetime.fromtimestamp(now, UTC))
    context = crypto.X509StoreContext(store, shown, sent)
    try:
        return [each.to_cryptography() for each in context.get_verified_chain()]
    except crypto.X509StoreContextError as error:
        raise Unfit(f"the certificate is not trusted: {error}") from None


def _authority(der: bytes) -> x509.Certificate | None:
    """What the peer sent, as far as it could stand in a chain; the rest is as if it had not been sent."""
    try:
        certificate = read(der)
    except UnreadableCertificate:
        return None
    return certificate if may_be_authority(certificate) else None


def _judge(path: Sequence[x509.Certificate], revocations: RevocationLists | None, now: int) -> int:
    """See to everything beside signatures and dates, and tell the second at which the first part of it ends.

    Raises:
        Unfit: something is wrong in the chain.
    """
    if not 1 < len(path) <= PATH_LIMIT:
        raise Unfit("the chain is too long")
    ends = [int(certificate.not_valid_after_utc.timestamp()) + 1 for certificate in path]
    for certificate, issuer in itertools.pairwise(path):
        require_authority(issuer)
        require_strong_signature(certificate)
        known_until = None if revocations is None else revocations.require_good(certificate, issuer, now)
        if known_until is not None:
            ends.append(known_until)
    return min(ends)
