"""What the suite checks of an ID token."""

from __future__ import annotations

import hashlib
from typing import Any, Final

from tests.expectations.answers import Tokens
from tests.expectations.conforming_client import ConformingClient
from tests.support.peer_keys import b64

KNOWN: Final = {
    *("iss", "sub", "aud", "exp", "iat", "nonce", "auth_time", "acr", "amr", "azp"),
    *("at_hash", "c_hash", "s_hash", "sid", "txn", "jti", "nbf"),
}


def id_token_of(client: ConformingClient, tokens: Tokens, *, nonce: Any) -> dict[str, Any]:
    """The claims of the ID token, with every check that the suite makes; `...` looks at no nonce."""
    header, claims = client.verified(tokens.answer["id_token"])
    assert header["alg"] in {"PS256", "ES256", "EdDSA", "Ed25519"}, header
    assert claims["iss"] == client.issuer
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    assert client.client_id in audience
    assert claims["exp"] > client.now() - 10
    assert client.now() - 300 <= claims["iat"] <= client.now() + 10
    assert nonce in (..., claims.get("nonce"))
    assert claims["sub"]
    assert claims.get("acr", "-") != ""
    assert set(claims) <= KNOWN, set(claims) - KNOWN
    if "at_hash" in claims:
        assert claims["at_hash"] == b64(hashlib.sha256(tokens.access_token.encode()).digest()[:16])
    return claims
