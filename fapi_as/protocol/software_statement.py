"""Software statements: what a trusted authority says of a piece of software (RFC 7591 §2.3, §3.1.1, SSA-1 to SSA-6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fapi_as.protocol.claim_names import asserted, certificate_refusal
from fapi_as.protocol.client import ClientKeySet
from fapi_as.protocol.display_text import is_displayable
from fapi_as.protocol.errors import InvalidSoftwareStatement
from fapi_as.protocol.profile import (
    SOFTWARE_STATEMENT_CEILING,
    SOFTWARE_STATEMENT_LIMIT,
)
from fapi_as.protocol.registration import TrustedAuthority
from fapi_as.protocol.signed_times import times_refusal
from rs_kit.protocol import confirmation, jws
from rs_kit.protocol.algorithms import SIGNING_ALGORITHMS
from rs_kit.protocol.errors import InvalidJws, InvalidToken, NoVerificationKey

_TYPES: Final = frozenset({"software-statement+jwt", "JWT"})  # no type is registered; absent is accepted, too
_ALGORITHMS: Final = frozenset(SIGNING_ALGORITHMS)
_ISSUER_LIMIT: Final = 512  # characters
_NAME_LIMIT: Final = 255  # characters of a jti, a software_id, a software_version


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedStatement:
    """A software statement whose form is right and whose signature nobody has checked yet."""

    compact: str
    issuer: str
    unverified: jws.UnverifiedJws

    @property
    def kid(self) -> str | None:
        """The key that it names, if it names one."""
        return self.unverified.kid


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedStatement:
    """What an authority signed; `claims` are the RFC 7591 members that it asserts, under their RFC names.

    A `bound` one names a key, whose possession whoever brought it has proved.
    """

    compact: str
    issuer: str
    jti: str
    software_id: str
    software_version: str | None
    expires_at: int
    claims: Mapping[str, object]
    bound: bool = False


def present(value: object) -> PresentedStatement:
    """Read a statement as far as needed to find its authority; nothing in it says where keys are (DCR-03).

    Raises:
        InvalidSoftwareStatement: no compact JWS of this kind, or it names no issuer.
    """
    if not isinstance(value, str):
        raise InvalidSoftwareStatement("statement: no string")
    try:
        unverified = jws.parse_compact(
            value,
            algorithms=_ALGORITHMS,
            types=_TYPES,
            type_required=False,
            max_length=SOFTWARE_STATEMENT_LIMIT,
        )
    except InvalidJws as error:
        raise InvalidSoftwareStatement(f"statement: {error.detail}") from None
    issuer = unverified.claims.get("iss")
    if not isinstance(issuer, str) or not 0 < len(issuer) <= _ISSUER_LIMIT:
        raise InvalidSoftwareStatement("statement: iss is missing or no name")
    return PresentedStatement(compact=value, issuer=issuer, unverified=unverified)


def verify(  # noqa: PLR0913 - what a statement is judged by, named at every call
    presented: PresentedStatement,
    authority: TrustedAuthority,
    keys: ClientKeySet,
    *,
    audience: str,
    now: int,
    certificate: bytes | None,
    jkt: str | None,
) -> VerifiedStatement:
    """Verify a statement with the keys of its authority as they are now.

    `certificate` (DER) and `jkt` are what the request that brings it has proved possession of, for its `cnf`.

    Raises:
        InvalidSoftwareStatement: not signed by this authority, not for us, not now, or not for who brings it.
        UnapprovedSoftwareStatement: it asserts what this authority may not.
    """
    if presented.issuer != authority.issuer:
        raise InvalidSoftwareStatement("statement: iss is another authority")
    try:
        claims = jws.verify(presented.unverified, keys.keys).claims
    except (InvalidJws, NoVerificationKey) as error:
        raise InvalidSoftwareStatement(f"statement: {error.detail}") from None
    refusal = (
        _judge(claims, audience)
        or times_refusal(claims, now, ceiling=SOFTWARE_STATEMENT_CEILING)
        or _judge_holder(claims, certificate, jkt)
    )
    if refusal is not None:
        raise InvalidSoftwareStatement(f"statement: {refusal}")
    members = asserted(claims, authority)
    refusal = certificate_refusal(claims, members, authority, certificate)
    if refusal is not None:
        raise InvalidSoftwareStatement(f"statement: {refusal}")
    version = claims.get("software_version")
    return VerifiedStatement(
        compact=presented.compact,
        issuer=authority.issuer,
        jti=str(claims["jti"]),
        software_id=str(claims["software_id"]),
        software_version=None if version is None else str(version),
        expires_at=jws.numeric_date(claims["exp"]) or 0,
        claims=members,
        bound="cnf" in claims,
    )


def _judge(claims: Mapping[str, object], audience: str) -> str | None:
    """The private reason why this is no statement for us, or None."""
    for name in ("jti", "software_id"):
        if not _is_name(claims.get(name)):
            return f"{name} is missing or no name"
    if claims.get("software_version") is not None and not _is_name(claims["software_version"]):
        return "software_version is no name"
    if "aud" not in claims:
        return None
    named = claims["aud"]  # it may be for several servers: whoever brings it to one proves nothing by it
    if named != audience and not (isinstance(named, list) and audience in named and _are_strings(named)):
        return "aud is not the issuer"
    return None


def _judge_holder(claims: Mapping[str, object], certificate: bytes | None, jkt: str | None) -> str | None:
    """The private reason why whoever brings it is not whom it is for (RFC 7800 §3.1), or None."""
    if "cnf" not in claims:
        return None
    try:
        confirmation.require_proved(confirmation.parse(claims["cnf"]), jkt=jkt, certificate=certificate)
    except InvalidToken as error:
        return error.detail
    return None


def _is_name(value: object) -> bool:
    return isinstance(value, str) and is_displayable(value, _NAME_LIMIT)


def _are_strings(values: list[object]) -> bool:
    return all(isinstance(value, str) for value in values)
