"""A keyring over a file, and what its tokens say of it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from fapi_as.adapters.keys import Keyring, KeyState, Sealing
from fapi_as.protocol.audit_events import Stamp
from rs_kit.protocol import jwk, jws
from rs_kit.protocol.errors import InvalidJws
from tests.support.fakes import FrozenClock

TYPE = "at+jwt"


def opened(path: Path, clock: FrozenClock, key: bytes = b"s" * 32) -> Keyring:
    """The keyring of another process."""
    return Keyring.open(f"sqlite:///{path}", sealing=Sealing(key), clock=clock)


def stamp(clock: FrozenClock) -> Stamp:
    return Stamp(at=clock.now(), correlation_id="c", endpoint="keys rotate", source="command line")


def states(keyring: Keyring, tenant: str = "default") -> list[KeyState]:
    return [key.state for key in keyring.list(tenant)]


def verifies(token: str, jwks: object) -> bool:
    unverified = jws.parse_compact(
        token, algorithms=frozenset({"ES256", "PS256", "Ed25519"}), types=frozenset({TYPE}), max_length=4096
    )
    try:
        jws.verify(unverified, jwk.usable_keys(jwks))
    except InvalidJws:
        return False
    return True


def header(token: str) -> dict[str, Any]:
    segment = token.split(".", maxsplit=1)[0]
    members: dict[str, Any] = json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    return members


def kid(token: str) -> str:
    return str(header(token)["kid"])
