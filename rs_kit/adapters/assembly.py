"""A guard with the adapters that most servers want."""

from __future__ import annotations

from pathlib import Path

from rs_kit.adapters.clock import SystemClock
from rs_kit.adapters.issuer_keys import HttpsIssuerKeys
from rs_kit.adapters.observer import LoggingObserver
from rs_kit.guard import PROOF_AGE_SECONDS, Guard
from rs_kit.ports import IssuerKeys, Observer, UsedOnce
from rs_kit.protocol.tool_policy import ToolPolicy


def assemble_guard(  # noqa: PLR0913 - the choices of one server, named at every call
    *,
    resource: str,
    issuer: str,
    tools: ToolPolicy,
    used_once: UsedOnce,
    nonce_key: bytes | None,
    keys: IssuerKeys | None = None,
    ca_file: Path | str | None = None,
    observer: Observer | None = None,
    proof_age_seconds: int = PROOF_AGE_SECONDS,
    resource_name: str | None = None,
) -> Guard:
    """A guard on the system's clock that fetches the issuer's keys over HTTPS and logs its decisions.

    `used_once` is `MemoryUsedOnce()` for one process; several workers need one that they share, and the same 32
    secret bytes as `nonce_key` (`ephemeral_nonce_key()` for one process). `keys` replaces the issuer's JWKS over
    HTTPS; `ca_file` names the authorities to trust when fetching it, as PEM, instead of those of the system.

    Raises:
        ValueError: a combination that would not be safe.
        OSError: `ca_file` cannot be read.
    """
    return Guard(
        resource=resource,
        issuer=issuer,
        keys=HttpsIssuerKeys(issuer, ca_file=ca_file) if keys is None else keys,
        used_once=used_once,
        tools=tools,
        nonce_key=nonce_key,
        clock=SystemClock(),
        observer=LoggingObserver() if observer is None else observer,
        proof_age_seconds=proof_age_seconds,
        resource_name=resource_name,
    )
