"""What the store asks of a seal: payloads open with the tenant, kind and digest of their row only."""

from __future__ import annotations

from typing import Protocol

from fapi_as.protocol.effects import HandleKind


class BrokenSeal(Exception):
    """Sealed under another key, for another row, or changed."""


class Seal(Protocol):
    """Implemented by adapters.keys.Sealing."""

    def seal(self, payload: bytes, associated: bytes) -> bytes:
        """Encrypt a payload so that it opens with the same associated data only."""
        ...

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """Decrypt a payload.

        Raises:
            BrokenSeal: it was not sealed by us for this row.
        """
        ...


def associated_data(tenant: str, kind: HandleKind, digest: bytes) -> bytes:
    """One spelling for one row: the parts cannot be shifted into each other."""
    return f"handle:{len(tenant)}:{tenant}:{kind.value}:".encode() + digest
