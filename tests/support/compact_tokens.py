"""Compact JWS for tests of what reads them: three peers, and our reader with the options of an access token."""

from __future__ import annotations

from typing import Any

from rs_kit.protocol import jwk, jws
from tests.support.peer_keys import PeerKey

ALGORITHMS = frozenset({"PS256", "ES256", "Ed25519"})
TYPES = frozenset({"at+jwt"})
EC, RSA, ED = PeerKey.es256(seed=21), PeerKey.ps256(), PeerKey.ed25519(seed=22)
PEERS = [EC, RSA, ED]


def parse(token: str | bytes, **options: Any) -> jws.UnverifiedJws:
    return jws.parse_compact(token, **{"algorithms": ALGORITHMS, "types": TYPES, "max_length": 8192, **options})


def verify(token: str, *peers: PeerKey, kid: str | None = "k") -> jws.VerifiedJws:
    return jws.verify(parse(token), [jwk.parse_public(peer.jwk(**({"kid": kid} if kid else {}))) for peer in peers])
