"""What an authority tells behind its `status_uri`: which software and statements it has withdrawn (SSA-9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fapi_as.protocol.display_text import is_displayable
from rs_kit.protocol.strict_json import InvalidJson, parse_object

AUTHORITY_STATUS_LIMIT: Final = 256 * 1024  # bytes
_NAMES_LIMIT: Final = 10_000  # of each kind
_NAME_LIMIT: Final = 255  # characters, as in a statement


class InvalidAuthorityStatus(Exception):
    """A document that cannot be meant; the message is the private reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityStatus:
    """The names that count no more: `software` by software_id, `statements` by jti."""

    software: frozenset[str]
    statements: frozenset[str]


def parse_authority_status(body: bytes) -> AuthorityStatus:
    """Read the document; members that we do not know are the authority's own business.

    Raises:
        InvalidAuthorityStatus: no strict JSON object, neither list, or a name that no statement can have.
    """
    try:
        members = parse_object(body)
    except InvalidJson as error:
        raise InvalidAuthorityStatus(f"JSON: {error}") from None
    if members.keys().isdisjoint({"withdrawn_software", "withdrawn_statements"}):
        raise InvalidAuthorityStatus("neither withdrawn_software nor withdrawn_statements")  # it is about other things
    return AuthorityStatus(
        software=_names(members, "withdrawn_software"), statements=_names(members, "withdrawn_statements")
    )


def _names(members: dict[str, object], member: str) -> frozenset[str]:
    value = members.get(member, [])
    if not isinstance(value, list) or len(value) > _NAMES_LIMIT:
        raise InvalidAuthorityStatus(f"{member} is no list of at most {_NAMES_LIMIT} names")
    if not all(isinstance(name, str) and is_displayable(name, _NAME_LIMIT) for name in value):
        raise InvalidAuthorityStatus(f"{member} holds what is no name")
    return frozenset(value)
