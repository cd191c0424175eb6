"""RFC 9068 access tokens: their claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

ACCESS_TOKEN_TYPE: Final = "at+jwt"  # noqa: S105 - RFC 9068 §2.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """To whose keys a token is bound: a DPoP key, a client certificate, or both (CNF-1); everything is needed at use.

    Args:
        jkt: the thumbprint of the key (RFC 9449 §6.1).
        x5t: the SHA-256 thumbprint of the certificate (RFC 8705 §3.1).

    Raises:
        ValueError: neither; there is no token that is bound to nobody (FAPI2-AS-4).
    """

    jkt: str | None = None
    x5t: str | None = None

    def __post_init__(self) -> None:
        if self.jkt is None and self.x5t is None:
            raise ValueError("a token must be bound")

    @property
    def token_type(self) -> str:
        """How a token with this binding is sent (RFC 9449 §5, RFC 8705 §3)."""
        return "Bearer" if self.jkt is None else "DPoP"

    def to_confirmation(self) -> dict[str, str]:
        """The `cnf` claim (RFC 7800 §3.1)."""
        members = {"jkt": self.jkt, "x5t#S256": self.x5t}
        return {name: value for name, value in members.items() if value is not None}


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
    binding: Binding
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
            "cnf": self.binding.to_confirmation(),
            "authorization_id": self.authorization_id,
        }
