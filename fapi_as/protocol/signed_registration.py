"""A registration that is signed as a whole: its claims are the metadata (SSA-7, in the manner of Open Banking)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fapi_as.protocol.effects import TakeOnce
from fapi_as.protocol.handles import digest_of_jti
from fapi_as.protocol.metadata_members import InvalidClientMetadata
from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import EXPIRY_LEEWAY, REQUEST_BODY_LIMIT, SIGNED_REGISTRATION_CEILING
from fapi_as.protocol.signed_times import times_refusal
from rs_kit.protocol import jws
from rs_kit.protocol.algorithms import SIGNING_ALGORITHMS
from rs_kit.protocol.errors import InvalidJws, NoVerificationKey
from rs_kit.protocol.jwk import PublicJwk

_TYPES: Final = frozenset({"JWT", "JOSE"})  # no type is registered; absent is accepted, too
_ALGORITHMS: Final = frozenset(SIGNING_ALGORITHMS)
_OF_THE_JWT: Final = frozenset({"iss", "aud", "iat", "exp", "nbf", "jti"})
_JTI_LIMIT: Final = 1024  # characters, P7
_LEEWAY: Final = seconds(EXPIRY_LEEWAY)
_SENTENCE: Final = "the signed registration request is not valid"


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentedRegistration:
    """A signed registration whose form is right and whose signature nobody has checked yet."""

    unverified: jws.UnverifiedJws

    @property
    def kid(self) -> str | None:
        """The key that it names, if it names one."""
        return self.unverified.kid

    @property
    def members(self) -> dict[str, object]:
        """What it asks for, without the claims that are about itself."""
        return {name: value for name, value in self.unverified.claims.items() if name not in _OF_THE_JWT}


def present(body: bytes) -> PresentedRegistration:
    """Read a body as far as needed to find the keys of the software.

    Raises:
        InvalidClientMetadata: no compact JWS of this kind.
    """
    try:
        unverified = jws.parse_compact(
            body, algorithms=_ALGORITHMS, types=_TYPES, type_required=False, max_length=REQUEST_BODY_LIMIT
        )
    except InvalidJws as error:
        raise _invalid(error.detail) from None
    if "sub" in unverified.claims:  # what has a subject is another kind of JWT
        raise _invalid("sub")
    return PresentedRegistration(unverified=unverified)


def verify(
    presented: PresentedRegistration, keys: Sequence[PublicJwk], *, software_id: str | None, audience: str, now: int
) -> TakeOnce:
    """Verify a signed registration of a piece of software; what is returned is spent with it.

    Raises:
        InvalidClientMetadata: not signed by this software, not for us, or not now.
    """
    try:
        claims = jws.verify(presented.unverified, keys).claims
    except (InvalidJws, NoVerificationKey) as error:
        raise _invalid(error.detail) from None
    if software_id is None or claims.get("iss") != software_id:
        raise _invalid("iss is not the software_id")
    if claims.get("aud") != audience:  # a string: what is for several servers could be brought here by another one
        raise _invalid("aud is not the issuer")
    refusal = times_refusal(claims, now, ceiling=SIGNED_REGISTRATION_CEILING)
    if refusal is not None:
        raise _invalid(refusal)
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= _JTI_LIMIT:
        raise _invalid("jti is missing or too long")
    return TakeOnce(
        namespace="signed_registration",
        digest=digest_of_jti(software_id, jti),
        until=(jws.numeric_date(claims["exp"]) or 0) + _LEEWAY + 1,
    )


def _invalid(detail: str) -> InvalidClientMetadata:
    return InvalidClientMetadata(f"signed registration: {detail}", _SENTENCE)
