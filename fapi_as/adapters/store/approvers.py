"""Rows of approvers as rules see them: an authority by its `iss`, or an initial access token."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from fapi_as.protocol.authority_registration import parse_authority
from fapi_as.protocol.client import Approval
from fapi_as.protocol.errors import ProtocolError
from fapi_as.protocol.registration import InitialAccessToken, TrustedAuthority
from fapi_as.protocol.registration_policy import RegistrationPolicy, parse_policy
from rs_kit.protocol.strict_json import InvalidJson, parse_object

_logger: Final = logging.getLogger("fapi_as.store")


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """What a client needs of whoever approved it; `authority` is None for an initial access token.

    `approves` tells whether it may approve what is to come, too: a token that is revoked does not.
    """

    approval: Approval
    policy: RegistrationPolicy
    authority: TrustedAuthority | None
    approves: bool = True


def parsed_approver(name: str, registration: str, version: int, enabled: int, is_token: int) -> Approver | None:
    """The approver of a row; None when it is suspended, or not valid any more."""
    approval = Approval(approver=name, version=version)
    try:
        members = parse_object(registration.encode())
        if is_token:
            # its clients stay when it is revoked: it opened the door, it does not vouch for what came in
            return Approver(approval=approval, policy=_policy(members), authority=None, approves=bool(enabled))
        authority = parse_authority(members, version=version)
    except (ProtocolError, InvalidJson) as error:
        _unreadable(name, error)
        return None
    return Approver(approval=approval, policy=authority.policy, authority=authority) if enabled else None


def parsed_initial_token(
    name: str, registration: str, version: int, expires_at: int, uses_left: int
) -> InitialAccessToken | None:
    """The initial access token of a row; None when it is not valid any more."""
    try:
        members = parse_object(registration.encode())
        jkt = members.get("jkt")
        return InitialAccessToken(
            approver=name,
            version=version,
            policy=_policy(members),
            jkt=jkt if isinstance(jkt, str) else None,
            expires_at=expires_at,
            uses_left=uses_left,
        )
    except (ProtocolError, InvalidJson) as error:
        _unreadable(name, error)
        return None


def _policy(members: dict[str, object]) -> RegistrationPolicy:
    policy = members.get("policy", {})
    return parse_policy(policy if isinstance(policy, dict) else {"": policy})


def _unreadable(name: str, error: Exception) -> None:
    """A row that an older version accepted, or that somebody planted: nobody is approved by it until it is repaired."""
    _logger.error("a stored approver is not valid any more: %r: %s", name[:200], error)
