"""ID tokens: who signed in, when and how, for one client (OpenID Connect Core §2)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fapi_as.protocol.policy import seconds
from fapi_as.protocol.profile import ACR_PASSWORD, ID_TOKEN_LIFETIME
from rs_kit.protocol import base64url
from rs_kit.protocol.algorithms import canonical

ID_TOKEN_TYPE: Final = "JWT"  # noqa: S105 - OIDC-31: no type of its own was ever registered
_AMR: Final[Mapping[str, tuple[str, ...]]] = {ACR_PASSWORD: ("pwd",)}  # RFC 8176 §2
_HASHES: Final = {"ES256": hashlib.sha256, "PS256": hashlib.sha256, "Ed25519": hashlib.sha512}


@dataclass(frozen=True, slots=True, kw_only=True)
class IdTokenToIssue:
    """What a rule allows to say about a sign-in; `more` are the claims about the person that were allowed."""

    auth_time: int
    acr: str
    nonce: str | None = None
    more: Mapping[str, object] = field(default_factory=dict)

    def to_claims(self, access_token_claims: Mapping[str, object], access_token: str, alg: str) -> dict[str, object]:
        """The JWT claims for the client of an access token; ours can never be overridden by `more` (OIDC-30, OIDC-33).

        The issuer, the subject and the time are those of the access token beside it.
        """
        issued_at = access_token_claims["iat"]
        claims: dict[str, object] = {
            **self.more,
            "iss": access_token_claims["iss"],
            "sub": access_token_claims["sub"],
            "aud": access_token_claims["client_id"],
            "iat": issued_at,
            "exp": int(str(issued_at)) + seconds(ID_TOKEN_LIFETIME),
            "auth_time": self.auth_time,
            "acr": self.acr,
            "at_hash": at_hash(access_token, alg),
        }
        if self.acr in _AMR:
            claims["amr"] = list(_AMR[self.acr])
        if self.nonce is not None:  # OIDC-3: exactly as it was pushed, and only then
            claims["nonce"] = self.nonce
        return claims


@dataclass(frozen=True, slots=True, kw_only=True)
class IdTokenHint:
    """Of whom an ID token of ours speaks, and to whom."""

    subject: str
    client_id: str


def hint_of(claims: Mapping[str, object], issuer: str) -> IdTokenHint | None:
    """What verified claims say when they are those of an ID token; nothing else that we sign has all of these."""
    subject, audience = claims.get("sub"), claims.get("aud")
    if claims.get("iss") != issuer or not isinstance(claims.get("auth_time"), int):
        return None
    if not isinstance(subject, str) or not isinstance(audience, str):
        return None
    return IdTokenHint(subject=subject, client_id=audience)


def at_hash(access_token: str, alg: str) -> str:
    """§3.1.3.6: the left half of the hash that belongs to the signature algorithm; Ed25519 hashes with SHA-512."""
    digest = _HASHES[canonical(alg)](access_token.encode("ascii")).digest()
    return base64url.encode(digest[: len(digest) // 2])
