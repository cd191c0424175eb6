"""RFC 9068 access tokens: their claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

ACCESS_TOKEN_TYPE: Final = "at+jwt"  # noqa: S105 - RFC 9068 §2.1


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessTokenClaims:
    """What a token says (RFC 9068 §2.2, RFC 9449 §6.1); one audience, always bound (FAPI2-AS-4)."""

    issuer: str
    subject: str
    audience: str
    client_id: str
    scope: tuple[str, ...]
    issued_at: int
    lifetime_seconds: int
    jti: str
    jkt: str
    authorization_id: str
    more: Mapping[str, object] = field(default_factory=dict)

    def to_claims(self) -> dict[str, object]:
        """The JWT claims; ours can never be overridden by `more`."""
        return {
            **self.more,
            "iss": self.issuer,
            "sub": self.subject,
            "aud": self.audience,
            "client_id": self.client_id,
            "scope": " ".join(self.scope),
            "iat": self.issued_at,
            "exp": self.issued_at + self.lifetime_seconds,
            "jti": self.jti,
            "cnf": {"jkt": self.jkt},
            "authorization_id": self.authorization_id,
        }
