"""WWW-Authenticate: what a refused caller needs in order to do better (RFC 6750 §3, RFC 9449 §7.1, RFC 9728 §5.1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rs_kit.protocol.algorithms import ADVERTISED_ALGORITHMS
from rs_kit.protocol.confirmation import SenderConstraint
from rs_kit.protocol.errors import (
    InsufficientScope,
    InvalidDpopProof,
    InvalidRequest,
    MissingToken,
    ProtocolError,
    Unavailable,
    UnknownMethod,
    UseDpopNonce,
)

_QUOTABLE: Final = frozenset(chr(code) for code in range(0x20, 0x7F)) - {'"', "\\"}  # RFC 6750 §3
_STATUS: Final[tuple[tuple[type[ProtocolError], int], ...]] = (
    (InvalidRequest, 400),
    (InsufficientScope, 403),
    (UnknownMethod, 404),
    (Unavailable, 503),
)
_SCHEMES: Final = {
    SenderConstraint.DPOP: ("DPoP",),
    SenderConstraint.CERTIFICATE: ("Bearer",),  # RFC 8705 has no scheme of its own
    SenderConstraint.EITHER: ("DPoP", "Bearer"),
}


def status_of(error: ProtocolError) -> int:
    """The HTTP status of a refusal at a resource server; 401 unless a clause says otherwise (RSE-1 to RSE-10)."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 401)


def challenges(
    error: ProtocolError,
    constraint: SenderConstraint,
    *,
    resource_metadata: str | None = None,
    scope: Iterable[str] = (),
) -> tuple[str, ...]:
    """A challenge for each scheme that is taken here (RFC 9110 §11.6.1); a wrong proof concerns DPoP alone."""
    about_proof = isinstance(error, (InvalidDpopProof, UseDpopNonce))
    wanted = tuple(scope)
    return tuple(
        www_authenticate(error, resource_metadata=resource_metadata, scope=wanted, scheme=scheme)
        for scheme in (("DPoP",) if about_proof else _SCHEMES[constraint])
    )


def www_authenticate(
    error: ProtocolError,
    *,
    resource_metadata: str | None = None,
    scope: Iterable[str] = (),
    algorithms: Iterable[str] = ADVERTISED_ALGORITHMS,
    scheme: str = "DPoP",
) -> str:
    """One challenge; a request without credentials gets no error code (RFC 6750 §3.1).

    `scope` is what the operation needs; an InsufficientScope brings its own.

    Raises:
        ValueError: a value of ours that may not stand in a quoted string (RSE-7).
    """
    wanted = error.scope if isinstance(error, InsufficientScope) else tuple(scope)
    parameters: list[tuple[str, str]] = []
    if not isinstance(error, MissingToken):
        parameters.append(("error", error.error))
        if "=" not in error.description:  # clients find parameters by searching for their names
            parameters.append(("error_description", error.description))
    if wanted:
        parameters.append(("scope", " ".join(wanted)))
    if resource_metadata is not None:
        parameters.append(("resource_metadata", resource_metadata))
    if scheme == "DPoP":
        parameters.append(("algs", " ".join(algorithms)))
    return f"{scheme} " + ", ".join(f'{name}="{_quotable(value)}"' for name, value in parameters)


def _quotable(value: str) -> str:
    if not _QUOTABLE.issuperset(value):
        raise ValueError("not printable ASCII without quotes and backslashes")
    return value
