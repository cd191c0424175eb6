"""One authority, one statement of it that is right in everything, and what the server finds in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fapi_as.protocol import software_statement
from fapi_as.protocol.authority_registration import parse_authority
from fapi_as.protocol.client import ClientKeySet
from fapi_as.protocol.errors import InvalidSoftwareStatement, ProtocolError
from fapi_as.protocol.registration import TrustedAuthority
from fapi_as.protocol.software_statement import VerifiedStatement
from tests.support.fakes import ISSUER, NOW
from tests.support.peer_keys import PeerKey
from tests.support.registration_scene import SoftwareAuthority, said

SIGNER = SoftwareAuthority()
CLAIMS: dict[str, Any] = {
    "iss": SIGNER.issuer,
    "iat": NOW,
    "exp": NOW + 3600,
    "jti": "statement-1",
    "software_id": "software-1",
    "redirect_uris": ["https://agent.example/callback", "https://agent.example/other"],
    "client_name": "Ledger agent",
    "scope": "accounts:read transfers:write",
}


def trusted(**changes: Any) -> TrustedAuthority:
    return parse_authority(SIGNER.members(**changes), version=1)


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of the statement; `...` leaves one out."""
    return said(CLAIMS | changes)


def statement(*, header: Mapping[str, Any] | None = None, key: PeerKey | None = None, **changes: Any) -> str:
    return SIGNER.signed(claims(**changes), key=key, **(header or {}))


def verified(
    compact: object,
    *,
    authority: TrustedAuthority | None = None,
    now: int = NOW,
    certificate: bytes | None = None,
    jkt: str | None = None,
) -> VerifiedStatement:
    authority = authority or trusted()
    return software_statement.verify(
        software_statement.present(compact),
        authority,
        ClientKeySet(keys=authority.keys),
        audience=ISSUER,
        now=now,
        certificate=certificate,
        jkt=jkt,
    )


def told(compact: object, error: type[ProtocolError] = InvalidSoftwareStatement, **facts: Any) -> str:
    """The private reason why it is refused; what is told repeats nothing of it."""
    with pytest.raises(error) as caught:
        verified(compact, **facts)
    assert caught.value.description.isascii()
    assert not set(caught.value.description) & {'"', "\\"}
    return caught.value.detail
