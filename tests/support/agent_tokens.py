"""A set of tokens, as an agent keeps it."""

from __future__ import annotations

from fapi_as.agent.proof_key import ProofKey
from fapi_as.agent.tokens import TokenSet
from rs_kit.protocol.secret import Secret
from tests.support.agent_peer import ISSUER, NOW, RESOURCE


def token_set(**changes: object) -> TokenSet:
    members: dict[str, object] = {
        "resource": RESOURCE,
        "issuer": ISSUER,
        "client_id": "agent",
        "access_token": Secret("access-1"),
        "refresh_token": Secret("refresh-1"),
        "scope": ("accounts:read", "openid"),
        "expires_at": NOW + 300,
        "proof_key": ProofKey.generate(),
    }
    return TokenSet(**{**members, **changes})  # type: ignore[arg-type]  # the members are those of the class
