"""What is kept of those who may approve clients, and of what was registered by them: parsed, never secrets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fapi_as.protocol.client import RegisteredClient
from fapi_as.protocol.registration_policy import RegistrationPolicy
from rs_kit.protocol.jwk import PublicJwk

INITIAL_TOKEN_APPROVER = "token:"  # noqa: S105 - how the name of such an approver begins; an issuer is an https URL


class ClaimNames(StrEnum):
    """Under which names an authority asserts client metadata."""

    RFC_7591 = "rfc7591"
    OPEN_BANKING = "open_banking"  # SSA-6


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedAuthority:
    """Whoever may sign software statements here: its `iss`, its keys, what it may assert, and our policy for it."""

    issuer: str
    version: int
    keys: tuple[PublicJwk, ...]
    jwks_uri: str | None
    may_assert: frozenset[str]
    policy: RegistrationPolicy
    status_uri: str | None = None  # where it tells which statements and software it has withdrawn (SSA-9)
    certificates: tuple[bytes, ...] = ()
    claims: ClaimNames = ClaimNames.RFC_7591
    role_scopes: tuple[tuple[str, frozenset[str]], ...] = ()  # what a role of the directory may ask for (SSA-6)

    @property
    def key_owner(self) -> str:
        """Whose keys these are, among all whose keys are looked for."""
        return f"authority {self.issuer}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialAccessToken:
    """An initial access token (RFC 7591 §3) that was issued here; `approver` is the name under which it approves."""

    approver: str
    version: int
    policy: RegistrationPolicy
    jkt: str | None
    expires_at: int
    uses_left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRegistration:
    """A registration with a registration access token (RFC 7592); tokens are digests."""

    client: RegisteredClient
    registered_at: int
    approver: str
    policy: RegistrationPolicy | None  # today's, of its approver; None: that one approves nothing any more
    statement: str | None
    statement_jti: str | None
    software_id: str | None
    token_digest: bytes
    previous_token_digest: bytes | None
    token_jkt: str | None
