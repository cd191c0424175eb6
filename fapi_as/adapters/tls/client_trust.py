"""Whom a tenant trusts to certify its clients (RFC 8705 §2.1)."""

from __future__ import annotations


class NoTrust:
    """The CertificateTrust port of a tenant that trusts no authority: nobody is known by a certificate alone."""

    def refusal(self, leaf: bytes, chain: tuple[bytes, ...], now: int) -> str | None:  # noqa: ARG002 - the port's signature
        """The same reason for every certificate."""
        return "no authority is trusted"
