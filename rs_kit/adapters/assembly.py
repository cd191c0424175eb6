"""A guard with the adapters that most servers want."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from rs_kit.adapters.clock import SystemClock
from rs_kit.adapters.issuer_keys import HttpsIssuerKeys
from rs_kit.adapters.observer import LoggingObserver
from rs_kit.guard import PROOF_AGE_SECONDS, TOKEN_SECONDS, Guard
from rs_kit.ports import IssuerKeys, Observer, UsedOnce
from rs_kit.protocol.confirmation import SenderConstraint
from rs_kit.protocol.tool_policy import ToolPolicy

_NONCE_KEY_BYTES: Final = 32
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def assemble_guard(  # noqa: PLR0913 - the choices of one server, named at every call
    *,
    resource: str,
    issuer: str | Sequence[str],
    tools: ToolPolicy,
    used_once: UsedOnce,
    nonce_key: bytes | None,
    keys: IssuerKeys | Sequence[IssuerKeys] | None = None,
    ca_file: Path | str | None = None,
    observer: Observer | None = None,
    proof_age_seconds: int = PROOF_AGE_SECONDS,
    resource_name: str | None = None,
    legacy_streams: bool = False,
    published: Mapping[str, object] = MappingProxyType({}),
    token_seconds: int = TOKEN_SECONDS,
    sender_constraint: SenderConstraint = SenderConstraint.DPOP,
) -> Guard:
    """A guard on the system's clock that fetches the issuers' keys over HTTPS and logs its decisions.

    One process takes `MemoryUsedOnce()` and `ephemeral_nonce_key()`. The workers of one host share both instead:
    `SqliteUsedOnce(path)` and `read_nonce_key(path)`. `keys` replaces the JWKS over HTTPS; `ca_file` names the
    authorities to trust when fetching it, as PEM, instead of those of the system.

    Raises:
        ValueError: a combination that would not be safe.
        OSError: `ca_file` cannot be read.
    """
    if keys is None:
        issuers = [issuer] if isinstance(issuer, str) else issuer
        keys = [HttpsIssuerKeys(name, ca_file=ca_file) for name in issuers]
    return Guard(
        resource=resource,
        issuer=issuer,
        keys=keys,
        used_once=used_once,
        tools=tools,
        nonce_key=nonce_key,
        clock=SystemClock(),
        observer=LoggingObserver() if observer is None else observer,
        proof_age_seconds=proof_age_seconds,
        resource_name=resource_name,
        legacy_streams=legacy_streams,
        token_seconds=token_seconds,
        published=published,
        sender_constraint=sender_constraint,
    )


def read_nonce_key(path: Path | str) -> bytes:
    """The nonce key that workers share: the bytes of a file, as `head -c 32 /dev/urandom` makes them.

    Raises:
        OSError: it cannot be read.
        ValueError: it is shorter than 32 bytes, or others than its owner may read or write it.
    """
    with Path(path).open("rb") as file:
        if os.fstat(file.fileno()).st_mode & _OTHERS:
            raise ValueError(f"{path}: only its owner may read or write the nonce key (chmod 600)")
        key = file.read()
    if len(key) < _NONCE_KEY_BYTES:
        raise ValueError(f"{path}: a nonce key needs {_NONCE_KEY_BYTES} bytes")
    return key
