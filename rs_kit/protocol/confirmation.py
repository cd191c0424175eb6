"""The cnf claim: to which keys a token is bound (RFC 7800 §3.1, RFC 9449 §6, RFC 8705 §3.1)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from rs_kit.protocol import base64url
from rs_kit.protocol.errors import InvalidToken

_MEMBERS: Final = frozenset({"jkt", "x5t#S256"})
_SHA256_BYTES: Final = 32


class SenderConstraint(StrEnum):
    """To what a resource wants its tokens bound (FAPI2-RS-5); whatever else a token is bound to is needed as well."""

    DPOP = "dpop"
    CERTIFICATE = "certificate"
    EITHER = "either"


class Confirmation(NamedTuple):
    """The keys of a token, as base64url of SHA-256; each that is there must be proved at use."""

    jkt: str | None = None
    x5t_s256: str | None = None


def parse(cnf: object) -> Confirmation:
    """Read a cnf claim; a token without one is the caller's policy.

    Raises:
        InvalidToken: no confirmation, one that we do not understand, or a malformed one (CNF-2).
    """
    if not isinstance(cnf, Mapping) or not cnf or not _MEMBERS.issuperset(cnf):
        raise InvalidToken("cnf is unknown")
    return Confirmation(jkt=_digest(cnf, "jkt"), x5t_s256=_digest(cnf, "x5t#S256"))


def require_bound(confirmation: Confirmation | None, constraint: SenderConstraint) -> Confirmation:
    """The confirmation of a token that is bound to what this resource wants.

    Raises:
        InvalidToken: it is bound to nobody, or to something else only (RSV-2).
    """
    if confirmation is None:
        raise InvalidToken("the token is bound to nobody")
    if constraint is SenderConstraint.DPOP and confirmation.jkt is None:
        raise InvalidToken("the token is not bound to a DPoP key")  # DPOP-RS-8
    if constraint is SenderConstraint.CERTIFICATE and confirmation.x5t_s256 is None:
        raise InvalidToken("the token is not bound to a certificate")
    return confirmation


def require_scheme(confirmation: Confirmation, scheme: str) -> None:
    """A token that is bound to a key comes as `dpop`, any other as `bearer` (RFC 9449 §7.1, RFC 8705 §3).

    Raises:
        InvalidToken: it is the other way round; above all a bound token is no bearer token (RFC 9449 §7.2).
    """
    if scheme != ("bearer" if confirmation.jkt is None else "dpop"):
        raise InvalidToken(f"cnf does not go with the scheme {scheme}")


def require_proved(confirmation: Confirmation, *, jkt: str | None, certificate: bytes | None) -> None:
    """Every confirmation of a token is met: by the proof's key, by the certificate of this connection (DER).

    Raises:
        InvalidToken: one of them is not, or the token is bound to nothing (RSV-2).
    """
    if confirmation.jkt is None and confirmation.x5t_s256 is None:
        raise InvalidToken("the token is bound to nothing")
    if confirmation.jkt is not None and (jkt is None or not hmac.compare_digest(jkt, confirmation.jkt)):
        raise InvalidToken("cnf.jkt: another key")
    if confirmation.x5t_s256 is None:
        return
    if certificate is None or not hmac.compare_digest(certificate_thumbprint(certificate), confirmation.x5t_s256):
        raise InvalidToken("cnf.x5t#S256: another certificate")


def certificate_thumbprint(certificate: bytes) -> str:
    """RFC 8705 §3.1: base64url of SHA-256 over the DER of the leaf certificate."""
    return base64url.encode(hashlib.sha256(certificate).digest())


def _digest(cnf: Mapping[str, object], name: str) -> str | None:
    if name not in cnf:
        return None
    value = cnf[name]
    try:
        if isinstance(value, str) and len(base64url.decode(value)) == _SHA256_BYTES:
            return value
    except ValueError:
        pass
    raise InvalidToken(f"cnf.{name}")
